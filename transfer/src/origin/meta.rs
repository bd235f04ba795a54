//! What an origin says of a URL.

use std::time::SystemTime;

use http::header;
use http::{HeaderMap, Response, Version};
use potluck_content::{Digest, Entity, Validator};
use url::Url;

use crate::origin::answer_fields::{
    content_range, is_for_all, length, range_support, shown_fields, text, validator,
};
use crate::origin::digest_fields::read_digests;
use crate::origin::encoding::{Packed, packed};
use crate::origin::link_field::manifest_link;
use crate::origin::{OriginError, VersionMarks};

/// What a URL names now.
#[derive(Clone, Debug)]
pub struct OriginMeta {
    /// The URL that was asked for, without credentials and fragment.
    pub url: Url,
    /// Where its redirects lead.
    pub final_url: Url,
    /// Bytes in the whole, where the origin says so.
    pub size: Option<u64>,
    /// What tells this version from others, where the origin says so.
    pub validator: Option<Validator>,
    /// All that it says of the version: where that differs, the version does.
    pub marks: VersionMarks,
    /// Whether it comes packed, though it was asked for as it is.
    pub packed: bool,
    /// Whether the origin speaks no more than HTTP/1.0.
    pub old: bool,
    /// Whether parts can be asked for.
    pub ranges: RangeSupport,
    /// Digests of the whole that the origin gave.
    pub digests: Vec<Digest>,
    /// Where the origin says the manifest of the file is.
    pub manifest: Option<Url>,
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
            marks: VersionMarks::default(),
            packed: false,
            old: false,
            ranges: RangeSupport::No,
            digests: Vec::new(),
            manifest: None,
            modified: None,
            fields: Vec::new(),
            shareable: false,
        }
    }

    /// The file comes packed: what the fields say is of the packed one, and where a part
    /// of the file lies in that nobody knows.
    pub(crate) fn set_packed(&mut self) {
        self.packed = true;
        self.size = None;
        self.ranges = RangeSupport::No;
        self.digests.clear();
        self.manifest = None;
    }

    /// Reads the answer that is the whole, or a part of it.
    ///
    /// # Errors
    /// When it is packed in a way that cannot be unpacked.
    pub(crate) fn of_answer<T>(
        (url, final_url): (Url, Url),
        answer: &Response<T>,
        whole: bool,
    ) -> Result<Self, OriginError> {
        let headers = answer.headers();
        let mut meta = Self::read(url, final_url, headers, whole);
        meta.old = answer.version() < Version::HTTP_11;
        match packed(&meta.final_url, headers) {
            Packed::No => {}
            Packed::By(_) => meta.set_packed(),
            Packed::Unknown(coding) => {
                let url = meta.final_url.to_string();
                return Err(OriginError::BadEncoding { url, coding });
            }
        }
        Ok(meta)
    }

    /// Reads the fields of an answer that is the whole, or a part of it.
    fn read(url: Url, final_url: Url, headers: &HeaderMap, whole: bool) -> Self {
        let part_of = content_range(headers);
        Self {
            manifest: manifest_link(headers, &final_url),
            url,
            final_url,
            size: if whole {
                length(headers)
            } else {
                part_of.and_then(|range| range.size)
            },
            validator: validator(headers),
            marks: VersionMarks::of(headers),
            packed: false,
            old: false,
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::origin::answer_fields::{ContentRange, retry_after};

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
