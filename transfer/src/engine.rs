//! Transfers of files: asks, plans, fetches, verifies and stores.

mod audits;
mod beside;
mod beside_run;
mod cache_steps;
mod cutting;
mod exposing;
mod fetch;
mod file_run;
mod file_task;
mod key_locks;
mod manifest_sites;
mod neighbours;
mod once;
mod once_proven;
mod packing;
mod piece_run;
mod piece_store;
mod request;
mod run_events;
mod search;
mod share;
mod stream_run;
mod swarms;
mod together;
mod whole_check;
mod wish;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use potluck_cache::{Cache, CacheError};
use potluck_content::{ContentId, Entity};
use potluck_plan::{FilePlanConfig, Rate};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::origin::OriginClient;
use crate::peer_client::PeerClient;
use crate::rates::Rates;
use crate::traffic::TrafficCounts;
use crate::trust::Trust;
use file_task::FileTask;
use key_locks::KeyLocks;
use manifest_sites::ManifestSites;

pub use neighbours::{Asking, Neighbours};
pub use request::{FileDone, FileRequest, Progress, Stage, TransferError};
pub use share::Share;
pub use swarms::Swarms;
pub use wish::ranges_key;

/// How files are transferred.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Requests to the origin at once, per file.
    pub origin_connections: u32,
    /// While peers together deliver less, the origin tops up.
    pub min_peer_rate: Rate,
    /// How long background jobs leave it to the peers alone.
    pub origin_delay: Duration,
    /// What is given to peers.
    pub share: Share,
    /// How much of a content the members of its swarm together compare with the origin,
    /// where nothing else vouches for it. From 0 to 1.
    pub audit_share: f64,
    /// Peers that are asked who holds a content; a random choice, so that no peer is
    /// asked by everybody.
    pub max_asked: usize,
    /// How soon peers are asked again while a transfer lasts; then at ever longer
    /// intervals, a minute at most.
    pub ask_again: Duration,
    /// For random choices.
    pub seed: u64,
}

impl Default for EngineConfig {
    fn default() -> Self {
        let plan = FilePlanConfig::default();
        Self {
            origin_connections: plan.origin_connections,
            min_peer_rate: plan.min_peer_rate,
            origin_delay: plan.origin_delay,
            share: Share::default(),
            audit_share: 0.01,
            max_asked: 16,
            ask_again: Duration::from_secs(5),
            seed: 0,
        }
    }
}

/// The engine.
pub struct Engine;

/// A handle on the engine. Cheap to clone.
#[derive(Clone)]
pub struct EngineHandle(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) config: RwLock<EngineConfig>,
    pub(crate) cache: Cache,
    pub(crate) origin: OriginClient,
    pub(crate) rates: Rates,
    pub(crate) traffic: TrafficCounts,
    pub(crate) domain: RwLock<Option<Domain>>,
    swarms: RwLock<Option<Swarms>>,
    pub(crate) locks: KeyLocks,
    pub(crate) manifests: ManifestSites,
    random: AtomicU64,
}

/// The domain that the engine takes part in.
#[derive(Clone)]
pub(crate) struct Domain {
    pub(crate) neighbours: Arc<dyn Neighbours>,
    pub(crate) peers: PeerClient,
}

/// A transfer under way. Dropping it cancels it; what came is kept for the next try.
pub struct Transfer {
    progress: watch::Receiver<Progress>,
    outcome: oneshot::Receiver<Result<FileDone, TransferError>>,
    task: JoinHandle<()>,
}

impl Engine {
    /// Starts an engine that knows no peers yet.
    #[must_use]
    pub fn start(
        config: EngineConfig,
        cache: Cache,
        origin: OriginClient,
        rates: Rates,
        traffic: TrafficCounts,
    ) -> EngineHandle {
        let random = AtomicU64::new(config.seed);
        EngineHandle(Arc::new(Inner {
            config: RwLock::new(config),
            cache,
            origin,
            rates,
            traffic,
            domain: RwLock::new(None),
            swarms: RwLock::new(None),
            locks: KeyLocks::default(),
            manifests: ManifestSites::default(),
            random,
        }))
    }
}

impl EngineHandle {
    /// Takes part in a domain from now on, or in none. Transfers under way go on as
    /// they began.
    pub fn set_domain(&self, domain: Option<(Arc<dyn Neighbours>, Arc<dyn Trust>)>) {
        let domain = domain.map(|(neighbours, trust)| Domain {
            neighbours,
            peers: PeerClient::new(trust, self.0.traffic.clone()),
        });
        *self
            .0
            .domain
            .write()
            .unwrap_or_else(PoisonError::into_inner) = domain;
    }

    /// Fetches files together with the other members of the domain from now on, where
    /// [`EngineConfig::share`] says so; or alone.
    pub fn set_swarms(&self, swarms: Option<Swarms>) {
        *self
            .0
            .swarms
            .write()
            .unwrap_or_else(PoisonError::into_inner) = swarms;
    }

    /// Changes the settings of transfers that begin from now on.
    pub fn set_config(&self, config: EngineConfig) {
        *self
            .0
            .config
            .write()
            .unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// Begins to transfer a file.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn transfer(&self, request: FileRequest) -> Transfer {
        let (shown, progress) = watch::channel(Progress {
            accounting: request.before,
            swarm: request.swarm_before,
            ..Progress::default()
        });
        let (done, outcome) = oneshot::channel();
        let task = FileTask::new(Arc::clone(&self.0), request, shown);
        let task = tokio::spawn(async move {
            // Nobody waits for the outcome only when the transfer was dropped.
            let _ = done.send(Box::pin(task.run()).await);
        });
        Transfer {
            progress,
            outcome,
            task,
        }
    }

    /// Vouches for a content: the job that transferred it accepted it. With an entity,
    /// peers can find it by that. Blocks: call it on the blocking pool.
    ///
    /// # Errors
    /// When the content is no longer held, or the disk fails.
    pub fn validate(&self, content: &ContentId, entity: Option<&Entity>) -> Result<(), CacheError> {
        self.0.cache.vouch(content, entity)
    }

    /// Waits until every transfer has ended and what came of those that were stopped is
    /// durable. The node calls it before it ends.
    pub async fn at_rest(&self) {
        self.0.locks.at_rest().await;
    }

    /// Whether no transfer works on a content just now.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.0.locks.is_at_rest()
    }

    /// The cache.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.0.cache
    }

    /// The caps.
    #[must_use]
    pub fn rates(&self) -> &Rates {
        &self.0.rates
    }

    /// Bytes of the manifests that lie beside files, which are in no file's count.
    #[must_use]
    pub fn manifest_bytes(&self) -> u64 {
        self.0.manifests.received()
    }

    /// Bytes between this node and its peers.
    #[must_use]
    pub fn traffic(&self) -> &TrafficCounts {
        &self.0.traffic
    }
}

impl Inner {
    pub(crate) fn config(&self) -> EngineConfig {
        self.config
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn swarms(&self) -> Option<Swarms> {
        self.swarms
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn domain(&self) -> Option<Domain> {
        self.domain
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The next number of a fixed sequence that looks random (SplitMix64).
    pub(crate) fn random(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let state = self
            .random
            .fetch_add(STEP, Ordering::Relaxed)
            .wrapping_add(STEP);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Transfer {
    /// How far it is, as it changes.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Waits for its end. Safe to cancel; call it once.
    ///
    /// # Errors
    /// When the file could not be transferred.
    pub async fn outcome(&mut self) -> Result<FileDone, TransferError> {
        (&mut self.outcome).await.unwrap_or_else(|_| {
            let context = potluck_plan::ErrorContext::Queue;
            Err(TransferError::new(
                "internal",
                context,
                "the transfer broke down",
                true,
            ))
        })
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
