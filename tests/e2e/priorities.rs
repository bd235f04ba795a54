//! Priorities, pre-emption and sharing, seen on the wire. What is compared are bytes, not
//! times.

use anyhow::ensure;
use potluck_tests::{Contest, Lab, SIZES};

/// What may be under way when a job gives way: a piece of each connection, and what is in
/// the sockets.
const UNDER_WAY: u64 = 3 << 20;

mod needs_nginx_namespaces {
    use super::*;

    #[test]
    fn higher_levels_go_first_and_equals_share() {
        Lab::run_in_namespaces(|lab| {
            let seen = Contest::run(lab)?;
            let [low, a, b, foreground] = [0, 1, 2, 3];
            let (first, second) = match seen.over[a] < seen.over[b] {
                true => (a, b),
                false => (b, a),
            };

            // The low one gives way at once, and gets nothing until both are here.
            let given_way = seen.bytes(seen.made[b], low);
            let at_their_end = seen.bytes(seen.over[second], low);
            ensure!(at_their_end < given_way + UNDER_WAY, "{seen:?}");
            ensure!(seen.over[low] > seen.over[second], "{seen:?}");

            // The two share: neither waits for the end of the other.
            let shared = seen.bytes(seen.over[first], second);
            ensure!(shared > SIZES[second] / 3, "{seen:?}");
            // But only one of them runs at a time: what moves takes turns.
            let turns = turns(&seen, a, b);
            ensure!(turns >= 4, "{turns} turns: {seen:?}");

            // The one of the foreground runs at once, beside one of the background.
            let background = |sample| seen.bytes(sample, a) + seen.bytes(sample, b);
            let beside = background(seen.over[foreground]) - background(seen.made[foreground]);
            ensure!(beside > SIZES[foreground] / 4, "{seen:?}");
            ensure!(seen.over[foreground] <= seen.over[second], "{seen:?}");
            Ok(())
        });
    }

    /// How often the line went from one of two jobs to the other.
    fn turns(seen: &Contest, a: usize, b: usize) -> usize {
        let moved = |job: usize, pair: &[(std::time::Duration, [u64; 4])]| {
            pair[1].1[job].saturating_sub(pair[0].1[job])
        };
        let holders: Vec<usize> = seen
            .samples
            .windows(2)
            .filter(|pair| moved(a, pair).max(moved(b, pair)) > 64 << 10)
            .map(|pair| {
                if moved(a, pair) > moved(b, pair) {
                    a
                } else {
                    b
                }
            })
            .collect();
        holders.windows(2).filter(|pair| pair[0] != pair[1]).count()
    }
}
