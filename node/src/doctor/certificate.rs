//! Whether this node can prove who it is.

use std::time::SystemTime;

use potluck_discovery::Membership;

use super::finding::Finding;
use crate::timestamp::rfc3339;

const CHECK: &str = "certificate";

/// A certificate renews itself after two thirds of its life; one that is well beyond
/// that has nobody to renew it.
pub(super) fn examine(membership: Option<&Membership>, now: SystemTime) -> Finding {
    let Some(membership) = membership else {
        return Finding::failed(
            CHECK,
            "this node is in no domain",
            "potluck domain join CODE, or potluck domain create NAME on the first machine",
        );
    };
    let (begins, ends) = (membership.not_before(), membership.expires());
    let about = format!(
        "{} in the domain {}, until {}",
        membership.node_name(),
        membership.domain_name(),
        rfc3339(ends)
    );
    let life = ends.duration_since(begins).unwrap_or_default();
    match ends.duration_since(now) {
        Err(ended) => Finding::failed(
            CHECK,
            format!("{about}: it has ended {} ago", span(ended.duration())),
            "potluck domain renew, while a node that holds the authority runs; or join again with a code. If it should not have ended, the clock is ahead",
        ),
        Ok(left) if left < life / 4 => Finding::warning(
            CHECK,
            format!("{about}: it should have been renewed by now"),
            "see that a node that holds the authority runs, then potluck domain renew",
        ),
        Ok(_) => Finding::ok(CHECK, about),
    }
}

/// A time as people say it.
fn span(time: std::time::Duration) -> String {
    match time.as_secs() {
        seconds if seconds >= 2 * 86_400 => format!("{} days", seconds / 86_400),
        seconds if seconds >= 2 * 3_600 => format!("{} hours", seconds / 3_600),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn spans_are_for_people() {
        for (seconds, text) in [(5, "5 s"), (7_200, "2 hours"), (200_000, "2 days")] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
