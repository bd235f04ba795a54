//! How short a distribution can be at best.

use std::time::Duration;

/// One host, as the bound sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// Bits per second that it can give.
    pub up: f64,
    /// Bits per second that it can take.
    pub down: f64,
    /// When it comes; `None` if it has everything from the beginning.
    pub starts: Option<Duration>,
    /// Whether its end counts. One that does not only gives.
    pub counts: bool,
}

/// The time before which, by any means, not all hosts that count can have `bits` bits of
/// which only the origin has all in the beginning, or those that need not start.
///
/// With all starting at once it is the minimum distribution time of Kumar and Ross
/// (Peer-Assisted File Distribution, HOTWEB 2006),
/// `max(F/us, F/dmin, N·F/(us + Σui))`. With hosts that come later it is the same of the
/// whole, and of what is left when the last one comes.
pub fn bound(bits: f64, origin_up: f64, links: &[Link]) -> Duration {
    let wanting: Vec<(&Link, f64)> = links
        .iter()
        .filter(|link| link.counts)
        .filter_map(|link| Some((link, link.starts?.as_secs_f64())))
        .collect();
    let first = wanting.iter().map(|(_, at)| *at).fold(f64::MAX, f64::min);
    let all_up: f64 = origin_up + links.iter().map(|link| link.up).sum::<f64>();
    let mut least = 0_f64;
    for (link, starts) in &wanting {
        // Into it, and out of all others.
        least = least.max(starts + bits / link.down);
        least = least.max(starts + bits / (all_up - link.up));
    }
    if !wanting.is_empty() {
        least = least.max(first + wanting.len() as f64 * bits / all_up);
        let somebody_has_it = links.iter().any(|link| link.starts.is_none());
        if !somebody_has_it {
            least = least.max(first + bits / origin_up);
        }
    }
    Duration::from_secs_f64(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: f64 = 64.0 * 1024.0 * 1024.0 * 8.0 * 1.0456;
    const M: f64 = 1e6;

    fn from(starts: f64) -> Link {
        Link {
            up: 200.0 * M,
            down: f64::INFINITY,
            starts: Some(Duration::from_secs_f64(starts)),
            counts: true,
        }
    }

    fn near(found: Duration, seconds: f64) {
        assert!((found.as_secs_f64() - seconds).abs() < 0.01, "{found:?}");
    }

    #[test]
    fn the_origin_s_link_is_the_bound_of_strong_hosts() {
        for hosts in [4, 8, 16] {
            near(bound(FILE, 80.0 * M, &vec![from(0.0); hosts]), 7.017);
        }
    }

    #[test]
    fn all_links_together_are_the_bound_of_weak_hosts() {
        let weak = Link { up: M, ..from(0.0) };
        near(bound(FILE, 80.0 * M, &[weak; 8]), 8.0 * FILE / 88e6);
    }

    #[test]
    fn the_way_into_a_host_is_a_bound_if_it_counts() {
        let mut slow = Link {
            down: 20.0 * M,
            ..from(0.0)
        };
        let mut links = vec![from(0.0); 7];
        links.push(slow);
        near(bound(FILE, 80.0 * M, &links), FILE / 20e6);
        slow.counts = false;
        links[7] = slow;
        near(bound(FILE, 80.0 * M, &links), 7.017);
    }

    #[test]
    fn the_origin_does_not_matter_when_others_have_it() {
        let holder = Link {
            starts: None,
            counts: false,
            ..from(0.0)
        };
        let joins = Link {
            down: 200.0 * M,
            ..from(0.0)
        };
        let mut links = vec![holder; 7];
        links.push(joins);
        near(bound(FILE, 80.0 * M, &links), FILE / 200e6);
    }

    #[test]
    fn the_last_to_come_takes_its_time_too() {
        let links = [from(0.0), from(4.0), from(9.0)];
        near(bound(FILE, 80.0 * M, &links), 9.0 + FILE / 480e6);
    }
}
