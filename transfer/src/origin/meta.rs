//! What an origin says of a URL.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header;
use potluck_content::{Digest, Entity, Validator};
use url::Url;

use crate::origin::digest_fields::read_digests;

/// Fields of an answer that are kept, and bytes of all of them.
const MAX_SHOWN_FIELDS: usize = 64;
const MAX_SHOWN_BYTES: usize = 16 << 10;

/// What a URL names now.
#[derive(Clone, Debug)]
pub struct OriginMeta {
    /// The URL that was asked for, without credentials and fragment; where the job wants
    /// redirects reported, where they lead.
    pub url: Url,
    /// Where its redirects lead.
    pub final_url: Url,
    /// Bytes in the whole, where the origin says so.
    pub size: Option<u64>,
    /// What tells this version from others, where the origin says so.
    pub validator: Option<Validator>,
    /// Whether parts can be asked for.
    pub ranges: RangeSupport,
    /// Digests of the whole that the origin gave.
    pub digests: Vec<Digest>,
    /// When it was last modified.
    pub modified: Option<SystemTime>,
    /// Fields of the answer: 64 at most, of 16 KiB together, and none that sets a
    /// cookie.
    pub fields: Vec<(String, String)>,
    /// Whether others may have it from us: the answer does not forbid storing it for
    /// all, and was not given to credentials.
    pub shareable: bool,
}

/// Whether an origin sends parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RangeSupport {
    /// It said or showed that it does.
    Yes,
    /// It said or showed that it does not.
    No,
    /// It said nothing; the first part asked for will show.
    Unknown,
}

impl OriginMeta {
    /// This version of the URL, where size and validator are known.
    ///
    /// It bears the URL that was asked for: where redirects lead may differ from node
    /// to node (mirrors, signed links), and the nodes could not find each other.
    #[must_use]
    pub fn entity(&self) -> Option<Entity> {
        Some(Entity {
            url: self.url.to_string(),
            validator: self.validator.clone()?,
            size: self.size?,
        })
    }

    /// What is known before anything was asked.
    pub(crate) fn unknown(url: Url) -> Self {
        Self {
            final_url: url.clone(),
            url,
            size: None,
            validator: None,
            ranges: RangeSupport::No,
            digests: Vec::new(),
            modified: None,
            fields: Vec::new(),
            shareable: false,
        }
    }

    /// Reads the fields of an answer that is the whole, or a part of it.
    pub(crate) fn read(url: Url, final_url: Url, headers: &HeaderMap, whole: bool) -> Self {
        let part_of = content_range(headers);
        Self {
            url,
            final_url,
            size: if whole {
                length(headers)
            } else {
                part_of.and_then(|range| range.size)
            },
            validator: validator(headers),
            ranges: if whole {
                range_support(headers)
            } else {
                RangeSupport::Yes
            },
            digests: read_digests(headers, whole),
            modified: text(headers, header::LAST_MODIFIED)
                .and_then(|date| httpdate::parse_http_date(date).ok()),
            fields: shown_fields(headers),
            shareable: is_for_all(headers),
        }
    }
}

/// The fields that are worth keeping. Cookies are secrets between the origin and us.
fn shown_fields(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut room = MAX_SHOWN_BYTES;
    let shown = headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "set-cookie" | "set-cookie2"))
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
    shown
        .take_while(|(name, value)| {
            let len = name.len() + value.len();
            let fits = len <= room;
            room = room.saturating_sub(len);
            fits
        })
        .take(MAX_SHOWN_FIELDS)
        .collect()
}

/// What `Content-Range` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ContentRange {
    /// First and last byte; `None` in the answer to a range that cannot be had.
    pub(crate) bytes: Option<(u64, u64)>,
    /// Bytes in the whole.
    pub(crate) size: Option<u64>,
}

pub(crate) fn content_range(headers: &HeaderMap) -> Option<ContentRange> {
    let (bytes, size) = text(headers, header::CONTENT_RANGE)?
        .trim()
        .strip_prefix("bytes ")?
        .split_once('/')?;
    let bytes = match bytes.trim() {
        "*" => None,
        span => {
            let (first, last) = span.split_once('-')?;
            Some((number(first)?, number(last)?))
        }
    };
    let size = match size.trim() {
        "*" => None,
        size => Some(number(size)?),
    };
    Some(ContentRange { bytes, size })
}

/// The strong entity tag, else the date. A date that is as young as the answer could
/// hide a second change within its second (RFC 9110, section 8.8.2.2); it is taken
/// all the same, as BITS does, because small servers know nothing else and the size
/// must agree too.
pub(crate) fn validator(headers: &HeaderMap) -> Option<Validator> {
    let tag = text(headers, header::ETAG)
        .map(str::trim)
        .filter(|tag| tag.starts_with('"') && tag.ends_with('"') && tag.len() >= 2);
    if let Some(tag) = tag {
        return Some(Validator::ETag(tag.to_owned()));
    }
    text(headers, header::LAST_MODIFIED)
        .map(str::trim)
        .filter(|date| httpdate::parse_http_date(date).is_ok())
        .map(|date| Validator::LastModified(date.to_owned()))
}

pub(crate) fn length(headers: &HeaderMap) -> Option<u64> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return None;
    }
    text(headers, header::CONTENT_LENGTH).and_then(number)
}

/// `Retry-After`: seconds, or a date.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = text(headers, header::RETRY_AFTER)?.trim();
    match number(value) {
        Some(seconds) => Some(Duration::from_secs(seconds)),
        None => {
            let date = httpdate::parse_http_date(value).ok()?;
            Some(date.duration_since(now).unwrap_or_default())
        }
    }
}

fn range_support(headers: &HeaderMap) -> RangeSupport {
    match text(headers, header::ACCEPT_RANGES).map(str::trim) {
        Some(unit) if unit.eq_ignore_ascii_case("bytes") => RangeSupport::Yes,
        Some(_) => RangeSupport::No,
        None => RangeSupport::Unknown,
    }
}

fn is_for_all(headers: &HeaderMap) -> bool {
    let directives = |name| {
        headers
            .get_all(name)
            .into_iter()
            .filter_map(|v| v.to_str().ok())
    };
    let forbidden = directives(header::CACHE_CONTROL)
        .flat_map(|field| field.split(','))
        .map(|directive| directive.split('=').next().unwrap_or_default().trim())
        .any(|word| word.eq_ignore_ascii_case("no-store") || word.eq_ignore_ascii_case("private"));
    let varies = directives(header::VARY).any(|field| field.trim() == "*");
    !forbidden && !varies
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Digits only: `parse` alone would take a sign.
fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn read(fields: &[(&'static str, &str)]) -> OriginMeta {
        let url = Url::parse("http://o/a").unwrap();
        OriginMeta::read(url.clone(), url, &headers(fields), true)
    }

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    #[test]
    fn a_strong_tag_beats_the_date_and_a_weak_one_does_not_count() {
        let both = read(&[("etag", "\"a\""), ("last-modified", DATE)]);
        assert_eq!(both.validator, Some(Validator::ETag("\"a\"".into())));
        let weak = read(&[("etag", "W/\"a\""), ("last-modified", DATE)]);
        assert_eq!(weak.validator, Some(Validator::LastModified(DATE.into())));
        assert_eq!(read(&[("last-modified", "yesterday")]).validator, None);
        assert!(read(&[("etag", "\"a\"")]).entity().is_none());
        assert_eq!(
            read(&[("etag", "\"a\""), ("content-length", "7")])
                .entity()
                .unwrap()
                .size,
            7
        );
    }

    #[test]
    fn what_is_private_is_not_shared() {
        for value in ["no-store", "max-age=0, Private", "private=\"x\""] {
            assert!(!read(&[("cache-control", value)]).shareable, "{value}");
        }
        assert!(!read(&[("vary", "*")]).shareable);
        assert!(read(&[("cache-control", "no-cache, max-age=3"), ("vary", "accept")]).shareable);
    }

    #[test]
    fn reads_content_ranges() {
        let read = |value| content_range(&headers(&[("content-range", value)]));
        let part = |bytes, size| Some(ContentRange { bytes, size });
        assert_eq!(read("bytes 0-9/100"), part(Some((0, 9)), Some(100)));
        assert_eq!(read("bytes 0-9/*"), part(Some((0, 9)), None));
        assert_eq!(read("bytes */100"), part(None, Some(100)));
        for bad in [
            "bytes 0-9",
            "items 0-9/10",
            "bytes +1-9/10",
            "bytes x-9/10",
            "bytes -9/10",
        ] {
            assert!(read(bad).is_none_or(|range| range.bytes.is_none()), "{bad}");
        }
    }

    #[test]
    fn reads_when_to_come_back() {
        let now = httpdate::parse_http_date(DATE).unwrap();
        let read = |value| retry_after(&headers(&[("retry-after", value)]), now);
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(
            read("Sun, 06 Nov 1994 08:50:37 GMT"),
            Some(Duration::from_secs(60))
        );
        assert_eq!(read("Sun, 06 Nov 1994 08:40:37 GMT"), Some(Duration::ZERO));
        assert_eq!(read("soon"), None);
    }
}
