//! The names that a content goes by.

use potluck_cache::Filter;
use potluck_content::{ContentId, Digest};
use url::Url;

use super::{Contents, ContentsError};

/// How many contents an ambiguous name lists.
const SHOWN: usize = 4;
/// Digits of an id that are enough to be meant as one.
const MIN_DIGITS: usize = 4;

impl Contents {
    /// The one content of a name: an id, the beginning of one, another digest, or a URL.
    ///
    /// # Errors
    /// When it names none or more than one.
    pub fn find(&self, name: &str) -> Result<ContentId, ContentsError> {
        let found = if name.contains("://") {
            self.with_url(name)
        } else if let Ok(digest) = name.parse::<Digest>() {
            self.cache.find_digest(&digest).into_iter().collect()
        } else {
            let digits = name.strip_prefix("b3:").unwrap_or(name);
            if digits.len() < MIN_DIGITS || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(ContentsError::Invalid(format!(
                    "{name:?} names no content: write its id (b3:HEX) or at least {MIN_DIGITS} digits of it, another digest (sha256:HEX), or a URL"
                )));
            }
            self.cache.with_prefix(digits, SHOWN)
        };
        match found[..] {
            [] => Err(ContentsError::NotHeld(name.to_owned())),
            [id] => Ok(id),
            _ => Err(ContentsError::Ambiguous {
                name: name.to_owned(),
                ids: found.iter().map(ToString::to_string).collect(),
            }),
        }
    }

    fn with_url(&self, url: &str) -> Vec<ContentId> {
        let filter = Filter {
            url: Some(as_kept(url)),
            ..Filter::default()
        };
        let page = self.cache.page(&filter, None, SHOWN);
        page.iter().map(|record| record.id).collect()
    }
}

/// A URL as contents know it: in its normal form, without credentials and fragment.
pub(super) fn as_kept(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else {
        return text.to_owned();
    };
    url.set_fragment(None);
    // Fails only where there is no host, and so no credentials.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_compared_as_they_are_kept() {
        for url in ["http://me:secret@O.example", "HTTP://o.example:80/#end"] {
            assert_eq!(as_kept(url), "http://o.example/");
        }
        assert_eq!(as_kept("://"), "://");
    }
}
