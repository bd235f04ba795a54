//! What stands on one membership: peers are found, asked and served.

use std::sync::Arc;

use potluck_cache::Cache;
use potluck_content::{ContentId, Manifest};
use potluck_discovery::{
    Config, DiscoveryHandle, Holding, Holdings, Membership, RenewError, Revocations, Standing,
    SwarmDesk, Wanted, listen,
};
use potluck_plan::{ServeLimits, ServeQueueConfig};
use potluck_transfer::{
    CacheHoldings, DomainTrust, EngineHandle, Neighbours, PeerServer, PeerServerConfig, Swarms,
    Trust,
};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Peering as Settings;
use crate::events::EventLog;
use crate::peering::event_log::{log_exposures, log_peers};

/// The parts of the node that taking part needs.
pub(super) struct Parts {
    pub(super) settings: Settings,
    pub(super) cache: Cache,
    pub(super) engine: EngineHandle,
    pub(super) events: EventLog,
}

/// The node takes part in a domain.
pub(super) struct Running {
    stop: CancellationToken,
    discovery: DiscoveryHandle,
    trust: Arc<DomainTrust>,
    tasks: JoinSet<()>,
    swarms: Option<Swarms>,
    server: Option<PeerServer>,
}

impl Running {
    /// Begins to find and ask peers. The data port is opened by
    /// [`open_port`](Self::open_port).
    ///
    /// # Errors
    /// Why it cannot, in words.
    pub(super) fn start(
        parts: &Parts,
        membership: &Membership,
        revocations: Revocations,
    ) -> Result<Self, String> {
        let standing = Standing::new(membership, revocations).map_err(|error| error.to_string())?;
        let holdings: Arc<dyn Holdings> = if parts.settings.serve {
            Arc::new(CacheHoldings::new(parts.cache.clone()).with_limits(limits(&parts.settings)))
        } else {
            Arc::new(Nothing)
        };
        // Who takes and gives nothing would be a burden to the others.
        let settings = &parts.settings;
        let takes_part = settings.serve && settings.download;
        let swarms = takes_part.then(|| {
            let (me, notary) = (standing.peer_id(), Arc::new(standing.clone()));
            Swarms::new(&me, parts.cache.clone(), notary, limits(settings))
        });
        let desk: Option<Arc<dyn SwarmDesk>> = swarms.as_ref().map(Swarms::desk);
        if membership.beacon_key().is_none() {
            tracing::warn!(
                "no domain.beacon_key_file: peers are found by peering.static_peers alone"
            );
        }
        let stop = CancellationToken::new();
        let config = discovery_config(&parts.settings);
        let (discovery, service) =
            potluck_discovery::start(&config, &standing, holdings, desk, stop.clone())
                .map_err(|error| error.to_string())?;
        let trust = Arc::new(DomainTrust::new(discovery.clone()));
        let mut tasks = JoinSet::new();
        tasks.spawn(log_peers(
            discovery.subscribe(),
            parts.events.clone(),
            stop.clone(),
        ));
        tasks.spawn(async move {
            if let Err(error) = service.join().await {
                tracing::error!(%error, "finding peers broke down");
            }
        });
        if parts.settings.download {
            let neighbours: Arc<dyn Neighbours> = Arc::new(discovery.clone());
            let trust: Arc<dyn Trust> = trust.clone();
            if let Some(swarms) = &swarms {
                tasks.spawn(log_exposures(
                    swarms.exposures(),
                    parts.events.clone(),
                    stop.clone(),
                ));
                swarms.connect(Arc::clone(&neighbours));
                parts.engine.set_swarms(Some(swarms.clone()));
            }
            parts.engine.set_domain(Some((neighbours, trust)));
        }
        Ok(Self {
            stop,
            discovery,
            trust,
            tasks,
            swarms,
            server: None,
        })
    }

    /// The way to the peers.
    pub(super) fn discovery(&self) -> &DiscoveryHandle {
        &self.discovery
    }

    /// Takes a renewed membership; everything that runs goes on.
    ///
    /// # Errors
    /// When it is another membership, or cannot be used.
    pub(super) fn renew(&self, membership: &Membership) -> Result<(), RenewError> {
        self.discovery.standing().renew(membership)
    }

    /// Opens the data port if it should be open and is not. `true` when it was opened.
    ///
    /// # Errors
    /// Why it cannot be opened, in words.
    pub(super) async fn open_port(&mut self, parts: &Parts) -> Result<bool, String> {
        let settings = &parts.settings;
        if !settings.serve || self.server.is_some() {
            return Ok(false);
        }
        let started = match listen(settings.listen) {
            Ok(listener) => PeerServer::start(
                PeerServerConfig {
                    queue: ServeQueueConfig {
                        max_clients: u32::try_from(settings.max_clients).unwrap_or(u32::MAX),
                        ..ServeQueueConfig::default()
                    },
                    ..PeerServerConfig::default()
                },
                listener,
                self.trust.clone(),
                Arc::new(self.shelf(parts)),
                parts.engine.rates().clone(),
                parts.engine.traffic().clone(),
            ),
            Err(error) => Err(error),
        };
        let server = started.map_err(|error| {
            format!(
                "cannot serve peers on {}: {error}; it is tried again every 5 s",
                settings.listen
            )
        })?;
        tracing::info!(address = %server.address(), "serving peers");
        self.server = Some(server);
        Ok(true)
    }

    /// What peers may take.
    fn shelf(&self, parts: &Parts) -> CacheHoldings {
        let holdings = CacheHoldings::new(parts.cache.clone());
        match &self.swarms {
            Some(swarms) => holdings.with_swarms(swarms.shelf()),
            None => holdings,
        }
    }

    /// Ends all of it.
    pub(super) async fn end(mut self, parts: &Parts) {
        parts.engine.set_domain(None);
        parts.engine.set_swarms(None);
        if let Some(swarms) = &self.swarms {
            swarms.disconnect();
        }
        let peers = self.discovery.peers().len();
        if peers > 0 {
            parts
                .events
                .record("peers_cleared", None, json!({ "count": peers }));
        }
        self.stop.cancel();
        drop(self.server.take());
        while self.tasks.join_next().await.is_some() {}
    }
}

/// What this node serves at most, as others are told.
fn limits(settings: &Settings) -> ServeLimits {
    ServeLimits {
        clients: u32::try_from(settings.max_clients).unwrap_or(u32::MAX),
        rate: settings.max_bandwidth_served,
    }
}

fn discovery_config(settings: &Settings) -> Config {
    Config {
        interfaces: settings.interfaces.clone(),
        beacon: settings.beacon,
        beacon6: settings.beacon6,
        static_peers: settings.static_peers.clone(),
        max_peers: settings.max_peers,
        peer_timeout: settings.peer_timeout,
        ..Config::for_listen(settings.listen)
    }
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
