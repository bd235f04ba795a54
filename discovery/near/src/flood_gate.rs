//! Whose datagrams are worth opening, when there are too many of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Datagrams of one source at once, and how far apart they are in the long run. A node
/// sends a few a minute; a machine may run several nodes.
const BURST: u32 = 200;
const INTERVAL: Duration = Duration::from_millis(10);
/// The same for all sources together of which nothing right was heard yet: a thousand
/// nodes that boot within a second are strangers to each other. Opening this many
/// takes a few milliseconds.
const STRANGERS_BURST: u32 = 2000;
const STRANGERS_INTERVAL: Duration = Duration::from_micros(500);
/// The same for all others together.
const KNOWN_BURST: u32 = 4000;
const KNOWN_INTERVAL: Duration = Duration::from_micros(250);
/// Strangers share this many budgets, so that a flood from made-up addresses takes no
/// memory.
const BUCKETS: usize = 256;
/// Sources that are known at most.
const MAX_KNOWN: usize = 2048;

/// Lets each source have its share: what floods in from one address takes nothing from
/// the others, and what floods in from many made-up ones takes nothing from those that
/// were heard rightly before.
pub struct FloodGate {
    seed: u64,
    known: BTreeMap<IpAddr, Budget>,
    all_known: Budget,
    buckets: Vec<Budget>,
    strangers: Budget,
}

/// What was let through, as the time until which it is paid for.
#[derive(Clone, Copy)]
struct Budget(Instant);

impl FloodGate {
    /// A gate that is open from now on. The seed is to be unknown to others: it decides
    /// which strangers share a budget.
    #[must_use]
    pub fn new(seed: u64, now: Instant) -> Self {
        Self {
            seed,
            known: BTreeMap::new(),
            all_known: Budget(now),
            buckets: vec![Budget(now); BUCKETS],
            strangers: Budget(now),
        }
    }

    /// Whether a datagram of this source is to be opened.
    pub fn admit(&mut self, from: IpAddr, now: Instant) -> bool {
        match self.known.get_mut(&from) {
            Some(own) => {
                own.has(BURST, INTERVAL, now)
                    && self.all_known.take(KNOWN_BURST, KNOWN_INTERVAL, now)
                    && own.take(BURST, INTERVAL, now)
            }
            None => {
                let bucket = self.bucket(from);
                self.buckets[bucket].has(BURST, INTERVAL, now)
                    && self
                        .strangers
                        .take(STRANGERS_BURST, STRANGERS_INTERVAL, now)
                    && self.buckets[bucket].take(BURST, INTERVAL, now)
            }
        }
    }

    /// A datagram of this source was authentic and new.
    pub fn know(&mut self, from: IpAddr, now: Instant) {
        if self.known.contains_key(&from) {
            return;
        }
        if self.known.len() >= MAX_KNOWN {
            let idle = self.known.iter().min_by_key(|(_, budget)| budget.0);
            if let Some(idle) = idle.map(|(ip, _)| *ip) {
                self.known.remove(&idle);
            }
        }
        self.known.insert(from, Budget(now));
    }

    fn bucket(&self, from: IpAddr) -> usize {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes());
        match from {
            IpAddr::V4(ip) => hasher.update(&ip.octets()),
            // Who has one address of IPv6 has as many as it likes.
            IpAddr::V6(ip) if !ip.is_unicast_link_local() => hasher.update(&ip.octets()[..8]),
            IpAddr::V6(ip) => hasher.update(&ip.octets()),
        };
        usize::from(hasher.finalize().as_bytes()[0])
    }
}

impl Budget {
    fn has(self, burst: u32, interval: Duration, now: Instant) -> bool {
        self.0 <= now + interval * burst
    }

    fn take(&mut self, burst: u32, interval: Duration, now: Instant) -> bool {
        let has = self.has(burst, interval, now);
        if has {
            self.0 = self.0.max(now) + interval;
        }
        has
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(number: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + number).into())
    }

    /// How many of `per_second` datagrams of a source pass in ten seconds, beside
    /// whatever `others` do.
    fn passed(
        gate: &mut FloodGate,
        start: Instant,
        per_second: u32,
        from: impl Fn(u32) -> IpAddr,
    ) -> u32 {
        let mut passed = 0;
        for number in 0..10 * per_second {
            let now = start + Duration::from_secs(10) * number / (10 * per_second);
            passed += u32::from(gate.admit(from(number), now));
        }
        passed
    }

    #[test]
    fn a_flood_from_one_source_takes_nothing_from_others() {
        let start = Instant::now();
        let mut gate = FloodGate::new(1, start);
        let through = passed(&mut gate, start, 50_000, |_| ip(1));
        assert!((1000..1300).contains(&through), "{through}");
        let end = start + Duration::from_secs(10);
        let others = (100..200).filter(|&other| gate.admit(ip(other), end));
        // One or two may share the flood's budget.
        assert!(others.count() > 95);
    }

    #[test]
    fn a_flood_from_everywhere_leaves_the_known_their_share() {
        let start = Instant::now();
        let mut gate = FloodGate::new(1, start);
        gate.know(ip(1), start);
        let through = passed(&mut gate, start, 50_000, |number| ip(1000 + number));
        assert!((20_000..23_000).contains(&through), "{through}");
        let end = start + Duration::from_secs(10);
        assert!((0..100).all(|_| gate.admit(ip(1), end)));
    }

    #[test]
    fn what_is_known_is_bounded() {
        let start = Instant::now();
        let mut gate = FloodGate::new(1, start);
        for number in 0..MAX_KNOWN as u32 + 10 {
            gate.know(ip(number), start + Duration::from_millis(number.into()));
        }
        assert_eq!(gate.known.len(), MAX_KNOWN);
        assert!(gate.known.contains_key(&ip(MAX_KNOWN as u32)));
    }

    #[test]
    fn what_nodes_send_passes() {
        let start = Instant::now();
        let mut gate = FloodGate::new(1, start);
        for number in 0..1000 {
            let now = start + Duration::from_millis(number.into());
            assert!(gate.admit(ip(number), now));
            gate.know(ip(number), now);
        }
        let later = start + Duration::from_secs(2);
        assert!((0..1000).all(|number| gate.admit(ip(number), later)));
    }
}
