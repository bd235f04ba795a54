//! Members of a swarm, and who ranks before whom.

use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

use potluck_content::EntityKey;

use super::news::News;
use crate::rate_meter::RateMeter;
use crate::{Rate, piece_runs};

/// The time over which it is measured how fast a member fetches from the origin.
const RATE_WINDOW: Duration = Duration::from_secs(3);

/// Names a member to all others alike: made from the identity that its certificate
/// proves, so that nobody has more of them than certificates.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId(pub [u8; 16]);

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, ..] = self.0;
        write!(f, "member {a:02x}{b:02x}{c:02x}…")
    }
}

impl MemberId {
    /// Where this member stands for one unit of pieces: the highest rank has the claim.
    /// A rendezvous hash (Thaler and Ravishankar, 1998): when a member comes or goes, only
    /// the claims that it gets or had change hands.
    pub(crate) fn rank(&self, key: &EntityKey, unit: u32) -> u64 {
        let half = |bytes: &[u8], at: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(eight)
        };
        let mut rank = mix(half(&self.0, 0) ^ half(key.as_bytes(), 0));
        rank = mix(rank ^ half(&self.0, 8) ^ half(key.as_bytes(), 8));
        mix(rank ^ u64::from(unit))
    }
}

/// Spreads small differences over all bits (the finaliser of SplitMix64).
pub(crate) const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// So many bytes more of the origin show that a member gets on: fewer are not told
/// by themselves.
const GETS_ON: u64 = 64 << 10;
/// So often what a member asks for may change while nothing comes of it.
const MOST_CHANGES: u32 = 16;

/// Another member, as it last said what it does.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: MemberId,
    /// Of which count of its news this is.
    pub(super) epoch: u32,
    /// What it fetches from the origin now; sorted runs.
    pub(super) fetching: Vec<Range<u32>>,
    /// Bytes of the origin that it had so far.
    pub(super) fetched: u64,
    /// How many it had when it last was seen to get on.
    seen: u64,
    /// How often it changed since what it asks for.
    changes: u32,
    /// Bytes of the origin that it had since it last told of a piece.
    owed: u64,
    /// Whether it has had more of the origin than any member that gives what it gets.
    pub(super) keeps_it: bool,
    rate: RateMeter,
    /// When it last got on with the origin.
    pub(super) alive_at: Instant,
    /// It has everything, so it claims nothing.
    pub(super) whole: bool,
}

impl Member {
    pub(super) fn new(id: MemberId, now: Instant) -> Self {
        Self {
            id,
            epoch: 0,
            fetching: Vec::new(),
            fetched: 0,
            seen: 0,
            changes: 0,
            owed: 0,
            keeps_it: false,
            rate: RateMeter::new(RATE_WINDOW, now),
            alive_at: now,
            whole: false,
        }
    }

    /// It said how far it is with the origin.
    pub(super) fn report(&mut self, news: &News, most_owed: u64, now: Instant) {
        let (fetching, fetched) = (news.fetching.as_slice(), news.fetched);
        self.owed = if news.got.is_empty() {
            let more = fetched.saturating_sub(self.fetched);
            self.owed.saturating_add(more)
        } else {
            0
        };
        self.keeps_it = self.owed > most_owed;
        let more = fetched.saturating_sub(self.fetched);
        if more > 0 {
            self.rate.add(more, now);
        }
        // Who gets a byte now and then would else be waited for for ever.
        let enough = fetched >= self.seen.saturating_add(GETS_ON);
        if enough || more > 0 && !news.got.is_empty() {
            self.alive_at = now;
            self.seen = fetched;
            self.changes = 0;
        } else if self.fetching != fetching && self.changes < MOST_CHANGES {
            self.alive_at = now;
            self.changes += 1;
            if self.fetching.is_empty() {
                // It begins: what it did before says nothing.
                self.rate.restart(now);
            }
        }
        // Answers and messages may overtake each other.
        if fetched >= self.fetched {
            self.fetching.clear();
            self.fetching.extend_from_slice(fetching);
        }
        self.fetched = self.fetched.max(fetched);
    }

    pub(super) fn is_fetching(&self, index: u32) -> bool {
        piece_runs::has(&self.fetching, index)
    }

    /// How fast it fetches from the origin; `None` while it is too early to tell.
    pub(super) fn origin_rate(&self, now: Instant) -> Option<Rate> {
        let long_enough = self.rate.measured_for(now) >= RATE_WINDOW / 3;
        long_enough.then(|| self.rate.rate(now))
    }
}
