//! What a job can wait for that comes at no known time.

use crate::{ErrorContext, JobError};

/// What a job waits for in a transient error without a time to try again. When it comes,
/// every job that waits for it is queued at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// A network beyond this machine.
    Network,
    /// A bandwidth that is not zero.
    Bandwidth,
    /// Room on the disk.
    Room,
    /// A session of its owner.
    Login,
}

impl Condition {
    /// What a job with this error waits for; `None` when it waits for a time or for its
    /// owner.
    #[must_use]
    pub fn awaited(error: &JobError) -> Option<Self> {
        if error.retry_at.is_some() {
            return None;
        }
        match error.code.as_str() {
            "network_disconnected" => Some(Self::Network),
            "blocked_by_policy" => Some(Self::Bandwidth),
            "no_space" => Some(Self::Room),
            "not_logged_in" => Some(Self::Login),
            _ => None,
        }
    }

    /// The error of a job that waits for it.
    #[must_use]
    pub fn error(self) -> JobError {
        let (code, context, message) = match self {
            Self::Network => (
                "network_disconnected",
                ErrorContext::Queue,
                "this machine has no network",
            ),
            Self::Bandwidth => (
                "blocked_by_policy",
                ErrorContext::Policy,
                "downloads are not allowed any bandwidth: transfer.max_bandwidth is 0",
            ),
            Self::Room => (
                "no_space",
                ErrorContext::LocalFile,
                "the disk has no room for it",
            ),
            Self::Login => (
                "not_logged_in",
                ErrorContext::Queue,
                "it runs only while its owner is logged in",
            ),
        };
        JobError::new(code, context, message)
    }

    /// When it is tried again, for people.
    #[must_use]
    pub const fn when(self) -> &'static str {
        match self {
            Self::Network => "when the network is back",
            Self::Bandwidth => "when transfer.max_bandwidth allows it",
            Self::Room => "when the disk has more room",
            Self::Login => "when its owner logs in",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn an_error_says_what_is_awaited() {
        use Condition::{Bandwidth, Login, Network, Room};
        for condition in [Network, Bandwidth, Room, Login] {
            let mut error = condition.error();
            assert_eq!(Condition::awaited(&error), Some(condition));
            error.retry_at = Some(SystemTime::UNIX_EPOCH);
            assert_eq!(Condition::awaited(&error), None, "it waits for a time");
        }
        let other = JobError::new("origin_not_found", ErrorContext::Origin, "gone");
        assert_eq!(Condition::awaited(&other), None);
    }
}
