//! A member of the domain that does not play fair in a swarm. Its papers are in order.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use potluck_cache::{Cache, Config};
use potluck_content::{ContentId, HashedPiece, Layout, Manifest};
use potluck_discovery::{Holding, Holdings, PeerId, SwarmDesk, Wanted};
use potluck_plan::{News, NewsKind, decode_news, encode_news};
use potluck_transfer::{
    CacheHoldings, Notary, PeerAddress, PeerServer, Readable, SwarmPieces, SwarmShelf,
    SwarmShelfLimits, TrafficCounts, Vouching,
};
use tempfile::TempDir;

use crate::support::site::{Member, Site, data_port};

/// What it says that it has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Has {
    All,
    FirstHalf,
    Nothing,
}

/// What it does.
#[derive(Clone)]
pub struct Conduct {
    /// The bytes that it gives, if any.
    pub gives: Option<Vec<u8>>,
    /// The bytes whose hashes it signs.
    pub signs: Vec<u8>,
    pub has: Has,
    /// Whether it says that it fetches everything, and gets on with it.
    pub claims_all: bool,
    /// What it answers instead, whatever it is told.
    pub answers: Option<Vec<u8>>,
}

impl Conduct {
    pub fn of(content: &[u8]) -> Self {
        Self {
            gives: Some(content.to_vec()),
            signs: content.to_vec(),
            has: Has::All,
            claims_all: false,
            answers: None,
        }
    }
}

pub struct HostileMember {
    pub at: PeerAddress,
    pub desk: Arc<HostileDesk>,
    pub traffic: TrafficCounts,
    _server: PeerServer,
    _dir: TempDir,
}

pub struct HostileDesk {
    conduct: Conduct,
    shelf: SwarmShelf,
    vouching: Arc<Vouching>,
    asked: AtomicUsize,
    fetched: AtomicU64,
    begun: Mutex<bool>,
}

struct InMemory(Bytes);

impl Readable for InMemory {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        buffer.copy_from_slice(&self.0[start..start + buffer.len()]);
        Ok(())
    }
}

struct Nothing;

impl Holdings for Nothing {
    fn have(&self, wanted: &[Wanted]) -> Vec<Option<Holding>> {
        vec![None; wanted.len()]
    }

    fn manifest(&self, _: &ContentId) -> Option<Manifest> {
        None
    }
}

impl HostileMember {
    /// Starts one; `notary` signs for it, where that is not it itself.
    pub async fn start(site: &Site, conduct: Conduct, notary: Option<Arc<dyn Notary>>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (mut at, standing) = site.join(dir.path());
        let cache = Cache::open(Config::new(dir.path().join("cache"), 1 << 30)).unwrap();
        let shelf = SwarmShelf::new(cache.clone(), SwarmShelfLimits::default());
        let (traffic, given) = (TrafficCounts::default(), CacheHoldings::new(cache));
        let given = Arc::new(given.with_swarms(shelf.clone()));
        let server = data_port(&standing, given, &traffic).await;
        at.address = server.address();
        let notary = notary.unwrap_or_else(|| Arc::new(standing));
        Self {
            at,
            desk: Arc::new(HostileDesk {
                conduct,
                shelf,
                vouching: Arc::new(Vouching::new(notary)),
                asked: AtomicUsize::new(0),
                fetched: AtomicU64::new(0),
                begun: Mutex::new(false),
            }),
            traffic,
            _server: server,
            _dir: dir,
        }
    }

    /// Lets the others know it.
    pub fn meet(&self, crowd: &[Member]) {
        for member in crowd {
            let desk = self.desk.clone();
            member.neighbours.meet(self.at, Arc::new(Nothing), desk);
        }
    }

    /// How often it was told something.
    pub fn heard(&self) -> usize {
        self.desk.asked.load(Ordering::SeqCst)
    }
}

impl HostileDesk {
    fn prepare(&self, news: &News) {
        let mut begun = self.begun.lock().unwrap();
        let (false, Some(given)) = (*begun, &self.conduct.gives) else {
            return;
        };
        *begun = true;
        let layout = Layout::for_size(news.size).unwrap();
        let reader = Arc::new(InMemory(given.clone().into()));
        let vouching = Arc::clone(&self.vouching);
        let pieces = SwarmPieces::new(news.entity, layout, reader, vouching);
        let signed = Bytes::from(self.conduct.signs.clone());
        for index in layout.indices() {
            let span = layout.span(index);
            let bytes = signed.slice(span.start as usize..span.end as usize);
            let piece = HashedPiece::new(layout, index, bytes).unwrap();
            pieces.offer_own(index, piece.value());
        }
        self.shelf.put(Arc::new(pieces));
    }
}

impl SwarmDesk for HostileDesk {
    fn answer(&self, _: PeerId, message: &[u8]) -> Vec<u8> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some(answer) = &self.conduct.answers {
            return answer.clone();
        }
        let fetched = self.fetched.fetch_add(1, Ordering::SeqCst);
        let answer = decode_news(message).unwrap().into_iter().map(|news| {
            self.prepare(&news);
            let pieces = Layout::for_size(news.size).unwrap().pieces();
            let first = |pieces: u32| (pieces > 0).then_some(0..pieces).into_iter().collect();
            News {
                kind: NewsKind::State,
                epoch: u32::try_from(asked).unwrap() + 1,
                got: first(match self.conduct.has {
                    Has::All => pieces,
                    Has::FirstHalf => pieces / 2,
                    Has::Nothing => 0,
                }),
                fetching: first(if self.conduct.claims_all { pieces } else { 0 }),
                fetched,
                limits: None,
                ..news
            }
        });
        encode_news(&answer.collect::<Vec<_>>())
    }
}
