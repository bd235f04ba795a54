//! Requests that may do something each time they are sent.
//!
//! A job may ask by another method than GET. One that is not idempotent (RFC 9110, section
//! 9.2.2), such as POST, may do twice what it was to do once. So it is sent again by itself
//! only where it surely was not received, or where the origin asks for that.

use http::Method;

use crate::engine::request::TransferError;

/// Codes of failures before anything reached the origin.
const NOT_RECEIVED: [&str; 4] = [
    "origin_name_not_resolved",
    "origin_unreachable",
    "proxy_unreachable",
    "origin_too_many_requests",
];

/// What a failure means for a request of this method.
pub(crate) fn judged(mut error: TransferError, method: &Method) -> TransferError {
    let may_repeat =
        method.is_idempotent() || NOT_RECEIVED.contains(&error.code) || error.retry_after.is_some();
    if error.retryable && !may_repeat {
        error.retryable = false;
        error.message = format!(
            "{}; whether the {method} was carried out is not known, so it is not sent again \
             unless the job is resumed",
            error.message
        );
    }
    error
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use potluck_plan::ErrorContext;

    use super::*;

    #[test]
    fn what_may_have_been_carried_out_is_not_sent_again() {
        let failed = |code| TransferError::new(code, ErrorContext::Origin, "it failed", true);
        let repeats = |error, method| judged(error, &method).retryable;
        assert!(!repeats(failed("origin_timeout"), Method::POST));
        assert!(!repeats(failed("origin_short_body"), Method::PATCH));
        assert!(!repeats(failed("no_space"), Method::POST));
        assert!(repeats(failed("origin_timeout"), Method::PUT));
        assert!(repeats(failed("origin_unreachable"), Method::POST));
        let mut busy = failed("origin_server_error");
        assert!(!repeats(busy.clone(), Method::POST));
        busy.retry_after = Some(Duration::from_secs(1));
        assert!(repeats(busy, Method::POST));
        let told = judged(failed("origin_timeout"), &Method::POST).message;
        assert!(told.contains("POST") && told.contains("resumed"), "{told}");
    }
}
