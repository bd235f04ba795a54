//! What single fields of an answer say.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header;
use potluck_content::Validator;

use crate::origin::RangeSupport;

/// Fields of an answer that are kept, and bytes of all of them.
const MAX_SHOWN_FIELDS: usize = 64;
const MAX_SHOWN_BYTES: usize = 16 << 10;

/// The fields that are worth keeping. Cookies are secrets between the origin and us.
pub(crate) fn shown_fields(headers: &HeaderMap) -> Vec<(String, String)> {
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
/// hide a second change within its second, so it tells nothing (RFC 9110, section
/// 8.8.2.2); a server that does not say what time it is is believed, for small ones
/// know nothing else and the size must agree too.
pub(crate) fn validator(headers: &HeaderMap) -> Option<Validator> {
    let tag = text(headers, header::ETAG)
        .map(str::trim)
        .filter(|tag| tag.starts_with('"') && tag.ends_with('"') && tag.len() >= 2);
    if let Some(tag) = tag {
        return Some(Validator::ETag(tag.to_owned()));
    }
    text(headers, header::LAST_MODIFIED)
        .map(str::trim)
        .filter(|date| is_settled(date, headers))
        .map(|date| Validator::LastModified(date.to_owned()))
}

/// Whether a date of a last change is older than the answer that bears it.
pub(crate) fn is_settled(changed: &str, headers: &HeaderMap) -> bool {
    let Ok(changed) = httpdate::parse_http_date(changed) else {
        return false;
    };
    let answered = text(headers, header::DATE).and_then(|d| httpdate::parse_http_date(d).ok());
    answered.is_none_or(|answered| answered >= changed + Duration::from_secs(1))
}

pub(crate) fn length(headers: &HeaderMap) -> Option<u64> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return None;
    }
    text(headers, header::CONTENT_LENGTH).and_then(number)
}

/// The longest that an origin is left alone because it says so. Some write nonsense.
const LONGEST_REST: Duration = Duration::from_secs(24 * 60 * 60);

/// `Retry-After`: seconds, or a date; a day at most.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = text(headers, header::RETRY_AFTER)?.trim();
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let rest = if digits {
        // More digits than a number has are a long time too.
        number(value).map_or(LONGEST_REST, Duration::from_secs)
    } else {
        let date = httpdate::parse_http_date(value).ok()?;
        date.duration_since(now).unwrap_or_default()
    };
    Some(rest.min(LONGEST_REST))
}

pub(crate) fn range_support(headers: &HeaderMap) -> RangeSupport {
    match text(headers, header::ACCEPT_RANGES).map(str::trim) {
        Some(unit) if unit.eq_ignore_ascii_case("bytes") => RangeSupport::Yes,
        Some(_) => RangeSupport::No,
        None => RangeSupport::Unknown,
    }
}

pub(crate) fn is_for_all(headers: &HeaderMap) -> bool {
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

pub(crate) fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Digits only: `parse` alone would take a sign.
pub(crate) fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}
