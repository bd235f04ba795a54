//! URLs as names and logs may have them.

use url::Url;

/// The URL without its password; nothing when it is none that
/// names a host.
pub(crate) fn public_url(text: &str) -> String {
    let url = Url::parse(text).ok().and_then(|mut url| {
        url.set_password(None).ok()?;
        Some(url.into())
    });
    url.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_goes_and_the_rest_stays() {
        assert_eq!(
            public_url("https://me:secret@o:8443/a?b#c"),
            "https://me@o:8443/a?b#c"
        );
        assert_eq!(public_url("http://o/a"), "http://o/a");
        for other in ["me:secret@o", "//me:secret@o", ""] {
            assert_eq!(public_url(other), "", "{other}");
        }
    }
}
