//! Whether what a caller says of a job can be used.

use std::path::PathBuf;

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
/// Header fields of a job or a file, names and values, in bytes, as in BITS.
const MAX_HEADERS: usize = 16_384;
/// Longest user name and password, in bytes, as in BITS.
const MAX_USER: usize = 300;
const MAX_PASSWORD: usize = 65_535;
/// Words that a hook is called with, and bytes in all of them.
const MAX_ARGUMENTS: usize = 64;
const MAX_ARGUMENT_BYTES: usize = 4_096;

pub(super) fn name(name: String) -> Result<String, Refusal> {
    match name.len() {
        0..=MAX_NAME => Ok(name),
        _ => refuse(format!("a job's name has at most {MAX_NAME} bytes")),
    }
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
    if !text.is_empty() && HeaderValue::from_str(&text).is_ok() {
        return Ok(text);
    }
    refuse(format!("{text:?} is no name for a user agent"))
}

pub(super) fn method(text: String) -> Result<String, Refusal> {
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::HEAD | Method::CONNECT) | Err(_) => {
            refuse(format!("{text:?} is no method that fetches a file"))
        }
        Ok(_) => Ok(text),
    }
}

/// `http://[USER[:PASSWORD]@]HOST[:PORT]`
pub(super) fn proxy(text: &str) -> Result<(), Refusal> {
    let fits = Url::parse(text).is_ok_and(|url| {
        url.scheme() == "http" && url.has_host() && url.path() == "/" && url.query().is_none()
    });
    if fits {
        return Ok(());
    }
    refuse("a proxy is written http://HOST:PORT or http://USER:PASSWORD@HOST:PORT".to_owned())
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

pub(super) fn full_paths(paths: Vec<PathBuf>) -> Result<Vec<PathBuf>, Refusal> {
    match paths.iter().find(|path| !path.is_absolute()) {
        None => Ok(paths),
        Some(path) => refuse(format!("{} does not begin with /", path.display())),
    }
}

pub(super) fn hook(hook: Hook) -> Result<Hook, Refusal> {
    full_paths(vec![hook.program.clone()])?;
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
}
