//! What a simulated crowd is made of.

use std::time::Duration;

use potluck_plan::{FilePlanConfig, OriginUse, Rate, ServeLimits};

/// A crowd, an origin and the network between them.
#[derive(Debug, Clone)]
pub struct CrowdSettings {
    /// Everything random comes from it.
    pub seed: u64,
    /// Bytes of the file that all want.
    pub size: u64,
    /// What the origin sends, in bit/s, to all together.
    pub origin_up: u64,
    /// From a request to the origin's first byte.
    pub origin_first_byte: Duration,
    /// Whether the origin does ranges.
    pub origin_use: OriginUse,
    /// Who wants the file.
    pub hosts: Vec<HostSettings>,
    /// How many others each host knows at most.
    pub peers: usize,
    /// The least time that anything takes from one host to another.
    pub latency: Duration,
    /// How many of the control messages, and of the answers, get lost: 0 to 1.
    pub loss: f64,
    /// Bytes that go over a line at once. Smaller is finer and slower.
    pub block: u64,
    /// Whether a digest of the whole is known beforehand.
    pub digest: bool,
    /// How much of the content is compared with the origin, by all together, where there is
    /// no digest: 0 to 1.
    pub audit_share: f64,
    /// What is simulated at most.
    pub limit: Duration,
}

/// One host.
#[derive(Debug, Clone)]
pub struct HostSettings {
    /// Its line up, in bit/s.
    pub up: u64,
    /// Its line down, in bit/s.
    pub down: u64,
    /// How much it serves.
    pub serves: ServeLimits,
    /// The settings of its plan.
    pub plan: FilePlanConfig,
    /// When it begins.
    pub starts: Duration,
    /// How it behaves.
    pub manner: Manner,
    /// What becomes of it, and how long after it began.
    pub fate: Option<(Duration, Fate)>,
}

/// What becomes of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its program ends: connections break and peers notice at once.
    Killed,
    /// Its line goes dead without a word.
    Vanishes,
    /// Its program ends and begins again after this time, with what it had.
    Restarts(Duration),
}

/// How a host behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As it should.
    Honest,
    /// Says that it fetches everything from the origin, and fetches nothing.
    ClaimsOnly {
        /// It says too that it gets on with that.
        rising: bool,
    },
    /// What it fetched from the origin it gives on changed, and signs that.
    SignsWrong {
        /// It does so with one of so many pieces of the file.
        one_in: u32,
    },
    /// Gives other bytes than the statements say.
    ServesWrong,
    /// Says that it has everything, and has nothing.
    AnnouncesAll,
    /// Tells of leaders that there are not, one after the other.
    MakesUpLeaders,
    /// Doubts what is right.
    DoubtsAll,
    /// Takes a byte a second of whatever it asks for.
    Dribbles,
}

impl Manner {
    /// Whether what becomes of it is of no interest.
    #[must_use]
    pub const fn is_hostile(self) -> bool {
        !matches!(self, Self::Honest)
    }

    /// Whether it forges what it fetched of this piece.
    #[must_use]
    pub const fn forges(self, index: u32) -> bool {
        matches!(self, Self::SignsWrong { one_in } if index.is_multiple_of(one_in))
    }
}

/// Millions of bits per second.
#[must_use]
pub const fn mbit(rate: u64) -> u64 {
    rate * 1_000_000
}

impl HostSettings {
    /// A host in a fast trusted network (`profile = "lan"`).
    #[must_use]
    pub fn lan(up: u64, down: u64) -> Self {
        Self {
            up,
            down,
            serves: ServeLimits {
                clients: 64,
                rate: Rate::Unlimited,
            },
            plan: FilePlanConfig::default(),
            starts: Duration::ZERO,
            manner: Manner::Honest,
            fate: None,
        }
    }

    /// What it gives to all together, in bit/s.
    #[must_use]
    pub fn gives(&self) -> u64 {
        let limit = self.serves.rate.bits().unwrap_or(u64::MAX);
        self.up.min(limit)
    }
}

impl CrowdSettings {
    /// So many hosts of 200 Mbit/s up and 1 Gbit/s down that all want 64 MiB of an origin
    /// of 80 Mbit/s at once.
    #[must_use]
    pub fn cold(hosts: usize, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let host = |_| HostSettings {
            // Nobody presses a button in the same millisecond.
            starts: Duration::from_micros(random.u64(0..20_000)),
            ..HostSettings::lan(mbit(200), mbit(1000))
        };
        Self {
            seed,
            size: 64 << 20,
            origin_up: mbit(80),
            origin_first_byte: Duration::from_millis(5),
            origin_use: OriginUse::Ranges,
            hosts: (0..hosts).map(host).collect(),
            peers: 32,
            latency: Duration::from_micros(300),
            loss: 0.0,
            block: 32 << 10,
            digest: true,
            audit_share: 0.01,
            limit: Duration::from_secs(600),
        }
    }
}
