//! `potluck job add`

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::FalseyValueParser;
use potluck_plan::FileRange;
use serde_json::{Value, json};

use crate::cli::failure::Failure;
use crate::cli::get::{header, name_of};
use crate::cli::url_pattern::expand;

/// More bytes than a list of URLs has.
const MAX_LIST: u64 = 64 << 20;

/// `potluck job add`
#[derive(Debug, Args)]
pub(in crate::cli) struct AddArgs {
    /// The job.
    pub(super) job: String,
    /// Where the file comes from. [001-100], [a-f] and {a,b} stand for several.
    #[arg(required_unless_present = "from_file")]
    url: Option<String>,
    /// Where it goes: a file or a directory; without it this directory.
    #[arg(conflicts_with = "from_file")]
    path: Option<PathBuf>,
    /// Add all files of a list, - for standard input: a line each with a URL and, after a
    /// space, where it goes. Lines that begin with # do not count.
    #[arg(
        long,
        value_name = "LIST",
        conflicts_with = "url",
        env = "POTLUCK_FROM_FILE",
        hide_env_values = true
    )]
    from_file: Option<PathBuf>,
    /// Take brackets and braces in the URL as they are.
    #[arg(long, env = "POTLUCK_LITERAL", value_parser = FalseyValueParser::new(), hide_env_values = true)]
    literal: bool,
    /// Only this part: its first byte, counted from 0, and its length or eof. May be given
    /// several times; the parts are put together in the order given.
    #[arg(long = "range", value_name = "OFF-LEN", value_parser = range, env = "POTLUCK_RANGE", value_delimiter = ',', hide_env_values = true)]
    ranges: Vec<FileRange>,
    /// What the whole must have, as sha256:HEX.
    #[arg(
        long,
        value_name = "ALG:HEX",
        env = "POTLUCK_CHECKSUM",
        hide_env_values = true
    )]
    checksum: Option<String>,
    /// A header field for the origin; may be given several times.
    #[arg(long = "header", value_name = "K: V", value_parser = header, env = "POTLUCK_HEADER", hide_env_values = true)]
    headers: Vec<(String, String)>,
    /// A header field for the origin that is shown to nobody afterwards.
    #[arg(long = "secret-header", value_name = "K: V", value_parser = header, env = "POTLUCK_SECRET_HEADER", hide_env_values = true)]
    secret_headers: Vec<(String, String)>,
}

/// Reads a range.
pub(in crate::cli) fn range(text: &str) -> Result<FileRange, String> {
    FileRange::parse(text).map_err(|error| error.to_string())
}

/// The files that are to be added, as the API has them.
pub(super) fn files(args: &AddArgs) -> Result<Vec<Value>, Failure> {
    let wanted = match (&args.url, &args.from_file) {
        (_, Some(list)) => listed(list)?,
        (Some(url), None) => one_or_more(url, args)?,
        (None, None) => Vec::new(),
    };
    if wanted.is_empty() {
        return Err(Failure::usage("there is no URL to add"));
    }
    if args.checksum.is_some() && wanted.len() > 1 {
        return Err(Failure::usage(
            "--checksum is for one URL: add the others apart",
        ));
    }
    let mut paths = BTreeSet::new();
    let mut files = Vec::new();
    for (url, path) in wanted {
        if !paths.insert(path.clone()) {
            let path = path.display();
            return Err(Failure::usage(format!(
                "{url}: another URL already goes to {path}"
            )));
        }
        let path = path
            .to_str()
            .ok_or_else(|| Failure::usage(format!("{}: the path is not UTF-8", path.display())))?;
        let mut file = json!({
            "url": url,
            "path": path,
            "headers": args.headers,
            "secret_headers": args.secret_headers,
            "checksum": args.checksum,
        });
        if !args.ranges.is_empty() {
            file["ranges"] = json!(args.ranges);
        }
        files.push(file);
    }
    Ok(files)
}

fn one_or_more(url: &str, args: &AddArgs) -> Result<Vec<(String, PathBuf)>, Failure> {
    let urls = match args.literal {
        true => vec![url.to_owned()],
        false => expand(url)?,
    };
    let to = args.path.as_deref();
    if let (Some(file), true) = (to, urls.len() > 1)
        && !file.is_dir()
    {
        let message = format!("{}: several files need a directory", file.display());
        return Err(Failure::usage(message));
    }
    let with_path = |url: String| Ok((url.clone(), destination(&url, to)?));
    urls.into_iter().map(with_path).collect()
}

/// The lines of a list: all of them or none.
fn listed(list: &Path) -> Result<Vec<(String, PathBuf)>, Failure> {
    let shown = list.display();
    let failed = |error: std::io::Error| Failure::failed(format!("{shown}: {error}"));
    let mut text = String::new();
    if list.as_os_str() == "-" {
        std::io::stdin().take(MAX_LIST).read_to_string(&mut text)
    } else {
        let file = std::fs::File::open(list).map_err(failed)?;
        file.take(MAX_LIST).read_to_string(&mut text)
    }
    .map_err(failed)?;
    let lines = text.lines().map(str::trim).enumerate();
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| {
            let (url, path) = match line.split_once(char::is_whitespace) {
                Some((url, path)) => (url, Some(Path::new(path.trim_start()))),
                None => (line, None),
            };
            let path = destination(url, path).map_err(|error| {
                Failure::usage(format!("{shown}, line {}: {error}", number + 1))
            })?;
            Ok((url.to_owned(), path))
        })
        .collect()
}

/// Where the file of a URL goes: a full path. A directory, or nothing said, takes the
/// last part of the URL as the name.
fn destination(url: &str, to: Option<&Path>) -> Result<PathBuf, Failure> {
    let to = to.unwrap_or(Path::new("."));
    let full = std::path::absolute(to)
        .map_err(|error| Failure::usage(format!("{}: {error}", to.display())))?;
    let says_directory = to.as_os_str().as_encoded_bytes().ends_with(b"/");
    if !says_directory && !full.is_dir() {
        return Ok(full);
    }
    let name = name_of(url)
        .map_err(|_| Failure::usage(format!("{url}: the URL names no file: say its PATH")))?;
    Ok(full.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_path_is_named_by_its_url() {
        let dir = tempfile::tempdir().unwrap();
        let into = |url: &str| destination(url, Some(dir.path())).ok();
        let url = "https://x.test/a/b%20c.iso?d=e/f#g";
        assert_eq!(into(url), Some(dir.path().join("b c.iso")));
        for nameless in [
            "https://x.test/",
            "https://x.test/%2e%2e",
            "https://x.test/a%2Fb",
            "x",
        ] {
            assert_eq!(into(nameless), None, "{nameless}");
        }
        let file = dir.path().join("named");
        assert_eq!(destination(url, Some(&file)).unwrap(), file);
        let missing = dir.path().join("missing/");
        let inside = dir.path().join("missing/b c.iso");
        assert_eq!(destination(url, Some(&missing)).unwrap(), inside);
        assert!(destination(url, None).unwrap().is_absolute());
    }

    #[test]
    fn a_list_has_a_url_and_a_path_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("list");
        std::fs::write(&list, "# some\n\nhttp://o/a  /d/b c \r\nhttp://o/x[1-2]\n").unwrap();
        let read = listed(&list).unwrap();
        assert_eq!(read[0], ("http://o/a".to_owned(), "/d/b c".into()));
        assert!(read[1].1.ends_with("x[1-2]"), "lists have no wildcards");
        std::fs::write(&list, "http://o/a\nhttp://o/\n").unwrap();
        let wrong = listed(&list).unwrap_err().to_string();
        assert!(wrong.contains("line 2"), "{wrong}");
    }
}
