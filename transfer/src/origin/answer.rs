//! Judging an answer, or its absence.

use std::error::Error as StdError;
use std::ops::Range;
use std::time::SystemTime;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use hyper::body::Incoming;
use url::Url;

use crate::origin::answer_fields::{content_range, length, retry_after, validator};
use crate::origin::connector::ConnectError;
use crate::origin::encoding::{Packed, packed};
use crate::origin::{OriginError, OriginMeta, VersionMarks};

/// Checks an answer against what was asked, and whether it is packed as is known; says how
/// many bytes will come.
pub(crate) fn check(
    at: &Url,
    answer: &Response<Incoming>,
    meta: &OriginMeta,
    range: Option<&Range<u64>>,
    is_packed: bool,
) -> Result<Option<u64>, OriginError> {
    let headers = answer.headers();
    if answer.status().is_success() {
        match packed(at, headers) {
            Packed::Unknown(coding) => {
                let url = at.to_string();
                return Err(OriginError::BadEncoding { url, coding });
            }
            // Only where it is known is the answer unpacked.
            Packed::By(_) if !is_packed => {
                let url = at.to_string();
                return Err(OriginError::Encoded { url });
            }
            Packed::No if is_packed => return Err(changed(at, meta, headers, length(headers))),
            Packed::By(_) | Packed::No => {}
        }
    }
    let of = content_range(headers);
    let size = match answer.status() {
        StatusCode::OK => length(headers),
        StatusCode::PARTIAL_CONTENT => of.and_then(|of| of.size),
        StatusCode::RANGE_NOT_SATISFIABLE if of.is_some_and(|of| of.size != meta.size) => {
            return Err(changed(at, meta, headers, of.and_then(|of| of.size)));
        }
        _ => return Err(failure(at, answer)),
    };
    let other_size = matches!((size, meta.size), (Some(now), Some(before)) if now != before);
    if other_size || meta.marks.differ(&VersionMarks::of(headers)) {
        return Err(changed(at, meta, headers, size));
    }
    match (answer.status(), range) {
        (StatusCode::OK, None) => Ok(length(headers).or(meta.size)),
        (StatusCode::OK, Some(_)) => Err(OriginError::RangeIgnored {
            url: at.to_string(),
        }),
        (_, Some(range)) => {
            let len = range.end - range.start;
            let exact = of.is_some_and(|of| of.bytes == Some((range.start, range.end - 1)))
                && length(headers).is_none_or(|length| length == len);
            if exact {
                Ok(Some(len))
            } else {
                Err(wrong_range(at, range, headers))
            }
        }
        (_, None) => Err(wrong_range(at, &(0..meta.size.unwrap_or(0)), headers)),
    }
}

fn changed(at: &Url, meta: &OriginMeta, headers: &HeaderMap, size: Option<u64>) -> OriginError {
    let describe = |validator: Option<String>, size: Option<u64>| {
        let size = size.map_or_else(|| "no length".into(), |size| format!("{size} bytes"));
        validator.map_or_else(|| size.clone(), |validator| format!("{validator}, {size}"))
    };
    OriginError::Changed {
        url: at.to_string(),
        before: describe(meta.validator.as_ref().map(ToString::to_string), meta.size),
        now: describe(validator(headers).map(|v| v.to_string()), size),
    }
}

pub(crate) fn wrong_range(at: &Url, range: &Range<u64>, headers: &HeaderMap) -> OriginError {
    let field = |name| {
        headers
            .get(name)
            .and_then(|v: &HeaderValue| v.to_str().ok())
    };
    OriginError::WrongRange {
        url: at.to_string(),
        expected: format!("{}-{}", range.start, range.end.saturating_sub(1)),
        found: match (field(header::CONTENT_RANGE), field(header::CONTENT_LENGTH)) {
            (Some(range), Some(length)) => format!("{range:?} in {length} bytes"),
            (Some(range), None) => format!("{range:?}"),
            (None, _) => "a part that it does not name".to_owned(),
        },
    }
}

pub(crate) fn failure(at: &Url, answer: &Response<Incoming>) -> OriginError {
    OriginError::Status {
        url: at.to_string(),
        status: answer.status(),
        retry_after: retry_after(answer.headers(), SystemTime::now()),
    }
}

/// Says what kept the answer away, from what the layers below say.
pub(crate) fn no_answer(at: &Url, error: &hyper_util::client::legacy::Error) -> OriginError {
    let port = at.port_or_known_default().unwrap_or_default();
    let host = format!("{}:{port}", at.host_str().unwrap_or_default());
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(at_hand) = cause {
        if let Some(error) = at_hand.downcast_ref::<ConnectError>() {
            return match error {
                ConnectError::Resolve { host, reason } => OriginError::Resolve {
                    host: host.clone(),
                    reason: reason.clone(),
                },
                ConnectError::Connect { host, reason } => OriginError::Connect {
                    host: host.clone(),
                    reason: reason.clone(),
                },
                ConnectError::Proxy {
                    proxy,
                    status,
                    reason,
                } => OriginError::Proxy {
                    proxy: proxy.clone(),
                    status: *status,
                    reason: reason.clone(),
                },
            };
        }
        if at_hand
            .downcast_ref::<hyper::Error>()
            .is_some_and(hyper::Error::is_parse_too_large)
        {
            return OriginError::HugeAnswer {
                url: at.to_string(),
            };
        }
        if let Some(error) = at_hand.downcast_ref::<rustls::Error>() {
            let reason = error.to_string();
            return OriginError::Tls { host, reason };
        }
        // An I/O error does not name what it wraps as its source.
        let wrapped = at_hand
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        cause = match wrapped {
            Some(inner) => Some(inner),
            None => at_hand.source(),
        };
    }
    if error.is_connect() {
        return OriginError::Connect {
            host,
            reason: innermost(error),
        };
    }
    OriginError::Broken {
        url: at.to_string(),
        reason: innermost(error),
    }
}

pub(crate) fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}
