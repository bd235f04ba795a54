//! What can go wrong with an origin, and whether trying again can help.

use std::time::Duration;

use http::StatusCode;
use potluck_plan::{StatusClass, classify_status};

/// A failure of an origin. URLs in it bear no credentials.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OriginError {
    /// The text is no URL that an origin can have.
    #[error("{url:?} is not an http or https URL: {reason}")]
    BadUrl {
        /// The text.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A custom header that cannot be sent.
    #[error("header {name:?} cannot be sent: {reason}")]
    BadHeader {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something that the job says of the way to the origin cannot be used.
    #[error("{what} cannot be used: {reason}")]
    BadOption {
        /// What.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The proxy cannot be reached, or does not do what it is asked.
    #[error("the proxy {proxy}: {reason}")]
    Proxy {
        /// Its host and port.
        proxy: String,
        /// What it answered, where it did.
        status: Option<u16>,
        /// What happened.
        reason: String,
    },
    /// The name of the host has no address.
    #[error("cannot find the address of {host}: {reason}")]
    Resolve {
        /// The host.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// No connection.
    #[error("cannot connect to {host}: {reason}")]
    Connect {
        /// Host and port.
        host: String,
        /// What the system said.
        reason: String,
    },
    /// The secure connection failed: the host is not the one it should be, or speaks no TLS.
    #[error("no secure connection to {host}: {reason}")]
    Tls {
        /// Host and port.
        host: String,
        /// What TLS said.
        reason: String,
    },
    /// Nothing came in time.
    #[error("{url}: {what} took longer than {} s", limit.as_secs_f32())]
    Timeout {
        /// The URL.
        url: String,
        /// What was waited for.
        what: &'static str,
        /// How long.
        limit: Duration,
    },
    /// The connection broke, or what came was not HTTP.
    #[error("{url}: the connection broke: {reason}")]
    Broken {
        /// The URL.
        url: String,
        /// What the connection said.
        reason: String,
    },
    /// The origin answered with a failure.
    #[error("{url} answered {status}")]
    Status {
        /// The URL.
        url: String,
        /// The answer.
        status: StatusCode,
        /// How long the origin wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// More redirects than are followed.
    #[error("{url} redirects more than {limit} times")]
    TooManyRedirects {
        /// The URL that was asked for.
        url: String,
        /// How many are followed.
        limit: usize,
    },
    /// A redirect back to where it came from.
    #[error("{url} redirects in a circle")]
    RedirectLoop {
        /// The URL that came a second time.
        url: String,
    },
    /// A redirect, where the job allows none.
    #[error("{url} redirects to {location}, and the job forbids redirects")]
    RedirectForbidden {
        /// The URL that redirects.
        url: String,
        /// Where to.
        location: String,
    },
    /// The file comes packed, which was not known when it was asked for.
    #[error("{url} sends the file compressed although it is asked not to")]
    Encoded {
        /// The URL.
        url: String,
    },
    /// The file comes packed in a way that cannot be unpacked.
    #[error("{url} sends the file in the encoding {coding:?}, though it is asked for none")]
    BadEncoding {
        /// The URL.
        url: String,
        /// How it is packed.
        coding: String,
    },
    /// A little that was packed becomes more and more.
    #[error(
        "{url} sends {packed} bytes that unpack to more than {unpacked}: that is no file that \
         anybody compressed to save time"
    )]
    Bomb {
        /// The URL.
        url: String,
        /// Bytes that came.
        packed: u64,
        /// Bytes that they became so far.
        unpacked: u64,
    },
    /// The fields of the answer have no end.
    #[error("{url}: the header of the answer is too large")]
    HugeAnswer {
        /// The URL.
        url: String,
    },
    /// A redirect from https to http.
    #[error("{url} redirects from https to {location}, which is not secure")]
    InsecureRedirect {
        /// The URL that redirects.
        url: String,
        /// Where to.
        location: String,
    },
    /// A redirect to nowhere, or to what is no http URL.
    #[error("{url} redirects to {location:?}, which cannot be followed")]
    BadRedirect {
        /// The URL that redirects.
        url: String,
        /// The text of its `Location`.
        location: String,
    },
    /// A part was asked for and the whole came: this origin does no ranges.
    #[error("{url} sends the whole file where a part was asked for")]
    RangeIgnored {
        /// The URL.
        url: String,
    },
    /// Another part came than was asked for.
    #[error("{url} sent {found} where bytes {expected} were asked for")]
    WrongRange {
        /// The URL.
        url: String,
        /// The part that was asked for.
        expected: String,
        /// What the answer says it is.
        found: String,
    },
    /// The URL names another version now.
    #[error("{url} changed: it was {before}, now it is {now}")]
    Changed {
        /// The URL.
        url: String,
        /// The version that was asked for.
        before: String,
        /// The version there is.
        now: String,
    },
    /// Fewer bytes came than were announced.
    #[error("{url} ended after {found} of {expected} bytes")]
    ShortBody {
        /// The URL.
        url: String,
        /// Bytes that were announced.
        expected: u64,
        /// Bytes that came.
        found: u64,
    },
    /// More bytes came than were announced or asked for.
    #[error("{url} sent more than the {expected} bytes that were asked for")]
    LongBody {
        /// The URL.
        url: String,
        /// Bytes that were asked for.
        expected: u64,
    },
}

impl OriginError {
    /// A short name for scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadUrl { .. } => "bad_url",
            Self::BadHeader { .. } => "bad_header",
            Self::BadOption { .. } => "bad_option",
            Self::Proxy {
                status: Some(407), ..
            } => "proxy_authentication_required",
            Self::Proxy {
                status: Some(_), ..
            } => "proxy_refused",
            Self::Proxy { status: None, .. } => "proxy_unreachable",
            Self::RedirectForbidden { .. } => "origin_redirect_forbidden",
            Self::Encoded { .. } => "origin_encoded",
            Self::BadEncoding { .. } => "origin_bad_encoding",
            Self::Bomb { .. } => "origin_endless",
            Self::HugeAnswer { .. } => "origin_header_too_large",
            Self::Resolve { .. } => "origin_name_not_resolved",
            Self::Connect { .. } => "origin_unreachable",
            Self::Tls { .. } => "origin_tls",
            Self::Timeout { .. } => "origin_timeout",
            Self::Broken { .. } => "origin_connection_broken",
            Self::Status { status, .. } => match status.as_u16() {
                401 => "origin_unauthorized",
                403 => "origin_forbidden",
                404 => "origin_not_found",
                407 => "proxy_authentication_required",
                410 => "origin_gone",
                416 => "origin_range_not_satisfiable",
                429 => "origin_too_many_requests",
                500..=599 => "origin_server_error",
                _ => "origin_http_status",
            },
            Self::TooManyRedirects { .. } => "origin_too_many_redirects",
            Self::RedirectLoop { .. } => "origin_redirect_loop",
            Self::InsecureRedirect { .. } => "origin_insecure_redirect",
            Self::BadRedirect { .. } => "origin_bad_redirect",
            Self::RangeIgnored { .. } => "origin_no_ranges",
            Self::WrongRange { .. } => "origin_wrong_range",
            Self::Changed { .. } => "origin_changed",
            Self::ShortBody { .. } => "origin_short_body",
            Self::LongBody { .. } => "origin_long_body",
        }
    }

    /// Whether trying again later, with nothing else changed, can help.
    ///
    /// Statuses are sorted as BITS sorts them.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Status { status, .. } => {
                classify_status(status.as_u16()) == StatusClass::Transient
            }
            Self::Proxy { status, .. } => {
                status.is_none_or(|status| classify_status(status) == StatusClass::Transient)
            }
            Self::Resolve { .. }
            | Self::Connect { .. }
            | Self::Timeout { .. }
            | Self::Broken { .. }
            | Self::Changed { .. }
            | Self::Encoded { .. }
            | Self::ShortBody { .. } => true,
            Self::BadUrl { .. }
            | Self::BadHeader { .. }
            | Self::BadOption { .. }
            | Self::RedirectForbidden { .. }
            | Self::BadEncoding { .. }
            | Self::Bomb { .. }
            | Self::HugeAnswer { .. }
            | Self::Tls { .. }
            | Self::TooManyRedirects { .. }
            | Self::RedirectLoop { .. }
            | Self::InsecureRedirect { .. }
            | Self::BadRedirect { .. }
            | Self::RangeIgnored { .. }
            | Self::WrongRange { .. }
            | Self::LongBody { .. } => false,
        }
    }

    /// How long the origin wants to be left alone, where it said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The status that the origin answered with, where that is the failure.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_pass_by_or_stay() {
        let transient = |status: u16| {
            OriginError::Status {
                url: "http://o/".into(),
                status: StatusCode::from_u16(status).unwrap(),
                retry_after: None,
            }
            .is_transient()
        };
        for status in [408, 409, 429, 500, 502, 503, 504, 507] {
            assert!(transient(status), "{status}");
        }
        for status in [400, 401, 403, 404, 410, 416, 501, 505] {
            assert!(!transient(status), "{status}");
        }
    }
}
