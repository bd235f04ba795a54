//! Where credentials for origins are read from: not from the command line, which others
//! on the machine can see.

use std::io::{IsTerminal as _, Read as _};
use std::path::Path;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::failure::Failure;

/// More bytes than any credentials have.
const MAX_FILE: u64 = 128 * 1024;

/// Reads `basic USER:PASSWORD` or `bearer TOKEN` from the first line of a file, `-` for
/// standard input.
pub(super) fn read(path: &Path) -> Result<Value, Failure> {
    let shown = path.display();
    let failed = |error: std::io::Error| Failure::failed(format!("{shown}: {error}"));
    let mut text = Zeroizing::new(String::new());
    if path.as_os_str() == "-" {
        let stdin = std::io::stdin().lock();
        stdin.take(MAX_FILE).read_to_string(&mut text)
    } else {
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(MAX_FILE).read_to_string(&mut text)
    }
    .map_err(failed)?;
    parse(text.lines().next().unwrap_or_default())
}

/// Asks for them on the terminal.
pub(super) fn ask() -> Result<Value, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            "no terminal to ask for credentials on: name a file, or - for standard input",
        ));
    }
    let line = rpassword::prompt_password("basic USER:PASSWORD or bearer TOKEN: ");
    let line = line.map_err(|error| Failure::failed(format!("the terminal: {error}")))?;
    parse(&Zeroizing::new(line))
}

/// The words are not repeated in the error: they are secret.
fn parse(line: &str) -> Result<Value, Failure> {
    let wrong = || Failure::usage("credentials are one line: basic USER:PASSWORD or bearer TOKEN");
    let (kind, rest) = line
        .trim_end_matches('\r')
        .split_once(' ')
        .ok_or_else(wrong)?;
    match kind.to_ascii_lowercase().as_str() {
        "basic" => {
            let (user, password) = rest.split_once(':').ok_or_else(wrong)?;
            Ok(json!({ "basic": { "user": user, "password": password } }))
        }
        "bearer" if !rest.trim().is_empty() => Ok(json!({ "bearer": { "token": rest.trim() } })),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_read() {
        let basic = parse("basic me:p:w ").ok().unwrap();
        assert_eq!(
            basic,
            json!({ "basic": { "user": "me", "password": "p:w " } })
        );
        let bearer = parse("Bearer abc\r").ok().unwrap();
        assert_eq!(bearer, json!({ "bearer": { "token": "abc" } }));
        for wrong in ["", "me:pw", "basic me", "bearer ", "digest me:pw"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
