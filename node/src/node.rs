//! One running node: the daemon, the node inside `potluck get`, each node of the demo.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use potluck_cache::{Cache, CacheError};
use potluck_discovery::NetworkWatch;
use potluck_plan::GovernorConfig;
use potluck_transfer::origin::{OriginClient, OriginConfig};
use potluck_transfer::{Engine, EngineConfig, EngineHandle, Rates, TrafficCounts};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::api::descriptors::DescriptorSocket;
use crate::api::{self, State, Turns};
use crate::config::Settings;
use crate::contents::Contents;
use crate::engine_fetcher::EngineFetcher;
use crate::events::{EventLog, EventWriter};
use crate::jobs::{JobStore, JobsConfig, JobsTask, StoreError, Surroundings};
use crate::peering::Peering;
use crate::scrub;
use crate::stats::Stats;

/// How long stopping may take.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// After the first peer was found, how long the others may take.
const PEER_SETTLE: Duration = Duration::from_millis(100);
/// How often counters and access times are made durable, in seconds.
const SAVE_EVERY: u64 = 60;
/// How often contents that are too old are let go, in seconds: their ages are of days.
const EXPIRE_EVERY: u64 = 3_600;

/// A node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Another node works on the data directory.
    #[error("{0}")]
    InUse(CacheError),
    /// The data directory cannot be used.
    #[error("cannot use the data directory {}: {source}", path.display())]
    DataDir {
        /// The directory or a file in it.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The cache cannot be opened.
    #[error("cannot open the cache: {0}")]
    Cache(CacheError),
    /// The jobs cannot be read.
    #[error("cannot read the jobs: {0}")]
    Store(#[from] StoreError),
    /// The trust roots cannot be read.
    #[error("transfer.ca_files: {0}")]
    Roots(String),
    /// The socket cannot be opened.
    #[error("cannot open the socket {}: {source}", path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Metrics cannot be served.
    #[error("control.http: cannot listen on {address}: {source}")]
    Http {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// A running node. Call [`Node::stop`] to end it in order.
pub struct Node {
    state: State,
    writer: EventWriter,
    jobs: JoinHandle<()>,
    peering: JoinSet<()>,
    api: JoinSet<()>,
    stop_jobs: CancellationToken,
    stop_peering: CancellationToken,
    stop_api: CancellationToken,
}

/// What is opened before anything runs, all of it blocking.
struct Opened {
    cache: Cache,
    events: EventLog,
    writer: EventWriter,
    stats: Stats,
    store: JobStore,
}

impl Node {
    /// Starts a node. Its control socket answers when this returns.
    ///
    /// # Errors
    /// When the data directory is in use or cannot be used, or the socket is taken.
    pub async fn start(settings: Settings) -> Result<Self, NodeError> {
        let jobs_dir = settings.data_dir.join("jobs");
        let mut node = Self::start_with(settings, jobs_dir).await?;
        // Finished files that did not fit into the cache were kept for jobs; those that
        // no job has claimed by now are nobody's.
        let cache = node.state.cache.clone();
        blocking(move || cache.drop_unclaimed()).await;
        if let Some(rate) = node.state.settings.cache.scrub {
            let (state, stop) = (node.state.clone(), node.stop_api.clone());
            node.api.spawn(scrub::run(state, rate, stop));
        }
        Ok(node)
    }

    /// Starts a node for the length of one command: it shares cache and membership with
    /// the daemon of the same data directory, but not its jobs, which are kept in
    /// `jobs_dir` instead.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn start_embedded(settings: Settings, jobs_dir: PathBuf) -> Result<Self, NodeError> {
        Self::start_with(settings, jobs_dir).await
    }

    async fn start_with(settings: Settings, jobs_dir: PathBuf) -> Result<Self, NodeError> {
        let settings = Arc::new(settings);
        let opened = {
            let settings = Arc::clone(&settings);
            blocking(move || open(&settings, &jobs_dir)).await?
        };
        let (cache, events, stats) = (opened.cache, opened.events, opened.stats);
        let engine = start_engine(&settings, cache.clone())?;
        let (network, around) = look_around(&settings);
        let (jobs, jobs_task) = {
            let (cache, events, stats) = (cache.clone(), events.clone(), stats.clone());
            let fetcher = Arc::new(EngineFetcher(engine.clone()));
            let (config, store) = (jobs_config(&settings), opened.store);
            let open = move || JobsTask::open(config, store, cache, fetcher, events, stats, around);
            blocking(open).await?
        };
        // The data is ours now, so a socket that is in use belongs to somebody else.
        let path = &settings.control.socket;
        let listener =
            api::bind(path, settings.control.users).map_err(|source| NodeError::Listen {
                path: path.clone(),
                source,
            })?;
        let descriptors = DescriptorSocket::open(path, settings.control.users);
        let metrics = match settings.control.http {
            None => None,
            Some(address) => Some(
                TcpListener::bind(address)
                    .await
                    .map_err(|source| NodeError::Http { address, source })?,
            ),
        };
        let stop_jobs = CancellationToken::new();
        let stop_peering = CancellationToken::new();
        let stop_api = CancellationToken::new();
        let mut peering_tasks = JoinSet::new();
        let peering = Peering::start(
            &settings,
            cache.clone(),
            engine.clone(),
            events.clone(),
            stop_peering.clone(),
            &mut peering_tasks,
        );
        let state = State {
            jobs,
            peering,
            cache,
            engine,
            stats,
            events,
            handed_over: Arc::default(),
            readings: Arc::new(Turns::new(api::READINGS)),
            long_bodies: Arc::new(Turns::new(api::LONG_BODIES)),
            long_answers: Arc::new(Turns::new(api::LONG_ANSWERS)),
            settings,
            stopping: stop_api.clone(),
        };
        let mut api = JoinSet::new();
        api.spawn(api::serve(listener, state.clone()));
        if let Some(socket) = descriptors {
            api.spawn(socket.serve(state.clone()));
        }
        if let Some(listener) = metrics {
            api.spawn(api::serve_metrics(listener, state.clone()));
        }
        api.spawn(tidy(state.clone(), stop_api.clone()));
        if let Some(network) = network {
            api.spawn(network.run(stop_api.clone()));
        }
        Ok(Self {
            state,
            writer: opened.writer,
            jobs: tokio::spawn(jobs_task.run(stop_jobs.clone())),
            peering: peering_tasks,
            api,
            stop_jobs,
            stop_peering,
            stop_api,
        })
    }

    /// The parts of the node.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Where it is controlled.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.state.settings.control.socket
    }

    /// Waits until there is a peer, where the node is in a domain, but no longer than
    /// `limit`: a transfer that begins before the first peer was found goes without.
    pub async fn await_peers(&self, limit: Duration) {
        let source = self.state.settings.membership_source();
        let is_member = blocking(move || source.load()).await;
        if !self.state.settings.peering.enabled || !matches!(is_member, Ok(Some(_))) {
            return;
        }
        let found = async {
            loop {
                let discovery = self.state.peering.discovery();
                if discovery.is_some_and(|discovery| !discovery.peers().is_empty()) {
                    // The others answer at about the same time, and any of them may be
                    // the one that holds what is wanted.
                    return tokio::time::sleep(PEER_SETTLE).await;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        // No peer in time is no failure: everything comes from the origin then.
        let _ = tokio::time::timeout(limit, found).await;
    }

    /// Returns only if a part of the node ended by itself, which is a fault.
    pub async fn failed(&mut self) {
        let part = tokio::select! {
            _ = &mut self.jobs => "jobs",
            Some(_) = self.api.join_next() => "control",
            () = panicked(&mut self.peering) => "peering",
        };
        tracing::error!(part, "a part of the node ended by itself");
    }

    /// Stops in order: jobs at rest, callers answered, peers told, everything durable.
    /// Says whether it was done within the time limit.
    pub async fn stop(self) -> bool {
        let state = self.state.clone();
        let in_time = tokio::time::timeout(STOP_LIMIT, self.wind_down())
            .await
            .is_ok();
        if !in_time {
            tracing::warn!("stopping took too long; what is left is cut off");
        }
        blocking(move || {
            save_counters(&state);
            state.cache.flush();
            // The socket is closed; a stale file would only puzzle people.
            let _ = fs::remove_file(&state.settings.control.socket);
        })
        .await;
        in_time
    }

    async fn wind_down(mut self) {
        self.state.cache.begin_shutdown();
        self.stop_jobs.cancel();
        if !self.jobs.is_finished() {
            // A panic was told when it happened.
            let _ = self.jobs.await;
        }
        // The transfers of the jobs have been told to stop: what they fetched is saved.
        self.state.engine.at_rest().await;
        // Callers hear of the jobs' last state before their connections end.
        self.stop_api.cancel();
        while self.api.join_next().await.is_some() {}
        self.stop_peering.cancel();
        while self.peering.join_next().await.is_some() {}
        self.state.events.stop();
        blocking(move || self.writer.join()).await;
    }
}

fn open(settings: &Settings, jobs_dir: &Path) -> Result<Opened, NodeError> {
    let dir = &settings.data_dir;
    let data_dir = |path: &Path, source| NodeError::DataDir {
        path: path.to_owned(),
        source,
    };
    make_data_dir(dir).map_err(|source| data_dir(dir, source))?;
    let config = settings.cache_config();
    let config = config.map_err(|error| data_dir(dir, error))?;
    let cache = Cache::open(config).map_err(|error| match error {
        CacheError::InUse { .. } => NodeError::InUse(error),
        error => NodeError::Cache(error),
    })?;
    let log = dir.join("events");
    let (events, writer) = EventLog::open(&log).map_err(|source| data_dir(&log, source))?;
    Ok(Opened {
        cache,
        events,
        writer,
        stats: Stats::open(&dir.join("stats.json"), SystemTime::now()),
        store: JobStore::open(jobs_dir)?,
    })
}

fn make_data_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

fn start_engine(settings: &Settings, cache: Cache) -> Result<EngineHandle, NodeError> {
    let origin = OriginClient::new(OriginConfig {
        ca_files: settings.transfer.ca_files.clone(),
        ..OriginConfig::default()
    })
    .map_err(|error| NodeError::Roots(error.to_string()))?;
    let rates = Rates::new(GovernorConfig {
        served: settings.peering.max_bandwidth_served,
        downloads: settings.transfer.max_bandwidth,
    });
    let config = EngineConfig {
        origin_connections: u32::try_from(settings.transfer.origin_connections).unwrap_or(u32::MAX),
        min_peer_rate: settings.peering.min_peer_rate,
        origin_delay: settings.peering.origin_delay,
        share: settings.peering.share,
        audit_share: settings.peering.audit_share,
        // Without randomness every node asks the same peers first; nothing breaks.
        seed: getrandom::u64().unwrap_or_default(),
        ..EngineConfig::default()
    };
    let traffic = TrafficCounts::default();
    Ok(Engine::start(config, cache, origin, rates, traffic))
}

/// What goes on around the jobs. Where the links of this machine cannot be listed, there
/// is always a network.
fn look_around(settings: &Settings) -> (Option<NetworkWatch>, Surroundings) {
    match NetworkWatch::new() {
        Ok((watch, network)) => (Some(watch), Surroundings::new(&settings.data_dir, network)),
        Err(error) => {
            tracing::warn!(%error, "the network interfaces cannot be listed");
            let (_, network) = watch::channel(true);
            (None, Surroundings::new(&settings.data_dir, network))
        }
    }
}

fn jobs_config(settings: &Settings) -> JobsConfig {
    JobsConfig {
        limits: settings.transfer.limits,
        max_ranges_per_file: settings.transfer.max_ranges_per_file,
        times: settings.transfer.times,
        time_slice: settings.transfer.time_slice,
        use_peers: settings.peering.enabled && settings.peering.download,
        peers_opt_in: settings.peering.jobs_must_opt_in,
        hooks_allowed: settings.hooks_allowed.clone(),
        max_bandwidth: settings.transfer.max_bandwidth,
        own_uid: rustix::process::geteuid().as_raw(),
    }
}

/// Housekeeping, until the node stops.
async fn tidy(state: State, stop: CancellationToken) {
    let contents = Contents::new(state.cache.clone(), state.events.clone());
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut seconds = 0_u64;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        state.count_served();
        contents.log_notices();
        if seconds.is_multiple_of(SAVE_EVERY) {
            let state = state.clone();
            blocking(move || {
                save_counters(&state);
                state.cache.keep_min_free();
                state.cache.flush();
                if seconds.is_multiple_of(EXPIRE_EVERY) {
                    let evicted = state.cache.evict_expired(SystemTime::now());
                    tracing::debug!(?evicted, "old contents let go");
                }
            })
            .await;
        }
        seconds += 1;
    }
}

fn save_counters(state: &State) {
    state.count_served();
    if let Err(error) = state.stats.save() {
        tracing::warn!(%error, "the counters could not be saved");
    }
}

/// Returns when one of these tasks has panicked; some may end by themselves.
async fn panicked(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if ended.is_err() {
            return;
        }
    }
    std::future::pending().await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
