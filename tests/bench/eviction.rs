//! What share of requests and of bytes each eviction policy finds in the cache, on made-up
//! traces of known shapes. Run by `tests/bench/run`; draws nothing but from its seed.
//!
//! Popularity is Zipf-like, with an exponent of 0.6 to 1, as Breslau and others found for
//! proxies ("Web Caching and Zipf-like Distributions", INFOCOM 1999). Many contents are
//! wanted once only, as Yang and others counted in traces of 14 companies ("FIFO queues are
//! all you need for cache eviction", SOSP 2023). What is popular in a registry is very
//! popular (Anwar and others, "Improving Docker Registry Design Based on Production Workload
//! Analysis", FAST 2018). New versions take the place of old ones, and now and then
//! somebody reads everything once.

use std::collections::{BTreeMap, HashMap};

use fastrand::Rng;
use potluck_cache::{Candidate, Eviction, EvictionPolicy, Heads, Queue, Rank, Verdict};
use potluck_content::ContentId;

/// A shape of requests.
struct Shape {
    name: &'static str,
    /// Contents that are wanted more than once.
    contents: usize,
    /// The exponent of their popularity.
    zipf: f64,
    /// Share of the requests that are for something nobody wants again.
    once: f64,
    /// After so many requests one of the contents is replaced by a new version.
    replaced_every: usize,
    /// After so many requests everything is read once, in order.
    scan_every: usize,
}

const SHAPES: [Shape; 5] = [
    Shape {
        name: "updates of an office",
        contents: 3_000,
        zipf: 0.9,
        once: 0.1,
        replaced_every: 100,
        scan_every: usize::MAX,
    },
    Shape {
        name: "a package mirror",
        contents: 20_000,
        zipf: 0.8,
        once: 0.2,
        replaced_every: 200,
        scan_every: usize::MAX,
    },
    Shape {
        name: "a package mirror, and a scan at times",
        contents: 20_000,
        zipf: 0.8,
        once: 0.2,
        replaced_every: 200,
        scan_every: 60_000,
    },
    Shape {
        name: "a registry",
        contents: 10_000,
        zipf: 1.0,
        once: 0.3,
        replaced_every: 100,
        scan_every: usize::MAX,
    },
    Shape {
        name: "downloads of all kinds",
        contents: 50_000,
        zipf: 0.6,
        once: 0.5,
        replaced_every: 1_000,
        scan_every: usize::MAX,
    },
];

const REQUESTS: usize = 400_000;
/// Not counted: the cache is empty at first.
const WARM_UP: usize = REQUESTS / 4;
/// Microseconds between two requests to one node.
const PAUSE: u64 = 20_000_000;
/// Of all bytes of the contents that are wanted more than once, in percent.
const CACHE_SIZES: [u64; 4] = [1, 5, 10, 30];
const SEED: u64 = 4;

/// What came first goes first: what both others are to be better than.
struct Fifo;

impl EvictionPolicy for Fifo {
    fn enter(&mut self, _: &ContentId, now: u64) -> Rank {
        Rank::main(now)
    }

    fn used(&self, candidate: &Candidate, _: u64) -> Rank {
        candidate.rank
    }

    fn next(&self, heads: &Heads) -> Option<Queue> {
        heads.main.map(|_| Queue::Main)
    }

    fn judge(&mut self, _: &ContentId, _: &Candidate, _: u64) -> Verdict {
        Verdict::Goes
    }
}

/// A request: which content, and how large it is.
type Request = (u64, u64);

fn trace(shape: &Shape) -> (Vec<Request>, u64) {
    let mut rng = Rng::with_seed(SEED);
    let mut next = 0;
    let mut fresh = |rng: &mut Rng| {
        next += 1;
        (next, size(rng))
    };
    let mut contents: Vec<Request> = (0..shape.contents).map(|_| fresh(&mut rng)).collect();
    let bytes = contents.iter().map(|(_, size)| size).sum();
    // The chance of being at most this popular.
    let mut sum = 0.0;
    let chances: Vec<f64> = (1..=shape.contents)
        .map(|rank| {
            sum += (rank as f64).powf(-shape.zipf);
            sum
        })
        .collect();
    let mut requests = Vec::with_capacity(REQUESTS);
    while requests.len() < REQUESTS {
        let count = requests.len() + 1;
        if rng.f64() < shape.once {
            requests.push(fresh(&mut rng));
        } else {
            let drawn = rng.f64() * sum;
            let rank = chances.partition_point(|chance| *chance < drawn);
            requests.push(contents[rank.min(shape.contents - 1)]);
        }
        if count.is_multiple_of(shape.replaced_every) {
            let which = rng.usize(..shape.contents);
            contents[which] = fresh(&mut rng);
        }
        if count.is_multiple_of(shape.scan_every) {
            requests.extend(&contents);
        }
    }
    (requests, bytes)
}

/// From 8 KiB to 128 MiB, each power of two as often as another but the large ones.
fn size(rng: &mut Rng) -> u64 {
    let power = rng.u32(13..=21) + if rng.u8(..) < 26 { rng.u32(..6) } else { 0 };
    (1 << power) + rng.u64(..1 << power)
}

/// A cache that holds nothing but sizes.
struct Model {
    policy: Box<dyn EvictionPolicy>,
    max_size: u64,
    held: HashMap<u64, (u64, Candidate)>,
    lines: BTreeMap<(Queue, u64), u64>,
    bytes: u64,
    small_bytes: u64,
}

impl Model {
    fn new(policy: Box<dyn EvictionPolicy>, max_size: u64) -> Self {
        Self {
            policy,
            max_size,
            held: HashMap::new(),
            lines: BTreeMap::new(),
            bytes: 0,
            small_bytes: 0,
        }
    }

    /// Says whether it was there.
    fn request(&mut self, (name, size): Request, now: u64) -> bool {
        if let Some((size, candidate)) = self.held.get(&name).copied() {
            let rank = self.policy.used(&candidate, now);
            self.take(name);
            self.put(
                name,
                size,
                Candidate {
                    rank,
                    accessed: now,
                },
            );
            return true;
        }
        if size > self.max_size {
            return false;
        }
        // Times never repeat: moves take the microseconds between two requests.
        let mut moment = now + 1;
        while self.bytes + size > self.max_size {
            self.judge_one(moment);
            moment += 1;
        }
        let rank = self.policy.enter(&id(name), now);
        self.put(
            name,
            size,
            Candidate {
                rank,
                accessed: now,
            },
        );
        false
    }

    fn judge_one(&mut self, now: u64) {
        let head = |queue| {
            let mut line = self.lines.range((queue, 0)..=(queue, u64::MAX));
            line.next().map(|((_, since), name)| (*since, *name))
        };
        let (main, small) = (head(Queue::Main), head(Queue::Small));
        let heads = Heads {
            main: main.map(|(since, _)| since),
            small: small.map(|(since, _)| since),
            small_bytes: self.small_bytes,
            max_size: self.max_size,
        };
        let queue = self.policy.next(&heads).expect("something is there");
        let head = if queue == Queue::Main { main } else { small };
        let (_, name) = head.expect("the policy was told of it");
        let (size, candidate) = self.take(name);
        if let Verdict::Stays(rank) = self.policy.judge(&id(name), &candidate, now) {
            self.put(name, size, Candidate { rank, ..candidate });
        }
    }

    fn put(&mut self, name: u64, size: u64, candidate: Candidate) {
        let Rank { queue, since, .. } = candidate.rank;
        self.held.insert(name, (size, candidate));
        self.lines.insert((queue, since), name);
        self.bytes += size;
        self.small_bytes += size * u64::from(queue == Queue::Small);
    }

    fn take(&mut self, name: u64) -> (u64, Candidate) {
        let (size, candidate) = self.held.remove(&name).expect("it is held");
        let Rank { queue, since, .. } = candidate.rank;
        self.lines.remove(&(queue, since));
        self.bytes -= size;
        self.small_bytes -= size * u64::from(queue == Queue::Small);
        (size, candidate)
    }
}

fn id(name: u64) -> ContentId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&name.to_le_bytes());
    ContentId::from_bytes(bytes)
}

/// Shares of requests and of bytes that were found, in percent.
fn hits(policy: Box<dyn EvictionPolicy>, requests: &[Request], max_size: u64) -> (f64, f64) {
    let mut model = Model::new(policy, max_size);
    let (mut all, mut found) = ((0, 0), (0, 0));
    for (count, request) in requests.iter().enumerate() {
        let hit = model.request(*request, (count as u64 + 1) * PAUSE);
        if count >= WARM_UP {
            all = (all.0 + 1, all.1 + request.1);
            if hit {
                found = (found.0 + 1, found.1 + request.1);
            }
        }
    }
    let share = |found: u64, all: u64| 100.0 * found as f64 / all as f64;
    (share(found.0, all.0), share(found.1, all.1))
}

fn main() {
    println!("Hits in percent of requests / of bytes; the best of each row in bold.\n");
    println!("| requests | cache | FIFO | LRU | S3-FIFO |");
    println!("|---|---:|---:|---:|---:|");
    for shape in &SHAPES {
        let (requests, bytes) = trace(shape);
        for percent in CACHE_SIZES {
            let max_size = bytes / 100 * percent;
            let policies = [
                Box::new(Fifo) as Box<dyn EvictionPolicy>,
                Eviction::Lru.policy(),
                Eviction::S3Fifo.policy(),
            ];
            let hits = policies.map(|policy| hits(policy, &requests, max_size));
            let best = hits.iter().map(|hits| hits.1).fold(0.0, f64::max);
            let cells = hits.map(|(objects, bytes)| {
                let bold = if bytes == best { "**" } else { "" };
                format!("{bold}{objects:.1} / {bytes:.1}{bold}")
            });
            println!("| {} | {percent} % | {} |", shape.name, cells.join(" | "));
        }
    }
}
