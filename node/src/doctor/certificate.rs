//! Whether this node can prove who it is.

use std::time::SystemTime;

use potluck_discovery::{GivenFiles, Membership};

use super::finding::Finding;
use crate::timestamp::rfc3339;

const CHECK: &str = "certificate";

/// Where the node's certificate comes from, and so who can give it a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Potluck's own authority. It is renewed after two thirds of its life.
    Domain,
    /// The site's own authority: it lies in files that somebody else writes.
    Files,
}

impl Origin {
    const fn none(self) -> &'static str {
        match self {
            Self::Domain => {
                "potluck domain join CODE, or potluck domain create NAME on the first machine"
            }
            Self::Files => "mend the files that [domain] names: they are read again within seconds",
        }
    }

    const fn ended(self) -> &'static str {
        match self {
            Self::Domain => {
                "potluck domain renew, while a node that holds the authority runs; or join again with a code. If it should not have ended, the clock is ahead"
            }
            Self::Files => {
                "have the site's authority give a new one and put it into domain.certificate_file: it is read within seconds. If it should not have ended, the clock is ahead"
            }
        }
    }

    const fn late(self) -> &'static str {
        match self {
            Self::Domain => {
                "see that a node that holds the authority runs, then potluck domain renew"
            }
            Self::Files => {
                "see to whatever renews domain.certificate_file: a new one is read within seconds"
            }
        }
    }
}

/// A certificate that is well beyond two thirds of its life has nobody to renew it.
pub(super) fn examine(membership: Option<&Membership>, origin: Origin, now: SystemTime) -> Finding {
    let Some(membership) = membership else {
        return Finding::failed(CHECK, "this node is in no domain", origin.none());
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
            origin.ended(),
        ),
        Ok(left) if left < life / 4 => Finding::warning(
            CHECK,
            format!("{about}: it should have been renewed by now"),
            origin.late(),
        ),
        Ok(_) => Finding::ok(CHECK, about),
    }
}

/// Whether the files that [domain] names can be used as they are now. Reads them.
pub(super) fn examine_files(files: &GivenFiles, membership: Option<&Membership>) -> Finding {
    const CHECK: &str = "domain files";
    match (files.load(), membership) {
        (Ok(_), _) => Finding::ok(
            CHECK,
            format!("{} and those beside it fit", files.certificate.display()),
        ),
        (Err(error), None) => Finding::failed(
            CHECK,
            error.to_string(),
            "mend it: the files are read again within seconds",
        ),
        (Err(error), Some(_)) => Finding::warning(
            CHECK,
            format!("{error}; the node goes on with what it read before"),
            "mend it before the node starts again: the files are read again within seconds",
        ),
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
