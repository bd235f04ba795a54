//! The node's part in its domain: finds peers, serves them and lets new members in.
//!
//! The membership is files, and may be made or changed by another process while the
//! node runs. They are looked at again and again, and whenever somebody says so; on a
//! change everything that stands on the old membership ends before the new begins.

pub(crate) mod renewal;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use potluck_cache::Cache;
use potluck_content::{ContentId, Manifest};
use potluck_discovery::{
    Config, DiscoveryEvent, DiscoveryHandle, Holding, Holdings, JoinEvent, JoinServer,
    JoinServerConfig, Membership, MembershipWatch, PortKind, PortTls, Wanted,
};
use potluck_plan::ServeQueueConfig;
use potluck_transfer::{
    CacheHoldings, DomainTrust, EngineHandle, Neighbours, PeerServer, PeerServerConfig, Trust,
};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Peering as Settings, Settings as AllSettings};
use crate::events::EventLog;
use crate::timestamp::rfc3339;

/// How often the membership is looked at, and how soon a port that could not be opened
/// is tried again. Who changes the membership through the daemon says so; this is for
/// the files being changed by hand, and a node at rest should rest.
const LOOK: Duration = Duration::from_secs(5);
/// How long a change of the membership may take to have effect before the caller is
/// answered all the same.
const CHANGE_LIMIT: Duration = Duration::from_secs(1);

/// The node's part in its domain. Clones are handles on the same one.
#[derive(Clone)]
pub struct Peering {
    circle: watch::Receiver<Circle>,
    look: Arc<Notify>,
    join: Arc<JoinServer>,
}

/// What there is at the moment.
#[derive(Clone, Default)]
struct Circle {
    membership: Option<Membership>,
    discovery: Option<DiscoveryHandle>,
    /// Why there is no more than this.
    trouble: Option<String>,
}

struct PeeringTask {
    settings: Settings,
    cache: Cache,
    engine: EngineHandle,
    events: EventLog,
    watch: Option<MembershipWatch>,
    circle: watch::Sender<Circle>,
    running: Option<Running>,
}

/// What stands on one membership.
struct Running {
    stop: CancellationToken,
    trust: Arc<DomainTrust>,
    tasks: JoinSet<()>,
    server: Option<PeerServer>,
}

impl Peering {
    /// Begins to take part, as soon as there is a membership in the data directory.
    #[must_use]
    pub fn start(
        settings: &AllSettings,
        cache: Cache,
        engine: EngineHandle,
        events: EventLog,
        stop: CancellationToken,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let (circle_sender, circle) = watch::channel(Circle::default());
        let look = Arc::new(Notify::new());
        let (join_events, joins) = mpsc::channel(64);
        let listen = join_address(settings.peering.listen);
        let config = JoinServerConfig::new(&settings.data_dir, listen);
        let join = Arc::new(JoinServer::start(config, stop.clone(), join_events));
        tasks.spawn(log_joins(joins, events.clone()));
        let events_of_renewals = events.clone();
        let task = PeeringTask {
            settings: settings.peering.clone(),
            cache,
            engine,
            events,
            watch: Some(MembershipWatch::new(&settings.data_dir)),
            circle: circle_sender,
            running: None,
        };
        tasks.spawn(task.run(Arc::clone(&look), stop.clone()));
        let peering = Self { circle, look, join };
        tasks.spawn(renewal::run(
            settings,
            peering.clone(),
            events_of_renewals,
            stop,
        ));
        peering
    }

    /// The way to the peers; `None` while the node is in no domain or has no peers.
    #[must_use]
    pub fn discovery(&self) -> Option<DiscoveryHandle> {
        self.circle.borrow().discovery.clone()
    }

    /// The domain that the node is in.
    #[must_use]
    pub fn membership(&self) -> Option<Membership> {
        self.circle.borrow().membership.clone()
    }

    /// What keeps the node from taking part, in words.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.circle.borrow().trouble.clone()
    }

    /// Says that the membership or the invitations in the data directory changed, and
    /// waits a moment for it to take effect.
    pub async fn membership_changed(&self) {
        let mut circle = self.circle.clone();
        circle.mark_unchanged();
        self.look.notify_one();
        self.join.refresh();
        // An invitation changes nothing here, so nothing may come: that is no failure.
        let _ = tokio::time::timeout(CHANGE_LIMIT, circle.changed()).await;
    }

    /// Waits for the next change of what there is; fails when the node stops.
    pub(crate) async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        self.circle.changed().await
    }

    /// Where new members are let in and members renew, while the authority lives here.
    #[must_use]
    pub fn join_address(&self) -> Option<SocketAddr> {
        *self.join.address().borrow()
    }
}

impl PeeringTask {
    async fn run(mut self, look: Arc<Notify>, stop: CancellationToken) {
        loop {
            self.look_again().await;
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = look.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        self.end().await;
    }

    async fn look_again(&mut self) {
        let Some(mut watch) = self.watch.take() else {
            return;
        };
        let looked = tokio::task::spawn_blocking(move || {
            let change = watch.check();
            (watch, change)
        });
        let Ok((watch, change)) = looked.await else {
            // The look panicked; the watch is lost with it.
            return self.say_trouble("the membership cannot be watched any more".to_owned());
        };
        self.watch = Some(watch);
        match change {
            None => self.open_port_again().await,
            Some(Ok(None)) => {
                self.end().await;
                self.circle.send_replace(Circle::default());
            }
            Some(Ok(Some(membership))) => {
                self.end().await;
                self.begin(membership).await;
            }
            Some(Err(error)) => {
                self.end().await;
                self.say_trouble(error.to_string());
            }
        }
    }

    async fn begin(&mut self, membership: Membership) {
        self.events.record(
            "domain_entered",
            None,
            json!({
                "domain": membership.domain_name().to_string(),
                "id": membership.domain_id().to_string(),
                "node": membership.node_name().to_string(),
                "peer_id": membership.peer_id().to_string(),
                "certificate_expires": rfc3339(membership.expires()),
            }),
        );
        let mut circle = Circle {
            membership: Some(membership.clone()),
            ..Circle::default()
        };
        if self.settings.enabled {
            match self.start_peering(&membership).await {
                Ok(discovery) => circle.discovery = Some(discovery),
                Err(reason) => self.note_trouble(&mut circle, reason),
            }
        }
        self.circle.send_replace(circle);
        self.open_port_again().await;
    }

    async fn start_peering(&mut self, membership: &Membership) -> Result<DiscoveryHandle, String> {
        let tls = PortTls::data(membership).map_err(|error| error.to_string())?;
        let holdings: Arc<dyn Holdings> = if self.settings.serve {
            Arc::new(CacheHoldings::new(self.cache.clone()))
        } else {
            Arc::new(Nothing)
        };
        let stop = CancellationToken::new();
        let config = self.discovery_config();
        let (discovery, service) =
            potluck_discovery::start(&config, membership, holdings, stop.clone())
                .map_err(|error| error.to_string())?;
        let trust = Arc::new(DomainTrust::new(tls, discovery.clone()));
        let mut tasks = JoinSet::new();
        tasks.spawn(log_peers(
            discovery.subscribe(),
            self.events.clone(),
            stop.clone(),
        ));
        tasks.spawn(async move {
            if let Err(error) = service.join().await {
                tracing::error!(%error, "finding peers broke down");
            }
        });
        if self.settings.download {
            let neighbours: Arc<dyn Neighbours> = Arc::new(discovery.clone());
            let trust: Arc<dyn Trust> = trust.clone();
            self.engine.set_domain(Some((neighbours, trust)));
        }
        self.running = Some(Running {
            stop,
            trust,
            tasks,
            server: None,
        });
        Ok(discovery)
    }

    /// Opens the data port if it should be open and is not.
    async fn open_port_again(&mut self) {
        let Some(running) = &mut self.running else {
            return;
        };
        if !self.settings.serve || running.server.is_some() {
            return;
        }
        let started = match TcpListener::bind(self.settings.listen).await {
            Ok(listener) => PeerServer::start(
                PeerServerConfig {
                    queue: ServeQueueConfig {
                        max_clients: u32::try_from(self.settings.max_clients).unwrap_or(u32::MAX),
                        ..ServeQueueConfig::default()
                    },
                    ..PeerServerConfig::default()
                },
                listener,
                running.trust.clone(),
                Arc::new(CacheHoldings::new(self.cache.clone())),
                self.engine.rates().clone(),
                self.engine.traffic().clone(),
            ),
            Err(error) => Err(error),
        };
        match started {
            Ok(server) => {
                tracing::info!(address = %server.address(), "serving peers");
                running.server = Some(server);
                self.circle
                    .send_if_modified(|circle| circle.trouble.take().is_some());
            }
            Err(error) => self.say_trouble(format!(
                "cannot serve peers on {}: {error}; it is tried again every 5 s",
                self.settings.listen
            )),
        }
    }

    async fn end(&mut self) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        self.engine.set_domain(None);
        self.circle.send_modify(|circle| circle.discovery = None);
        running.stop.cancel();
        drop(running.server.take());
        while running.tasks.join_next().await.is_some() {}
    }

    fn discovery_config(&self) -> Config {
        let settings = &self.settings;
        Config {
            interfaces: settings.interfaces.clone(),
            beacon: settings.beacon,
            static_peers: settings.static_peers.clone(),
            max_peers: settings.max_peers,
            ..Config::for_listen(settings.listen)
        }
    }

    fn say_trouble(&mut self, reason: String) {
        let mut circle = self.circle.borrow().clone();
        self.note_trouble(&mut circle, reason);
        self.circle.send_replace(circle);
    }

    fn note_trouble(&self, circle: &mut Circle, reason: String) {
        if circle.trouble.as_ref() != Some(&reason) {
            tracing::warn!(%reason, "cannot take part in the domain as wanted");
            self.events
                .record("peering_trouble", None, json!({ "reason": reason }));
            circle.trouble = Some(reason);
        }
    }
}

/// Control connections arrive one port above the data port.
pub(crate) fn control_address(mut listen: SocketAddr) -> SocketAddr {
    if listen.port() != 0 {
        listen.set_port(listen.port().saturating_add(1));
    }
    listen
}

/// New members are let in two ports above the data port.
pub(crate) fn join_address(mut listen: SocketAddr) -> SocketAddr {
    if listen.port() != 0 {
        listen.set_port(listen.port().saturating_add(2));
    }
    listen
}

/// The answer of a node that serves nobody.
struct Nothing;

impl Holdings for Nothing {
    fn have(&self, wanted: &[Wanted]) -> Vec<Option<Holding>> {
        vec![None; wanted.len()]
    }

    fn manifest(&self, _: &ContentId) -> Option<Manifest> {
        None
    }
}

/// Puts what happens to the peer list into the event log.
async fn log_peers(
    mut heard: broadcast::Receiver<DiscoveryEvent>,
    events: EventLog,
    stop: CancellationToken,
) {
    loop {
        let event = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            event = heard.recv() => event,
        };
        match event {
            Ok(event) => log_peer(&event, &events),
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "events of the peer list were lost");
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

fn log_peer(event: &DiscoveryEvent, events: &EventLog) {
    match event {
        DiscoveryEvent::PeerAdded(peer) => events.record(
            "peer_added",
            None,
            json!({
                "id": peer.id.to_string(),
                "name": peer.name,
                "address": peer.address.to_string(),
                "certificate_expires": rfc3339(peer.certificate_expires),
            }),
        ),
        DiscoveryEvent::PeerRemoved { peer, departure } => events.record(
            "peer_removed",
            None,
            json!({
                "id": peer.id.to_string(),
                "name": peer.name,
                "address": peer.address.to_string(),
                "reason": departure.to_string(),
            }),
        ),
        // The first of a kind only: a stranger that knocks on and on fills no log.
        DiscoveryEvent::PeerRejected(rejected) if rejected.count == 1 => events.record(
            "peer_rejected",
            None,
            json!({
                "id": rejected.id.map(|id| id.to_string()),
                "name": rejected.name,
                "address": rejected.address.to_string(),
                "port": match rejected.port {
                    PortKind::Control => "control",
                    PortKind::Data => "data",
                },
                "reason": rejected.reason.to_string(),
            }),
        ),
        DiscoveryEvent::PeerRejected(_) => {}
    }
}

/// Puts what happens at the join port into the event log.
async fn log_joins(mut joins: mpsc::Receiver<JoinEvent>, events: EventLog) {
    while let Some(event) = joins.recv().await {
        match event {
            JoinEvent::Listening(address) => events.record(
                "domain_open",
                None,
                json!({ "address": address.to_string() }),
            ),
            JoinEvent::Closed => events.record("domain_closed", None, json!({})),
            JoinEvent::Trouble(reason) => {
                events.record("domain_trouble", None, json!({ "reason": reason }));
            }
            JoinEvent::Joined {
                name,
                peer_id,
                address,
                expires,
            } => events.record(
                "domain_joined",
                None,
                json!({
                    "id": peer_id.to_string(),
                    "name": name.to_string(),
                    "address": address.to_string(),
                    "certificate_expires": rfc3339(expires),
                }),
            ),
            JoinEvent::Renewed {
                name,
                peer_id,
                address,
                expires,
            } => events.record(
                "domain_renewed",
                None,
                json!({
                    "id": peer_id.to_string(),
                    "name": name.to_string(),
                    "address": address.to_string(),
                    "certificate_expires": rfc3339(expires),
                }),
            ),
            JoinEvent::Refused { address, reason } => events.record(
                "domain_refused",
                None,
                json!({ "address": address.to_string(), "reason": reason }),
            ),
        }
    }
}
