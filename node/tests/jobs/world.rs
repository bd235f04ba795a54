//! Jobs with a fetcher that does what the test says.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use potluck::events::EventLog;
use potluck::jobs::{
    Caller, Fetch, FetchError, FetchProgress, FetchRequest, Fetched, Fetcher, JobDocument,
    JobStore, JobsConfig, JobsHandle, JobsTask, NewFile, NewJob, Surroundings,
};
use potluck::stats::Stats;
use potluck_cache::Cache;
use potluck_content::{ContentId, Entity, Validator};
use potluck_plan::{
    Accounting, ErrorContext, JobError, JobLimits, JobState, JobTimes, Rate, Retry, SwarmCounts,
};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(super) const ME: Caller = Caller { uid: 1_000 };
pub(super) const OTHER: Caller = Caller { uid: 2_000 };
pub(super) const ROOT: Caller = Caller { uid: 0 };

/// URLs with `hang` in them never end, those with `missing` fail for good, those with
/// `busy`, `away` and `full` for now; those with `redirected` lead elsewhere; those with `peer` come from peers where they may;
/// those with `torn` bring ten bytes for nothing, and are away then; those with `together` are
/// fetched by a [`swarm`];
/// all others are a file of the bytes of their URL.
pub(super) struct Fake {
    pub(super) cache: Cache,
    pub(super) dir: PathBuf,
    pub(super) asked: Mutex<Vec<FetchRequest>>,
    pub(super) validated: Mutex<Vec<ContentId>>,
    pub(super) forgotten: Mutex<Vec<String>>,
    /// The version of all files with `versioned` in their URL, and after how many requests
    /// each next one is there. The origin has no word for the ninth.
    pub(super) versions: Mutex<(u32, Vec<usize>)>,
    /// How often what came was made durable, and how often that fails from now on.
    pub(super) syncs: Mutex<u32>,
    pub(super) sync_failures: Mutex<u32>,
    /// A content of which other bytes are on the disk once all was made durable, and
    /// whether that is known then.
    pub(super) spoiled: Mutex<Option<(ContentId, bool)>>,
    /// Bytes that came over the network.
    pub(super) wire: Arc<AtomicU64>,
}

impl Fake {
    fn validator(&self, url: &str) -> Option<Validator> {
        if !url.contains("versioned") {
            return None;
        }
        let asked = self.asked.lock().unwrap().len();
        let mut versions = self.versions.lock().unwrap();
        if versions.1.first().is_some_and(|after| asked > *after) {
            versions.1.remove(0);
            versions.0 += 1;
        }
        (versions.0 != 9).then(|| Validator::ETag(format!("\"{}\"", versions.0)))
    }
}

/// What each try at a file comes to that is fetched together with others.
pub(super) const fn swarm() -> SwarmCounts {
    SwarmCounts {
        members: 2,
        taken_over: 3,
        audited_pieces: 1,
        audited_bytes: 10,
        exposed: 1,
    }
}

impl Fake {
    fn spoil(&self, id: &ContentId, is_known: bool) {
        let lease = self.cache.lease(id).unwrap();
        let hex = id.to_hex();
        let contents = self.dir.join("data/contents");
        fs::write(contents.join(&hex[..2]).join(&hex[2..]), "other").unwrap();
        if is_known {
            lease.place(&self.dir.join("spoiled"), None).unwrap_err();
            assert!(lease.is_lost());
        }
    }
}

impl Fetcher for Fake {
    fn fetch(&self, request: FetchRequest) -> Fetch {
        self.asked.lock().unwrap().push(request.clone());
        let validator = self.validator(&request.url);
        let (shown, progress) = watch::channel(FetchProgress::default());
        let (cache, dir) = (self.cache.clone(), self.dir.clone());
        let wire = Arc::clone(&self.wire);
        let outcome = Box::pin(async move {
            let swarm = match request.url.contains("together") {
                true => swarm().after(&request.swarm_before),
                false => request.swarm_before,
            };
            let url = request.url.clone();
            let failed = |code: &str, retry| FetchError {
                error: JobError::new(code, ErrorContext::Origin, format!("{code} at {url}")),
                retry,
                accounting: Accounting::default(),
                swarm,
            };
            let first = 10 * u64::from(request.url.contains("large"));
            wire.fetch_add(first, Ordering::Relaxed);
            shown.send_replace(FetchProgress {
                connected: true,
                size: Some(match request.url.contains("large") {
                    true => 2 << 20,
                    false => request.url.len() as u64,
                }),
                validator: validator.clone(),
                accounting: Accounting {
                    origin: request.before.origin + first,
                    ..request.before
                },
                ..FetchProgress::default()
            });
            if request.url.contains("large") {
                // Time to see how large it is.
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
            }
            if request.url.contains("hang") {
                std::future::pending::<()>().await;
            }
            if request.url.contains("torn") {
                let mut accounting = request.before.wasted();
                accounting.add_discarded(first);
                return Err(FetchError {
                    accounting,
                    ..failed("origin_unreachable", Retry::At(None))
                });
            }
            if request.url.contains("missing") {
                return Err(failed("http_404", Retry::Never));
            }
            if request.url.contains("away") {
                return Err(failed("origin_unreachable", Retry::At(None)));
            }
            if request.url.contains("full") {
                return Err(failed("no_space", Retry::At(None)));
            }
            if request.url.contains("busy") {
                return Err(failed("http_503", Retry::At(None)));
            }
            let path = dir.join(format!("fetched-{}", request.file));
            fs::write(&path, &request.url).unwrap();
            let id = cache.add_file(&path, |_| {}).unwrap().id;
            let lease = cache.lease(&id).unwrap();
            wire.fetch_add(lease.size(), Ordering::Relaxed);
            let mut accounting = Accounting {
                discarded: request.before.discarded,
                ..Accounting::default()
            };
            match request.url.contains("peer") && request.use_peers {
                true => accounting.peers = lease.size(),
                false => accounting.origin = lease.size(),
            }
            Ok(Fetched {
                accounting,
                swarm,
                lease,
                troubles: Vec::new(),
                final_url: match url.contains("redirected") {
                    true => Some("http://elsewhere/link".to_owned()),
                    false => None,
                },
                response_headers: Vec::new(),
                validator,
                mtime: None,
                entity: None,
                shareable: true,
            })
        });
        Fetch { progress, outcome }
    }

    fn sync(&self) -> Result<(), JobError> {
        let mut failures = self.sync_failures.lock().unwrap();
        *self.syncs.lock().unwrap() += 1;
        if let Some((id, is_known)) = self.spoiled.lock().unwrap().take() {
            self.spoil(&id, is_known);
        }
        match failures.checked_sub(1) {
            Some(left) => {
                *failures = left;
                let context = ErrorContext::LocalFile;
                Err(JobError::new("cache_failed", context, "made up"))
            }
            None => Ok(()),
        }
    }

    fn validate(&self, content: &ContentId, _: Option<&Entity>) {
        self.validated.lock().unwrap().push(*content);
    }

    fn forget(&self, request: &FetchRequest, _: Option<&Entity>) {
        self.forgotten.lock().unwrap().push(request.url.clone());
    }
}

pub(super) struct World {
    pub(super) dir: TempDir,
    pub(super) config: JobsConfig,
    pub(super) fake: Arc<Fake>,
    pub(super) cache: Cache,
    pub(super) events: EventLog,
    pub(super) around: Surroundings,
    pub(super) stats: Stats,
    running: Option<(JobsHandle, JoinHandle<()>, CancellationToken)>,
}

impl World {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = potluck_cache::Config::new(dir.path().join("data"), 1 << 20);
        let cache = Cache::open(config).unwrap();
        let fake = Arc::new(Fake {
            cache: cache.clone(),
            dir: dir.path().to_owned(),
            asked: Mutex::default(),
            validated: Mutex::default(),
            forgotten: Mutex::default(),
            versions: Mutex::default(),
            syncs: Mutex::default(),
            sync_failures: Mutex::default(),
            wire: Arc::default(),
            spoiled: Mutex::default(),
        });
        let (events, _writer) = EventLog::open(&dir.path().join("events")).unwrap();
        let stats = Stats::open(&dir.path().join("stats.json"), SystemTime::now());
        fs::create_dir(dir.path().join("out")).unwrap();
        Self {
            config: JobsConfig {
                limits: JobLimits::default(),
                max_ranges_per_file: 500,
                times: JobTimes::default(),
                time_slice: Duration::from_secs(300),
                use_peers: true,
                peers_opt_in: false,
                hooks_allowed: vec!["/bin/true".into()],
                max_bandwidth: Rate::Unlimited,
                own_uid: ME.uid,
            },
            dir,
            fake,
            cache,
            events,
            around: Surroundings::calm(),
            stats,
            running: None,
        }
    }

    pub(super) fn start(&mut self) -> JobsHandle {
        let store = JobStore::open(&self.dir.path().join("jobs")).unwrap();
        let fake = Arc::clone(&self.fake);
        let (cache, events) = (self.cache.clone(), self.events.clone());
        let opened = JobsTask::open(
            self.config.clone(),
            store,
            cache,
            fake,
            events,
            self.stats.clone(),
            self.around.clone(),
        );
        let (handle, task) = opened.unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(task.run(stop.clone()));
        self.running = Some((handle.clone(), running, stop));
        handle
    }

    pub(super) async fn stop(&mut self) {
        let (_, running, stop) = self.running.take().unwrap();
        stop.cancel();
        running.await.unwrap();
    }

    /// As after kill -9: nothing is wound down.
    pub(super) async fn kill(&mut self) {
        let (_, running, _) = self.running.take().unwrap();
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
    }

    pub(super) fn out(&self, name: &str) -> PathBuf {
        self.dir.path().join("out").join(name)
    }

    pub(super) fn file(&self, name: &str) -> NewFile {
        NewFile {
            url: format!("http://origin/{name}"),
            path: self.out(name),
            ..NewFile::default()
        }
    }

    pub(super) fn job(&self, names: &[&str]) -> NewJob {
        NewJob {
            files: names.iter().map(|name| self.file(name)).collect(),
            start: true,
            ..NewJob::default()
        }
    }

    pub(super) fn kinds(&self) -> Vec<String> {
        let events = self.events.read(|_| true).unwrap();
        events.into_iter().map(|event| event.kind).collect()
    }
}

/// Waits for something that nobody tells.
pub(super) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let seen = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let seen = tokio::time::timeout(Duration::from_secs(10), seen).await;
    assert!(seen.is_ok(), "{what}: not in time");
}

/// Waits for a state.
pub(super) async fn until(jobs: &JobsHandle, id: &str, state: JobState) -> Arc<JobDocument> {
    let mut watch = jobs.watch(ROOT, id.to_owned()).await.unwrap();
    let reached = watch.wait_for(|job| job.state == state);
    let reached = tokio::time::timeout(Duration::from_secs(10), reached).await;
    Arc::clone(&reached.expect("in time").unwrap())
}
