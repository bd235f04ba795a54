//! Whether what a caller says of a job can be used.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};
use potluck_plan::{FileRange, FileRanges};
use url::Url;

use super::{Credentials, Hook, Refusal};

/// A URL that is longer is refused, as in BITS.
const MAX_URL: usize = 2_200;
/// Longest name of a job, in bytes.
const MAX_NAME: usize = 256;
/// Longest description of a job, in characters, as in BITS.
const MAX_DESCRIPTION: usize = 1_024;
/// Header fields of a job or a file: how many, and names and values in bytes, as in BITS.
const MAX_FIELDS: usize = 64;
const MAX_HEADERS: usize = 16_384;
/// The longest path, in bytes: Linux opens no longer one (`PATH_MAX`).
const MAX_PATH: usize = 4_096;
/// Longest name of a user agent, and of a method, in bytes.
const MAX_USER_AGENT: usize = 1_024;
const MAX_METHOD: usize = 64;
/// Files with trust roots.
const MAX_CA_FILES: usize = 16;
/// Longest user name and password, in bytes, as in BITS.
const MAX_USER: usize = 300;
const MAX_PASSWORD: usize = 65_535;
/// Words that a hook is called with, and bytes in all of them.
const MAX_ARGUMENTS: usize = 64;
const MAX_ARGUMENT_BYTES: usize = 4_096;

pub(super) fn name(name: String) -> Result<String, Refusal> {
    if name.len() > MAX_NAME {
        return refuse(format!("a job's name has at most {MAX_NAME} bytes"));
    }
    // It stands in tables, and in what hooks are told.
    if name.contains(char::is_control) {
        return refuse("a job's name has no control characters".to_owned());
    }
    Ok(name)
}

pub(super) fn description(text: String) -> Result<String, Refusal> {
    if text.chars().count() <= MAX_DESCRIPTION {
        return Ok(text);
    }
    refuse(format!(
        "a job's description has at most {MAX_DESCRIPTION} characters"
    ))
}

/// The message names the URL without its password.
pub(super) fn url(text: &str) -> Result<(), Refusal> {
    if text.len() > MAX_URL {
        return refuse(format!(
            "a URL has at most {MAX_URL} bytes, this one has {}",
            text.len()
        ));
    }
    let url = Url::parse(text)
        .map_err(|error| Refusal::Invalid(format!("{text:?} is no URL: {error}")))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(()),
        scheme => refuse(format!(
            "{text:?}: {scheme} is not supported: use http or https"
        )),
    }
}

/// Values are not named: they may be secret.
pub(super) fn headers(fields: &[(String, String)]) -> Result<(), Refusal> {
    if fields.len() > MAX_FIELDS {
        return refuse(format!(
            "there may be {MAX_FIELDS} header fields, these are {}",
            fields.len()
        ));
    }
    for (name, value) in fields {
        let fits =
            HeaderName::from_bytes(name.as_bytes()).is_ok() && HeaderValue::from_str(value).is_ok();
        if !fits {
            return refuse(format!("{name:?} is no header field"));
        }
    }
    let bytes: usize = fields
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes > MAX_HEADERS {
        return refuse(format!(
            "header fields have at most {MAX_HEADERS} bytes together, these have {bytes}"
        ));
    }
    Ok(())
}

pub(super) fn user_agent(text: String) -> Result<String, Refusal> {
    if text.len() > MAX_USER_AGENT {
        return refuse(format!(
            "the name of a user agent has at most {MAX_USER_AGENT} bytes"
        ));
    }
    if !text.is_empty() && HeaderValue::from_str(&text).is_ok() {
        return Ok(text);
    }
    refuse(format!("{text:?} is no name for a user agent"))
}

pub(super) fn method(text: String) -> Result<String, Refusal> {
    if text.len() > MAX_METHOD {
        return refuse(format!("a method has at most {MAX_METHOD} bytes"));
    }
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::HEAD | Method::CONNECT) | Err(_) => {
            refuse(format!("{text:?} is no method that fetches a file"))
        }
        Ok(_) => Ok(text),
    }
}

/// `http://[USER[:PASSWORD]@]HOST[:PORT]`, and the same of `socks5` and `socks5h`.
pub(super) fn proxy(text: &str) -> Result<(), Refusal> {
    if text.len() > MAX_URL {
        return refuse(format!("the URL of a proxy has at most {MAX_URL} bytes"));
    }
    let fits = Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "socks5" | "socks5h")
            && url.host_str().is_some_and(|host| !host.is_empty())
            && matches!(url.path(), "" | "/")
            && url.query().is_none()
    });
    if fits {
        return Ok(());
    }
    let message = "a proxy is written http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, or with \
        socks5:// or socks5h://";
    refuse(message.to_owned())
}

pub(super) fn credentials(credentials: &Credentials) -> Result<(), Refusal> {
    let (user, secret) = match credentials {
        Credentials::Basic { user, password } => (user.as_str(), password),
        Credentials::Bearer { token } => ("", token),
    };
    if user.len() > MAX_USER || secret.expose().len() > MAX_PASSWORD {
        return refuse(format!(
            "a user name has at most {MAX_USER} bytes, a password or token {MAX_PASSWORD}"
        ));
    }
    let is_token = !matches!(credentials, Credentials::Bearer { .. })
        || secret.expose().bytes().all(|byte| byte.is_ascii_graphic());
    let text = [user, secret.expose()];
    let is_plain = !text.iter().any(|text| text.contains(char::is_control));
    if user.contains(':') || !is_token || !is_plain {
        return refuse(
            "a user name has no colon, a token no spaces, and none of them control characters"
                .to_owned(),
        );
    }
    Ok(())
}

pub(super) fn ca_files(paths: Vec<PathBuf>) -> Result<Vec<PathBuf>, Refusal> {
    if paths.len() > MAX_CA_FILES {
        return refuse(format!("a job names at most {MAX_CA_FILES} ca_files"));
    }
    paths.iter().try_for_each(|path| full_path(path))?;
    Ok(paths)
}

pub(super) fn full_path(path: &Path) -> Result<(), Refusal> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() > MAX_PATH {
        let beginning = String::from_utf8_lossy(&bytes[..64]).into_owned();
        return refuse(format!(
            "a path has at most {MAX_PATH} bytes, {beginning}… has {}",
            bytes.len()
        ));
    }
    if bytes.contains(&0) {
        return refuse(format!("{} has a zero byte in it", path.display()));
    }
    if !path.is_absolute() {
        return refuse(format!("{} does not begin with /", path.display()));
    }
    Ok(())
}

pub(super) fn hook(hook: Hook) -> Result<Hook, Refusal> {
    full_path(&hook.program)?;
    let bytes: usize = hook.arguments.iter().map(String::len).sum();
    if hook.arguments.len() > MAX_ARGUMENTS || bytes > MAX_ARGUMENT_BYTES {
        return refuse(format!(
            "a hook has at most {MAX_ARGUMENTS} arguments with {MAX_ARGUMENT_BYTES} bytes"
        ));
    }
    if hook.arguments.iter().any(|word| word.contains('\0')) {
        return refuse("an argument of a hook has no zero bytes".to_owned());
    }
    Ok(hook)
}

/// None are the whole file.
pub(super) fn ranges(ranges: Vec<FileRange>, most: usize) -> Result<Option<FileRanges>, Refusal> {
    if ranges.is_empty() {
        return Ok(None);
    }
    let ranges = FileRanges::new(ranges, most);
    ranges
        .map(Some)
        .map_err(|error| Refusal::Invalid(error.to_string()))
}

fn refuse<T>(message: String) -> Result<T, Refusal> {
    Err(Refusal::Invalid(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_sent_is_refused() {
        for wrong in ["", "two words", "HEAD", "CONNECT"] {
            assert!(method(wrong.to_owned()).is_err(), "{wrong:?}");
        }
        assert!(method("POST".to_owned()).is_ok());
        for wrong in ["p:3128", "https://p", "http://p/path", "http://"] {
            assert!(proxy(wrong).is_err(), "{wrong}");
        }
        assert!(proxy("http://me:pw@p:3128").is_ok());
        assert!(proxy("socks5h://me:pw@p").is_ok());
        assert!(user_agent("a\nb".to_owned()).is_err());
        let field = |value: &str| [("X".to_owned(), value.to_owned())];
        assert!(headers(&field("1")).is_ok());
        assert!(headers(&field("1\r\nEvil: 2")).is_err());
        assert!(headers(&field(&"x".repeat(MAX_HEADERS))).is_err());
    }

    #[test]
    fn credentials_fit_their_header_field() {
        let basic = |user: &str, password: &str| Credentials::Basic {
            user: user.to_owned(),
            password: password.to_owned().into(),
        };
        assert!(credentials(&basic("me", "p: w")).is_ok());
        assert!(credentials(&basic("m:e", "pw")).is_err());
        assert!(credentials(&basic("me", "p\nw")).is_err());
        let token = "a b".to_owned().into();
        assert!(credentials(&Credentials::Bearer { token }).is_err());
    }

    #[test]
    fn a_long_description_is_refused() {
        assert!(description("ü".repeat(1_024)).is_ok());
        assert!(description("u".repeat(1_025)).is_err());
        assert!(name("n".repeat(257)).is_err());
    }

    #[test]
    fn everything_has_a_length() {
        let says = |refused: Result<(), Refusal>, limit: &str| {
            let words = refused.unwrap_err().to_string();
            assert!(words.contains(limit), "{words}");
            assert!(words.len() < 300, "{words}");
        };
        let long = |bytes: usize| "x".repeat(bytes);
        let origin = |path: usize| format!("http://o/{}", long(path - 9));
        assert!(url(&origin(2_200)).is_ok());
        says(url(&origin(2_201)), "2200");
        let path = |bytes: usize| format!("/{}", long(bytes - 1));
        assert!(full_path(path(4_096).as_ref()).is_ok());
        says(full_path(path(4_097).as_ref()), "4096");
        says(full_path(Path::new("/a\0b")), "zero byte");
        assert!(proxy(&format!("http://{}:1", long(200))).is_ok());
        says(proxy(&format!("http://{}:1", long(2_200))), "2200");
        assert!(user_agent(long(1_024)).is_ok());
        says(user_agent(long(1_025)).map(drop), "1024");
        assert!(method(long(64)).is_ok());
        says(method(long(65)).map(drop), "64");
        assert!(ca_files(vec!["/ca".into(); 16]).is_ok());
        says(ca_files(vec!["/ca".into(); 17]).map(drop), "16");
        let fields = |many| vec![("X".to_owned(), "1".to_owned()); many];
        assert!(headers(&fields(64)).is_ok());
        says(headers(&fields(65)), "64");
        says(name("a\tb".to_owned()).map(drop), "control");
        let hook_of = |words: usize| Hook {
            program: "/bin/true".into(),
            arguments: vec![long(64); words],
        };
        assert!(hook(hook_of(64)).is_ok());
        says(hook(hook_of(65)).map(drop), "64");
    }
}
