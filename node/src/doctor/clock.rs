//! Whether this machine's clock can be right.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use potluck_discovery::{BeaconStats, Membership};

use super::finding::Finding;
use crate::timestamp::rfc3339;

const CHECK: &str = "clock";
/// No clock that is right shows an earlier time: 2026-11-21, when this program was
/// first made.
const FIRST_MADE: Duration = Duration::from_secs(1_795_219_200);

/// A clock is wrong if it shows a time before something that has happened, or if what
/// others of the domain say does not fit it.
pub(super) fn examine(
    membership: Option<&Membership>,
    heard: Option<&BeaconStats>,
    now: SystemTime,
) -> Vec<Finding> {
    const SET_IT: &str = "set it (timedatectl set-ntp true): nothing with certificates works else";
    let shown = rfc3339(now);
    if now < UNIX_EPOCH + FIRST_MADE {
        let finding = format!("the clock shows {shown}, before this program was made");
        return vec![Finding::failed(CHECK, finding, SET_IT)];
    }
    if let Some(begins) = membership.map(Membership::not_before)
        && now < begins
    {
        let finding = format!(
            "the clock shows {shown}, before this node's certificate was made ({})",
            rfc3339(begins)
        );
        return vec![Finding::failed(CHECK, finding, SET_IT)];
    }
    match heard.map(|heard| (heard.stale, heard.accepted)) {
        Some((stale, 0)) if stale > 0 => vec![Finding::failed(
            CHECK,
            format!(
                "the clock shows {shown}, and whatever the others of the domain send is more than a minute away from it"
            ),
            SET_IT,
        )],
        Some((stale, _)) if stale > 0 => vec![Finding::warning(
            CHECK,
            format!(
                "the clock shows {shown}; {stale} beacons of the domain were more than a minute away from it, others were not"
            ),
            "some other machine's clock is wrong: run potluck doctor there",
        )],
        _ => vec![Finding::ok(CHECK, shown)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Health;

    fn health(heard: Option<BeaconStats>, now: SystemTime) -> Health {
        examine(None, heard.as_ref(), now)[0].health
    }

    #[test]
    fn what_others_send_tells_whose_clock_is_wrong() {
        let now = UNIX_EPOCH + FIRST_MADE + Duration::from_secs(1);
        let heard = |accepted, stale| {
            Some(BeaconStats {
                accepted,
                stale,
                ..BeaconStats::default()
            })
        };
        assert_eq!(health(None, now), Health::Ok);
        assert_eq!(health(heard(5, 0), now), Health::Ok);
        assert_eq!(health(heard(0, 3), now), Health::Failed);
        assert_eq!(health(heard(5, 1), now), Health::Warning);
    }

    #[test]
    fn a_clock_from_before_the_program_is_wrong() {
        assert_eq!(
            crate::timestamp::rfc3339(UNIX_EPOCH + FIRST_MADE),
            "2026-11-21T00:00:00Z"
        );
        assert_eq!(health(None, UNIX_EPOCH), Health::Failed);
    }
}
