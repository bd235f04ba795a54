//! Nodes on loopback addresses, each with a certificate of its own.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use potluck_content::{ContentId, Manifest};
use potluck_discovery::{
    Authority, Config, DiscoveryHandle, DiscoveryService, DomainOptions, Holding, Holdings,
    InviteOptions, JoinOptions, JoinServer, JoinServerConfig, Membership, Name, PeerId, PeerInfo,
    Rejected, Revocations, Standing, SwarmDesk, Validity, Wanted, create_domain, invite, join,
    start,
};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Memberships of one domain.
pub(crate) struct Site {
    pub(crate) members: Vec<Membership>,
    /// Their data directories; the founder is the first.
    dirs: Vec<TempDir>,
}

impl Site {
    pub(crate) async fn of(count: usize) -> Self {
        let founder = tempfile::tempdir().unwrap();
        let options = DomainOptions {
            node_name: name("node-0"),
            ..DomainOptions::new(name("site"))
        };
        let mut members = vec![create_domain(founder.path(), &options).unwrap()];
        let mut dirs = vec![founder];
        let founder = dirs[0].path().to_owned();
        let stop = CancellationToken::new();
        if count > 1 {
            let (events, _events) = mpsc::channel(8);
            let listen = "127.0.0.1:0".parse().unwrap();
            let config = JoinServerConfig::new(&founder, listen);
            let server = JoinServer::start(config, stop.clone(), events);
            let mut address = server.address();
            let open = tokio::time::timeout(PATIENCE, address.wait_for(Option::is_some)).await;
            let address = open.expect("the join port opens").unwrap().unwrap();
            for number in 1..count {
                let options = InviteOptions {
                    addresses: vec![address],
                    ..InviteOptions::default()
                };
                let code = invite(&founder, &options).unwrap();
                let dir = tempfile::tempdir().unwrap();
                let options = JoinOptions::new(name(&format!("node-{number}")));
                members.push(join(dir.path(), &code, &options).await.unwrap());
                dirs.push(dir);
            }
        }
        stop.cancel();
        Self { members, dirs }
    }

    /// The standing of a member, as kept in its data directory.
    pub(crate) fn standing(&self, number: usize) -> Standing {
        let member = &self.members[number];
        let kept = Revocations::open(self.dirs[number].path(), member).unwrap();
        Standing::new(member, kept).unwrap()
    }

    /// Gives a member a certificate that ends after `left`.
    pub(crate) fn reissue(&mut self, number: usize, left: Duration) {
        let authority = Authority::load(self.dirs[0].path()).unwrap().unwrap();
        let member = &self.members[number];
        let now = SystemTime::now();
        let validity = Validity {
            not_before: now - Duration::from_secs(60),
            not_after: now + left,
        };
        let key = member.identity().unwrap().public_key();
        let certificate = authority.issue_for(key, member.node_name(), validity);
        let certificate = pem::encode(&pem::Pem::new("CERTIFICATE", &certificate.unwrap()[..]));
        let dir = self.dirs[number].path();
        let path = dir.join("domain/membership.json");
        let stored = std::fs::read(&path).unwrap();
        let mut stored: serde_json::Value = serde_json::from_slice(&stored).unwrap();
        stored["certificate"] = certificate.into();
        std::fs::write(&path, serde_json::to_vec(&stored).unwrap()).unwrap();
        self.members[number] = Membership::load(dir).unwrap().unwrap();
    }
}

/// Contents that a node holds, in memory.
#[derive(Default)]
pub(crate) struct Shelf(Mutex<BTreeMap<ContentId, Manifest>>);

impl Shelf {
    pub(crate) fn put(&self, bytes: &[u8]) -> ContentId {
        self.put_manifest(Manifest::of(bytes).unwrap())
    }

    pub(crate) fn put_manifest(&self, manifest: Manifest) -> ContentId {
        let id = manifest.id();
        self.0.lock().unwrap().insert(id, manifest);
        id
    }
}

impl Holdings for Shelf {
    fn have(&self, wanted: &[Wanted]) -> Vec<Option<Holding>> {
        let shelf = self.0.lock().unwrap();
        let holding = |wanted: &Wanted| match wanted {
            Wanted::Content(id) => shelf.get(id).map(|manifest| Holding {
                content: *id,
                size: manifest.size(),
                bitfield: None,
                serves: None,
            }),
            _ => None,
        };
        wanted.iter().map(holding).collect()
    }

    fn manifest(&self, content: &ContentId) -> Option<Manifest> {
        self.0.lock().unwrap().get(content).cloned()
    }
}

/// Notes what peers tell about swarms, and answers with the same or as the test says.
#[derive(Default)]
pub(crate) struct Desk {
    heard: Mutex<Vec<(PeerId, Vec<u8>)>>,
    answer: Mutex<Option<Vec<u8>>>,
}

impl Desk {
    pub(crate) fn heard(&self) -> Vec<(PeerId, Vec<u8>)> {
        self.heard.lock().unwrap().clone()
    }

    pub(crate) fn answers(&self, answer: Vec<u8>) {
        *self.answer.lock().unwrap() = Some(answer);
    }
}

impl SwarmDesk for Desk {
    fn answer(&self, from: PeerId, message: &[u8]) -> Vec<u8> {
        self.heard.lock().unwrap().push((from, message.to_vec()));
        let answer = self.answer.lock().unwrap().clone();
        answer.unwrap_or_else(|| [b"heard ", message].concat())
    }
}

/// A running node.
pub(crate) struct Node {
    pub(crate) handle: DiscoveryHandle,
    pub(crate) shelf: Arc<Shelf>,
    service: DiscoveryService,
    stop: CancellationToken,
}

impl Node {
    pub(crate) fn start(member: &Membership, config: &Config) -> Self {
        Self::start_as(&standing(member), config)
    }

    pub(crate) fn start_as(standing: &Standing, config: &Config) -> Self {
        Self::start_with(standing, config, None)
    }

    pub(crate) fn start_with(
        standing: &Standing,
        config: &Config,
        desk: Option<Arc<dyn SwarmDesk>>,
    ) -> Self {
        let stop = CancellationToken::new();
        let shelf = Arc::new(Shelf::default());
        let holdings = Arc::clone(&shelf) as Arc<dyn Holdings>;
        let (handle, service) = start(config, standing, holdings, desk, stop.clone()).unwrap();
        Self {
            handle,
            shelf,
            service,
            stop,
        }
    }

    /// Waits until the peers are these, by name.
    pub(crate) async fn sees(&self, names: &[&str]) -> Vec<PeerInfo> {
        let mut peers = self.handle.watch_peers();
        let wanted = |list: &Arc<[PeerInfo]>| {
            let mut listed: Vec<_> = list.iter().map(|peer| peer.name.as_str()).collect();
            listed.sort_unstable();
            listed == names
        };
        let seen = tokio::time::timeout(PATIENCE, peers.wait_for(wanted)).await;
        let list = seen.map(|list| list.unwrap().to_vec());
        list.unwrap_or_else(|_| {
            let (peers, rejected) = (self.handle.peers(), self.handle.rejected());
            panic!("wanted {names:?}, listed {peers:#?}, rejected {rejected:#?}")
        })
    }

    /// Waits for a refusal that fits.
    pub(crate) async fn refuses(&self, fits: impl Fn(&Rejected) -> bool) -> Rejected {
        let found = eventually(|| self.handle.rejected().into_iter().find(&fits)).await;
        found.unwrap_or_else(|| panic!("rejected: {:#?}", self.handle.rejected()))
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.service.join()).await;
        ended.expect("discovery stops").unwrap();
    }
}

/// Asks again and again until there is an answer or patience ends.
pub(crate) async fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let asked = async {
        let mut pause = tokio::time::interval(Duration::from_millis(5));
        loop {
            pause.tick().await;
            if let Some(answer) = ask() {
                return answer;
            }
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.ok()
}

/// A multicast group with a port that no other test uses.
pub(crate) fn group() -> SocketAddrV4 {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    SocketAddrV4::new(Ipv4Addr::new(239, 255, 73, 81), port)
}

/// The standing of a member of a domain that has revoked nobody yet.
pub(crate) fn standing(member: &Membership) -> Standing {
    Standing::new(member, Revocations::in_memory(member)).unwrap()
}

/// A node on a loopback address; the system chooses the control port.
pub(crate) fn config(ip: &str, beacon: Option<SocketAddrV4>) -> Config {
    let listen = SocketAddr::new(ip.parse().unwrap(), 7381);
    Config {
        control_port: 0,
        beacon,
        ..Config::for_listen(listen)
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}
