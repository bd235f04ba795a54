//! A node with a cache, an engine and a data port, and neighbours that a test names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use potluck_cache::{Cache, Config};
use potluck_content::{ContentId, Manifest};
use potluck_discovery::{AskError, Holding, Holdings, PeerId, SwarmDesk, Wanted};
use potluck_plan::{GovernorConfig, Rate};
use potluck_transfer::origin::{OriginClient, OriginConfig};
use potluck_transfer::{
    Asking, CacheHoldings, Engine, EngineConfig, EngineHandle, FileDone, FileRequest, Neighbours,
    PeerAddress, PeerServer, PeerServerConfig, Rates, Shelf, TrafficCounts, TransferError,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::support::test_domain::{TestDomain, TestTrust};

pub struct TestNode {
    pub engine: EngineHandle,
    pub cache: Cache,
    pub trust: Arc<TestTrust>,
    pub neighbours: Arc<TestNeighbours>,
    pub server: Option<PeerServer>,
    pub at: PeerAddress,
    pub traffic: TrafficCounts,
    pub dir: Option<TempDir>,
}

#[derive(Default)]
pub struct TestNeighbours {
    known: Mutex<Vec<(PeerAddress, Arc<dyn Holdings>)>>,
    faults: Mutex<Vec<(PeerId, String)>>,
    /// While this says so, questions for manifests are not answered.
    stuck: watch::Sender<bool>,
    /// Who this node is to others, and who answers there what it tells of swarms.
    me: Option<PeerId>,
    desks: Mutex<HashMap<PeerId, Arc<dyn SwarmDesk>>>,
}

impl TestNode {
    pub async fn start(domain: &TestDomain) -> Self {
        Self::start_with(domain, Rate::Unlimited, None).await
    }

    pub async fn start_with(
        domain: &TestDomain,
        served: Rate,
        shelf: Option<Arc<dyn Shelf>>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::start_in(domain, served, shelf, dir).await
    }

    /// Starts on the data of a node that was stopped, once it has let go of it.
    pub async fn start_again(domain: &TestDomain, dir: TempDir) -> Self {
        let config = || Config::new(dir.path().to_owned(), 1 << 30);
        crate::support::until("the cache is free", || Cache::open(config()).is_ok()).await;
        Self::start_in(domain, Rate::Unlimited, None, dir).await
    }

    async fn start_in(
        domain: &TestDomain,
        served: Rate,
        shelf: Option<Arc<dyn Shelf>>,
        dir: TempDir,
    ) -> Self {
        let cache = Cache::open(Config::new(dir.path().to_owned(), 1 << 30)).unwrap();
        let origin = OriginClient::new(OriginConfig {
            idle_timeout: Duration::from_secs(2),
            ..OriginConfig::default()
        })
        .unwrap();
        let rates = Rates::new(GovernorConfig {
            served,
            ..GovernorConfig::default()
        });
        let traffic = TrafficCounts::default();
        let engine = Engine::start(
            EngineConfig {
                ask_again: Duration::from_millis(50),
                ..EngineConfig::default()
            },
            cache.clone(),
            origin,
            rates.clone(),
            traffic.clone(),
        );
        let trust = domain.member();
        let neighbours = Arc::new(TestNeighbours::default());
        engine.set_domain(Some((neighbours.clone(), trust.clone())));
        let shelf = shelf.unwrap_or_else(|| Arc::new(CacheHoldings::new(cache.clone())));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = PeerServerConfig::default();
        let server = PeerServer::start(
            config,
            listener,
            trust.clone(),
            shelf,
            rates,
            traffic.clone(),
        )
        .unwrap();
        let at = PeerAddress {
            id: trust.id,
            address: server.address(),
        };
        Self {
            engine,
            cache,
            trust,
            neighbours,
            server: Some(server),
            at,
            traffic,
            dir: Some(dir),
        }
    }

    /// Lets this node know another.
    pub fn meet(&self, other: &Self) {
        let holdings = Arc::new(CacheHoldings::new(other.cache.clone()));
        self.meet_as(other.at, holdings);
    }

    pub fn meet_as(&self, at: PeerAddress, holdings: Arc<dyn Holdings>) {
        self.neighbours.known.lock().unwrap().push((at, holdings));
    }

    pub async fn get(&self, request: FileRequest) -> Result<FileDone, TransferError> {
        self.engine.transfer(request).outcome().await
    }

    /// Gets a file and accepts it, as a job does.
    pub async fn get_and_accept(&self, url: &str) -> FileDone {
        let done = self.get(FileRequest::new(url, "job")).await.unwrap();
        self.engine
            .validate(&done.content_id, done.entity.as_ref())
            .unwrap();
        done
    }

    /// Ends everything and gives back where the data is.
    pub fn stop(mut self) -> TempDir {
        self.dir.take().unwrap()
    }
}

impl TestNeighbours {
    /// Those of a node that tells others of its swarms.
    pub fn of(me: PeerId) -> Self {
        Self {
            me: Some(me),
            ..Self::default()
        }
    }

    /// A peer is here; one that was is at this address now.
    pub fn meet(&self, at: PeerAddress, holdings: Arc<dyn Holdings>, desk: Arc<dyn SwarmDesk>) {
        self.lose(at.id);
        self.desks.lock().unwrap().insert(at.id, desk);
        self.known.lock().unwrap().push((at, holdings));
    }

    /// Nobody is off the list any more for what it did.
    pub fn forgive(&self) {
        self.faults.lock().unwrap().clear();
    }

    /// A peer is gone.
    pub fn lose(&self, peer: PeerId) {
        self.known.lock().unwrap().retain(|(at, _)| at.id != peer);
        self.desks.lock().unwrap().remove(&peer);
    }

    /// Lets peers be stuck, or no longer, when they are asked for manifests.
    pub fn set_stuck(&self, stuck: bool) {
        self.stuck.send_replace(stuck);
    }

    pub fn faults(&self) -> Vec<(PeerId, String)> {
        self.faults.lock().unwrap().clone()
    }

    fn holdings(&self, peer: PeerId) -> Option<Arc<dyn Holdings>> {
        let known = self.known.lock().unwrap();
        known
            .iter()
            .find(|(at, _)| at.id == peer)
            .map(|(_, holdings)| Arc::clone(holdings))
    }
}

impl Neighbours for TestNeighbours {
    fn peers(&self) -> Vec<PeerAddress> {
        let faults = self.faults();
        let known = self.known.lock().unwrap();
        let trusted = known
            .iter()
            .filter(|(at, _)| faults.iter().all(|(peer, _)| *peer != at.id));
        trusted.map(|(at, _)| *at).collect()
    }

    fn ask_have(
        &self,
        peer: PeerId,
        wanted: Vec<Wanted>,
        _timeout: Duration,
    ) -> Asking<Vec<Option<Holding>>> {
        let holdings = self.holdings(peer);
        Box::pin(async move { Ok(holdings.ok_or(AskError::NotAPeer)?.have(&wanted)) })
    }

    fn manifest(&self, peer: PeerId, content: ContentId, _timeout: Duration) -> Asking<Manifest> {
        let holdings = self.holdings(peer);
        let mut stuck = self.stuck.subscribe();
        Box::pin(async move {
            let _ = stuck.wait_for(|stuck| !stuck).await;
            holdings
                .ok_or(AskError::NotAPeer)?
                .manifest(&content)
                .ok_or(AskError::NotHeld)
        })
    }

    fn swarm(&self, peer: PeerId, message: Vec<u8>, _timeout: Duration) -> Asking<Vec<u8>> {
        let desk = self.desks.lock().unwrap().get(&peer).cloned();
        let Some((me, desk)) = self.me.zip(desk) else {
            let refused = AskError::Refused("this node takes no part in swarms".to_owned());
            return Box::pin(async move { Err(refused) });
        };
        Box::pin(async move { Ok(desk.answer(me, &message)) })
    }

    fn report_fault(&self, peer: PeerId, reason: String) {
        self.faults.lock().unwrap().push((peer, reason));
    }

    fn need_peers(&self) {}
}

/// Says that it holds one content, whatever is asked.
pub struct Claims(pub Manifest);

impl Holdings for Claims {
    fn have(&self, wanted: &[Wanted]) -> Vec<Option<Holding>> {
        let holding = Holding {
            content: self.0.id(),
            size: self.0.size(),
            bitfield: None,
            serves: None,
        };
        wanted.iter().map(|_| Some(holding.clone())).collect()
    }

    fn manifest(&self, content: &ContentId) -> Option<Manifest> {
        (*content == self.0.id()).then(|| self.0.clone())
    }
}
