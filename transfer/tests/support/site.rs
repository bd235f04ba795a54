//! Members of a domain that fetch together, with real certificates.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use potluck_cache::{Cache, Config};
use potluck_discovery::{
    DomainOptions, Membership, Revocations, SigningRequest, Standing, accept_answer, create_domain,
    make_request, sign_request,
};
use potluck_plan::{GovernorConfig, Rate, ServeLimits, ServeQueueConfig};
use potluck_transfer::origin::{OriginClient, OriginConfig};
use potluck_transfer::{
    CacheHoldings, DomainTrust, Engine, EngineConfig, EngineHandle, FileDone, FileRequest,
    PeerAddress, PeerServer, PeerServerConfig, Rates, Share, Shelf, Swarms, TrafficCounts,
    Transfer, TransferError,
};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::support::test_node::TestNeighbours;

/// Room for everybody at once.
const LIMITS: ServeLimits = ServeLimits {
    clients: 64,
    rate: Rate::Unlimited,
};

/// As a node that shares what it downloads.
pub fn sharing() -> EngineConfig {
    EngineConfig {
        share: Share::Downloading,
        ..EngineConfig::default()
    }
}

/// A domain and where its authority lives.
pub struct Site(TempDir);

/// A node that shares while it downloads. To the origin it calls itself by its id.
pub struct Member {
    pub engine: EngineHandle,
    pub cache: Cache,
    pub swarms: Swarms,
    pub neighbours: Arc<TestNeighbours>,
    pub standing: Standing,
    pub traffic: TrafficCounts,
    pub at: PeerAddress,
    _server: PeerServer,
    pub dir: TempDir,
}

impl Site {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        create_domain(dir.path(), &DomainOptions::new("site".parse().unwrap())).unwrap();
        Self(dir)
    }

    /// Makes another node a member.
    pub fn join(&self, dir: &Path) -> (PeerAddress, Standing) {
        let request = make_request(dir, &"node".parse().unwrap()).unwrap();
        let request = SigningRequest::parse(&request).unwrap();
        let answer = sign_request(self.0.path(), &request).unwrap();
        standing(dir, &accept_answer(dir, &answer).unwrap())
    }

    pub async fn member(&self) -> Member {
        self.member_with(sharing()).await
    }

    pub async fn member_with(&self, config: EngineConfig) -> Member {
        let dir = tempfile::tempdir().unwrap();
        let (nowhere, standing) = self.join(dir.path());
        Member::start(dir, nowhere, standing, config).await
    }

    /// So many members that know each other.
    pub async fn crowd(&self, members: usize) -> Vec<Member> {
        self.crowd_with(members, &sharing()).await
    }

    pub async fn crowd_with(&self, members: usize, config: &EngineConfig) -> Vec<Member> {
        let mut crowd = Vec::new();
        for _ in 0..members {
            crowd.push(self.member_with(config.clone()).await);
        }
        acquaint(&crowd);
        crowd
    }
}

fn standing(dir: &Path, membership: &Membership) -> (PeerAddress, Standing) {
    let revocations = Revocations::open(dir, membership).unwrap();
    let standing = Standing::new(membership, revocations).unwrap();
    let nowhere = PeerAddress {
        id: membership.peer_id(),
        address: ([127, 0, 0, 1], 1).into(),
    };
    (nowhere, standing)
}

/// Lets all know each other.
pub fn acquaint(crowd: &[Member]) {
    for one in crowd {
        for other in crowd.iter().filter(|other| other.at.id != one.at.id) {
            one.meet(other);
        }
    }
}

/// A data port that gives what is on a shelf.
pub async fn data_port(
    standing: &Standing,
    shelf: Arc<dyn Shelf>,
    traffic: &TrafficCounts,
) -> PeerServer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = PeerServerConfig {
        queue: ServeQueueConfig {
            max_clients: LIMITS.clients,
            ..ServeQueueConfig::default()
        },
        ..PeerServerConfig::default()
    };
    PeerServer::start(
        config,
        listener,
        Arc::new(DomainTrust::noting(standing.clone(), |_| {})),
        shelf,
        rates(),
        traffic.clone(),
    )
    .unwrap()
}

fn rates() -> Rates {
    Rates::new(GovernorConfig {
        served: Rate::Unlimited,
        ..GovernorConfig::default()
    })
}

impl Member {
    async fn start(
        dir: TempDir,
        mut at: PeerAddress,
        standing: Standing,
        config: EngineConfig,
    ) -> Self {
        let cache = Cache::open(Config::new(dir.path().join("cache"), 1 << 30)).unwrap();
        let origin = OriginClient::new(OriginConfig {
            idle_timeout: Duration::from_secs(2),
            user_agent: at.id.to_string(),
            ..OriginConfig::default()
        })
        .unwrap();
        let (traffic, notary) = (TrafficCounts::default(), Arc::new(standing.clone()));
        let config = EngineConfig {
            ask_again: Duration::from_millis(50),
            seed: u64::from(at.id.to_bytes()[12]),
            ..config
        };
        let engine = Engine::start(config, cache.clone(), origin, rates(), traffic.clone());
        let swarms = Swarms::new(&at.id, cache.clone(), notary, LIMITS);
        let neighbours = Arc::new(TestNeighbours::of(at.id));
        let trust = Arc::new(DomainTrust::noting(standing.clone(), |_| {}));
        swarms.connect(neighbours.clone());
        engine.set_domain(Some((neighbours.clone(), trust)));
        engine.set_swarms(Some(swarms.clone()));
        let shelf = CacheHoldings::new(cache.clone()).with_swarms(swarms.shelf());
        let server = data_port(&standing, Arc::new(shelf), &traffic).await;
        at.address = server.address();
        Self {
            engine,
            cache,
            swarms,
            neighbours,
            standing,
            traffic,
            at,
            _server: server,
            dir,
        }
    }

    /// Ends, and begins anew on the same data.
    pub async fn again(self, config: EngineConfig) -> Self {
        let Self {
            dir,
            at,
            standing,
            engine,
            cache,
            swarms,
            neighbours,
            _server,
            ..
        } = self;
        swarms.disconnect();
        drop((engine, cache, swarms, neighbours, _server));
        let free = || Cache::open(Config::new(dir.path().join("cache"), 1 << 30)).is_ok();
        crate::support::until("the cache is free", free).await;
        Self::start(dir, at, standing, config).await
    }

    /// Lets this node know another.
    pub fn meet(&self, other: &Self) {
        let holdings = Arc::new(CacheHoldings::new(other.cache.clone()));
        self.neighbours
            .meet(other.at, holdings, other.swarms.desk());
    }

    pub fn begin(&self, url: &str) -> Transfer {
        self.engine.transfer(FileRequest::new(url, "job"))
    }

    pub async fn get(&self, url: &str) -> Result<FileDone, TransferError> {
        self.begin(url).outcome().await
    }

    /// Whether anything is given of what is not whole.
    pub fn gives(&self) -> bool {
        !self.swarms.shelf().all().is_empty()
    }
}

/// What came of the same URL everywhere at once.
pub async fn get_all(crowd: &[Member], url: &str) -> Vec<FileDone> {
    let begun: Vec<_> = crowd.iter().map(|member| member.begin(url)).collect();
    let mut done = Vec::new();
    for mut transfer in begun {
        done.push(transfer.outcome().await.unwrap());
    }
    done
}
