//! When a certificate is renewed: after two thirds of its life, a little later on some
//! nodes than on others; at once if it does not hold yet, because it was issued while a
//! clock was ahead; after a failure again and again, never more often than once a
//! second, never less often than once an hour.

use std::time::{Duration, SystemTime};

/// The first try comes within this part of the life after two thirds of it, so that
/// nodes that joined together do not renew together.
const SPREAD: u32 = 20;
/// Between two tries: this part of what is left of the life, or of the whole life once
/// nothing is left.
const TRIES: u32 = 25;
const MIN_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(3600);

/// The plan for one certificate.
#[derive(Debug, Clone)]
pub(crate) struct RenewalSchedule {
    not_before: SystemTime,
    not_after: SystemTime,
    seed: u64,
    failures: u32,
    next: SystemTime,
}

impl RenewalSchedule {
    /// For a certificate that holds between these times. One that was `obtained` just
    /// now may have most of its time behind it, because the authority itself ends soon:
    /// at least a third of what is left passes before it is renewed.
    pub(crate) fn new(
        (not_before, not_after): (SystemTime, SystemTime),
        obtained: Option<SystemTime>,
        seed: u64,
        now: SystemTime,
    ) -> Self {
        let mut schedule = Self {
            not_before,
            not_after,
            seed,
            failures: 0,
            next: not_before,
        };
        let life = schedule.life();
        schedule.next += life * 2 / 3 + schedule.part_of(life / SPREAD);
        if let Some(obtained) = obtained {
            let left = not_after.duration_since(obtained).unwrap_or_default();
            let rest = (left / 3).max(MIN_PAUSE);
            schedule.next = schedule.next.max(obtained + rest);
        }
        if now < not_before {
            schedule.next = now;
        }
        schedule
    }

    /// When the next try is due. It may be over.
    pub(crate) const fn next(&self) -> SystemTime {
        self.next
    }

    /// The try at `now` failed. Says whether people should hear of it: of the first
    /// time, and then ever more seldom.
    pub(crate) fn failed(&mut self, now: SystemTime) -> bool {
        self.failures = self.failures.saturating_add(1);
        let left = self.not_after.duration_since(now);
        let pause = left.unwrap_or_else(|_| self.life()) / TRIES;
        let pause = pause.clamp(MIN_PAUSE, MAX_PAUSE);
        self.next = now + pause + self.part_of(pause / 4);
        self.failures.is_power_of_two()
    }

    fn life(&self) -> Duration {
        self.not_after
            .duration_since(self.not_before)
            .unwrap_or_default()
    }

    /// Between nothing and `whole`: another part in each node and for each try.
    fn part_of(&self, whole: Duration) -> Duration {
        let mut input = [0; 12];
        input[..8].copy_from_slice(&self.seed.to_be_bytes());
        input[8..].copy_from_slice(&self.failures.to_be_bytes());
        let hash = blake3::hash(&input);
        whole * u32::from(hash.as_bytes()[0]) / 256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn begin() -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * 20_000
    }

    #[test]
    fn it_begins_after_two_thirds_and_not_everywhere_at_once() {
        let dues: std::collections::BTreeSet<_> = (0..50)
            .map(|seed| {
                RenewalSchedule::new((begin(), begin() + DAY * 30), None, seed, begin()).next()
            })
            .collect();
        assert!(dues.len() > 25, "{} moments", dues.len());
        assert!(*dues.first().unwrap() >= begin() + DAY * 20);
        assert!(*dues.last().unwrap() <= begin() + DAY * 43 / 2);
    }

    #[test]
    fn pauses_stay_within_their_limits_and_leave_time_for_many_tries() {
        for life in [Duration::from_secs(60), DAY, DAY * 800] {
            let mut schedule = RenewalSchedule::new((begin(), begin() + life), None, 7, begin());
            let mut now = schedule.next();
            let mut tries = 0;
            while now < begin() + life * 2 {
                schedule.failed(now);
                let pause = schedule.next().duration_since(now).unwrap();
                assert!(
                    pause >= MIN_PAUSE && pause <= MAX_PAUSE * 5 / 4,
                    "{pause:?}"
                );
                now = schedule.next();
                tries += 1;
            }
            assert!(tries > 20, "{tries} tries in {life:?}");
        }
    }

    #[test]
    fn failures_are_told_ever_more_seldom() {
        let mut schedule = RenewalSchedule::new((begin(), begin() + DAY), None, 1, begin());
        let told: Vec<_> = (1..=20)
            .filter(|_| schedule.failed(begin() + DAY))
            .collect();
        assert_eq!(told, [1, 2, 4, 8, 16]);
    }

    #[test]
    fn a_certificate_that_makes_no_sense_is_due_at_once() {
        let schedule = RenewalSchedule::new((begin(), begin() - DAY), None, 1, begin());
        assert_eq!(schedule.next(), begin());
    }

    #[test]
    fn a_certificate_from_the_future_is_due_at_once() {
        let now = begin() - DAY * 700;
        let schedule = RenewalSchedule::new((begin(), begin() + DAY), None, 1, now);
        assert_eq!(schedule.next(), now);
    }

    #[test]
    fn what_was_just_obtained_is_not_renewed_at_once() {
        let minute = Duration::from_secs(60);
        let (obtained, end) = (begin() + minute * 60, begin() + minute * 69);
        let schedule = RenewalSchedule::new((begin(), end), Some(obtained), 1, obtained);
        assert_eq!(schedule.next(), obtained + minute * 3);
        let ended = RenewalSchedule::new((begin(), begin()), Some(obtained), 1, obtained);
        assert_eq!(ended.next(), obtained + MIN_PAUSE);
    }
}
