//! Why a job stopped, and whether trying again can help.

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// Which part of the work failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorContext {
    /// The server that the URL names, or the way to it.
    Origin,
    /// Another node of the domain.
    Peer,
    /// A file or directory on this machine.
    LocalFile,
    /// A rule of the administrator.
    Policy,
    /// The job queue: limits and time limits.
    Queue,
}

impl fmt::Display for ErrorContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Origin => "origin",
            Self::Peer => "peer",
            Self::LocalFile => "local_file",
            Self::Policy => "policy",
            Self::Queue => "queue",
        })
    }
}

/// The error of a job.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct JobError {
    /// A short fixed word that scripts may compare, such as `http_404`.
    pub code: String,
    /// Which part of the work failed.
    pub context: ErrorContext,
    /// One sentence for people.
    pub message: String,
    /// When the job is tried again by itself. `None` when it waits for an event or for
    /// the user.
    pub retry_at: Option<SystemTime>,
}

impl JobError {
    /// An error without a time to try again.
    pub fn new(code: impl Into<String>, context: ErrorContext, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            context,
            message: message.into(),
            retry_at: None,
        }
    }

    /// Whether the way to the origin failed, and not the origin: what a network that is
    /// gone looks like at first.
    #[must_use]
    pub fn is_of_the_way(&self) -> bool {
        matches!(
            self.code.as_str(),
            "origin_unreachable"
                | "origin_name_not_resolved"
                | "origin_timeout"
                | "origin_connection_broken"
                | "origin_short_body"
                | "proxy_unreachable"
        )
    }
}

/// Whether trying again can help.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// After the retry delay of the job, or later when the server named a later time.
    At(Option<SystemTime>),
    /// As soon as something changes (the network is back, the disk has room); no time
    /// is set for it.
    OnEvent,
    /// Never by itself.
    Never,
}

/// What an HTTP status means for a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StatusClass {
    /// 2xx.
    Success,
    /// Trying again later can help.
    Transient,
    /// Trying again cannot help.
    Final,
}

/// Sorts a final HTTP status, redirects being followed already.
///
/// As BITS has it: of 3xx, 300 to 305 and 307 are final; of 4xx all but 408 and 409;
/// of 5xx only 501 and 505; everything else is worth another try. Three statuses that
/// are newer than that list are sorted by what they say: 308 is a redirect as 307 is,
/// 425 (too early) and 429 (too many requests) ask to come back later.
#[must_use]
pub const fn classify_status(status: u16) -> StatusClass {
    match status {
        200..=299 => StatusClass::Success,
        300..=305 | 307 | 308 => StatusClass::Final,
        408 | 409 | 425 | 429 => StatusClass::Transient,
        400..=499 | 501 | 505 => StatusClass::Final,
        _ => StatusClass::Transient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_sorted_as_bits_does() {
        use StatusClass::{Final, Success, Transient};
        for (status, class) in [
            (200, Success),
            (206, Success),
            (302, Final),
            (306, Transient),
            (308, Final),
            (401, Final),
            (403, Final),
            (404, Final),
            (408, Transient),
            (409, Transient),
            (416, Final),
            (429, Transient),
            (500, Transient),
            (501, Final),
            (503, Transient),
            (505, Final),
            (0, Transient),
            (999, Transient),
        ] {
            assert_eq!(classify_status(status), class, "{status}");
        }
    }

    #[test]
    fn an_error_keeps_its_words() {
        let error = JobError::new("http_404", ErrorContext::Origin, "no such file");
        let json = serde_json::to_string(&error).unwrap();
        assert_eq!(
            json,
            r#"{"code":"http_404","context":"origin","message":"no such file","retry_at":null}"#
        );
        assert_eq!(serde_json::from_str::<JobError>(&json).unwrap(), error);
        assert_eq!(ErrorContext::LocalFile.to_string(), "local_file");
    }
}
