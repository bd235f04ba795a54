//! Where the files of `potluck get` go.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use url::Url;

use crate::cli::failure::Failure;

/// A full path for each URL.
pub(super) fn choose(
    urls: &[String],
    output: Option<&Path>,
    dir: Option<&Path>,
) -> Result<Vec<PathBuf>, Failure> {
    if let (Some(output), more) = (output, urls.len() > 1) {
        if more {
            return Err(Failure::usage("-o is for one URL: use -d DIR for several"));
        }
        return Ok(vec![absolute(output)?]);
    }
    let dir = absolute(dir.unwrap_or(Path::new(".")))?;
    let mut paths = Vec::new();
    let mut names = BTreeSet::new();
    for text in urls {
        let name = name_of(text)?;
        if !names.insert(name.clone()) {
            let message =
                format!("{text}: another URL already gives a file {name}: get it apart with -o");
            return Err(Failure::usage(message));
        }
        paths.push(dir.join(name));
    }
    Ok(paths)
}

/// The last part of the URL's path.
pub(in crate::cli) fn name_of(text: &str) -> Result<String, Failure> {
    let url = Url::parse(text)
        .map_err(|error| Failure::usage(format!("{text}: no URL: {error}: write http://…")))?;
    let last = url.path().rsplit('/').next().unwrap_or_default();
    let name = percent_decoded(last);
    // Nothing of a URL may lead out of the directory, or play with the terminal.
    let is_plain = !name.is_empty()
        && name != "."
        && name != ".."
        && !name.contains('/')
        && !name.contains(char::is_control)
        && name.len() <= 255;
    if is_plain {
        Ok(name)
    } else {
        Err(Failure::usage(format!(
            "{text}: the URL names no file: say where it goes with -o FILE"
        )))
    }
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let digits = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    // Keeps a slash at the end, which says that a directory is meant.
    std::path::absolute(path)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_path() {
        for (url, name) in [
            ("http://o/a/b.iso?x=/y", "b.iso"),
            ("http://o/a%20b", "a b"),
            ("http://o/100%", "100%"),
            ("http://o/a%+1", "a%+1"),
        ] {
            assert_eq!(name_of(url).ok().as_deref(), Some(name), "{url}");
        }
        for url in [
            "http://o",
            "http://o/a/",
            "http://o/..%2fetc",
            "http://o/%2e%2e",
            "http://o/a%1b[2J",
            "http://o/a%00",
            "o/a",
        ] {
            assert!(name_of(url).is_err(), "{url}");
        }
    }

    #[test]
    fn several_urls_go_into_one_directory() {
        let urls = ["http://o/a".to_owned(), "http://o/b".to_owned()];
        let paths = choose(&urls, None, Some(Path::new("/d"))).ok().unwrap();
        assert_eq!(paths, [Path::new("/d/a"), Path::new("/d/b")]);
        assert!(choose(&urls, Some(Path::new("/d/x")), None).is_err());
        let same = ["http://o/a".to_owned(), "http://p/a".to_owned()];
        assert!(choose(&same, None, None).is_err());
    }
}
