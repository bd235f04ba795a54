//! The jobs of a node with a fetcher that does what the test says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use potluck::events::EventLog;
use potluck::jobs::{
    Caller, Change, Fetch, FetchError, FetchProgress, FetchRequest, Fetched, Fetcher, JobDocument,
    JobStore, JobsConfig, JobsHandle, JobsTask, NewFile, NewJob, Refusal,
};
use potluck::stats::Stats;
use potluck_cache::Cache;
use potluck_content::{ContentId, Entity};
use potluck_plan::{
    Accounting, ErrorContext, JobError, JobLimits, JobState, JobTimes, Priority, Retry,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const ME: Caller = Caller { uid: 1_000 };
const OTHER: Caller = Caller { uid: 2_000 };
const ROOT: Caller = Caller { uid: 0 };

/// URLs with `hang` in them never end, those with `missing` fail for good, those with
/// `busy` for now; all others are a file of the bytes of their URL.
struct Fake {
    cache: Cache,
    dir: PathBuf,
    asked: Mutex<Vec<FetchRequest>>,
    validated: Mutex<Vec<ContentId>>,
    forgotten: Mutex<Vec<String>>,
}

impl Fetcher for Fake {
    fn fetch(&self, request: FetchRequest) -> Fetch {
        self.asked.lock().unwrap().push(request.clone());
        let (shown, progress) = watch::channel(FetchProgress::default());
        let (cache, dir) = (self.cache.clone(), self.dir.clone());
        let outcome = Box::pin(async move {
            let url = request.url.clone();
            let failed = |code: &str, retry| FetchError {
                error: JobError::new(code, ErrorContext::Origin, format!("{code} at {url}")),
                retry,
                accounting: Accounting::default(),
            };
            shown.send_replace(FetchProgress {
                connected: true,
                size: Some(request.url.len() as u64),
                ..FetchProgress::default()
            });
            if request.url.contains("hang") {
                std::future::pending::<()>().await;
            }
            if request.url.contains("missing") {
                return Err(failed("http_404", Retry::Never));
            }
            if request.url.contains("busy") {
                return Err(failed("http_503", Retry::At(None)));
            }
            let path = dir.join(format!("fetched-{}", request.file));
            fs::write(&path, &request.url).unwrap();
            let id = cache.add_file(&path, |_| {}).unwrap().id;
            let lease = cache.lease(&id).unwrap();
            Ok(Fetched {
                accounting: Accounting {
                    origin: lease.size(),
                    ..Accounting::default()
                },
                lease,
                validator: None,
                mtime: None,
                entity: None,
                shareable: true,
            })
        });
        Fetch { progress, outcome }
    }

    fn validate(&self, content: &ContentId, _: Option<&Entity>) {
        self.validated.lock().unwrap().push(*content);
    }

    fn forget(&self, request: &FetchRequest, _: Option<&Entity>) {
        self.forgotten.lock().unwrap().push(request.url.clone());
    }
}

struct World {
    dir: TempDir,
    config: JobsConfig,
    fake: Arc<Fake>,
    cache: Cache,
    events: EventLog,
    running: Option<(JobsHandle, JoinHandle<()>, CancellationToken)>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = potluck_cache::Config::new(dir.path().join("data"), 1 << 20);
        let cache = Cache::open(config).unwrap();
        let fake = Arc::new(Fake {
            cache: cache.clone(),
            dir: dir.path().to_owned(),
            asked: Mutex::default(),
            validated: Mutex::default(),
            forgotten: Mutex::default(),
        });
        let (events, _writer) = EventLog::open(&dir.path().join("events")).unwrap();
        fs::create_dir(dir.path().join("out")).unwrap();
        Self {
            config: JobsConfig {
                limits: JobLimits::default(),
                times: JobTimes::default(),
                time_slice: Duration::from_secs(300),
                use_peers: true,
                peers_opt_in: false,
                own_uid: ME.uid,
            },
            dir,
            fake,
            cache,
            events,
            running: None,
        }
    }

    fn start(&mut self) -> JobsHandle {
        let store = JobStore::open(&self.dir.path().join("jobs")).unwrap();
        let stats = Stats::open(&self.dir.path().join("stats.json"), SystemTime::now());
        let fake = Arc::clone(&self.fake);
        let (cache, events) = (self.cache.clone(), self.events.clone());
        let opened = JobsTask::open(self.config.clone(), store, cache, fake, events, stats);
        let (handle, task) = opened.unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(task.run(stop.clone()));
        self.running = Some((handle.clone(), running, stop));
        handle
    }

    async fn stop(&mut self) {
        let (_, running, stop) = self.running.take().unwrap();
        stop.cancel();
        running.await.unwrap();
    }

    /// As after kill -9: nothing is wound down.
    async fn kill(&mut self) {
        let (_, running, _) = self.running.take().unwrap();
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
    }

    fn out(&self, name: &str) -> PathBuf {
        self.dir.path().join("out").join(name)
    }

    fn file(&self, name: &str) -> NewFile {
        NewFile {
            url: format!("http://origin/{name}"),
            path: self.out(name),
            headers: Vec::new(),
            checksum: None,
        }
    }

    fn job(&self, names: &[&str]) -> NewJob {
        NewJob {
            files: names.iter().map(|name| self.file(name)).collect(),
            start: true,
            ..NewJob::default()
        }
    }

    fn kinds(&self) -> Vec<String> {
        let events = self.events.read(|_| true).unwrap();
        events.into_iter().map(|event| event.kind).collect()
    }
}

/// Waits for a state.
async fn until(jobs: &JobsHandle, id: &str, state: JobState) -> Arc<JobDocument> {
    let mut watch = jobs.watch(ROOT, id.to_owned()).await.unwrap();
    let reached = watch.wait_for(|job| job.state == state);
    let reached = tokio::time::timeout(Duration::from_secs(10), reached).await;
    Arc::clone(&reached.expect("in time").unwrap())
}

#[tokio::test]
async fn a_job_goes_from_its_making_to_its_files() {
    let mut world = World::new();
    let jobs = world.start();
    let job = jobs.create(ME, world.job(&["a", "b"])).await.unwrap();
    let job = until(&jobs, &job.id, JobState::Transferred).await;
    assert_eq!(job.bytes_total, 2 * "http://origin/a".len() as u64);
    assert_eq!(job.accounting.total(), job.bytes_total);
    assert!(
        !world.out("a").exists(),
        "nobody sees a file before completion"
    );
    let done = jobs.complete(ME, job.id.clone(), false).await.unwrap();
    assert_eq!(done.state, JobState::Acknowledged);
    assert_eq!(fs::read(world.out("b")).unwrap(), b"http://origin/b");
    assert_eq!(world.fake.validated.lock().unwrap().len(), 2);
    assert!(jobs.list(ME, false).await.unwrap().is_empty());
    assert_eq!(jobs.list(ME, true).await.unwrap().len(), 1);
    for kind in [
        "job_created",
        "transfer_started",
        "transfer_stopped",
        "job_completed",
    ] {
        assert!(world.kinds().contains(&kind.to_owned()), "{kind}");
    }
    assert!(matches!(
        jobs.resume(ME, job.id.clone()).await,
        Err(Refusal::State(_))
    ));
}

#[tokio::test]
async fn a_detached_job_completes_itself_for_its_own_user_only() {
    let mut world = World::new();
    let jobs = world.start();
    let detached = |world: &World, name: &str| NewJob {
        detached: true,
        ..world.job(&[name])
    };
    let mine = jobs.create(ME, detached(&world, "a")).await.unwrap();
    until(&jobs, &mine.id, JobState::Acknowledged).await;
    assert!(world.out("a").exists());
    let other = jobs.create(OTHER, detached(&world, "b")).await.unwrap();
    until(&jobs, &other.id, JobState::Transferred).await;
    let refused = jobs.complete(OTHER, other.id.clone(), false).await;
    assert!(matches!(refused, Err(Refusal::CallerPlaces)));
    let taken = jobs.take(OTHER, other.id.clone(), 0).await.unwrap();
    assert_eq!(taken.lease.size(), "http://origin/b".len() as u64);
    let done = jobs.complete(OTHER, other.id.clone(), true).await.unwrap();
    assert_eq!(done.state, JobState::Acknowledged);
    assert!(!world.out("b").exists());
}

#[tokio::test]
async fn others_neither_see_nor_touch_a_job() {
    let mut world = World::new();
    let jobs = world.start();
    let job = jobs.create(ME, world.job(&["hang"])).await.unwrap();
    assert!(jobs.list(OTHER, true).await.unwrap().is_empty());
    for refused in [
        jobs.show(OTHER, job.id.clone()).await,
        jobs.cancel(OTHER, job.id.clone()).await,
        jobs.complete(OTHER, job.id.clone(), true).await,
    ] {
        assert!(matches!(refused, Err(Refusal::NoSuchJob(_))));
    }
    assert_eq!(jobs.list(ROOT, false).await.unwrap().len(), 1);
    let prefix = job.id[..6].to_owned();
    assert_eq!(
        jobs.cancel(ROOT, prefix).await.unwrap().state,
        JobState::Cancelled
    );
}

#[tokio::test]
async fn nothing_stays_of_a_cancelled_job() {
    let mut world = World::new();
    let jobs = world.start();
    let job = jobs
        .create(ME, world.job(&["a", "hang", "b"]))
        .await
        .unwrap();
    let mut watch = jobs.watch(ME, job.id.clone()).await.unwrap();
    watch
        .wait_for(|job| job.files[1].bytes_total > 0)
        .await
        .unwrap();
    jobs.cancel(ME, job.id.clone()).await.unwrap();
    world.stop().await;
    let forgotten = world.fake.forgotten.lock().unwrap().clone();
    assert_eq!(forgotten, ["http://origin/hang"]);
    let jobs = world.start();
    let shown = jobs.show(ME, job.id.clone()).await.unwrap();
    assert_eq!(shown.state, JobState::Cancelled);
}

#[tokio::test]
async fn jobs_live_through_a_stop_and_a_kill() {
    let mut world = World::new();
    let jobs = world.start();
    let done = jobs.create(ME, world.job(&["a"])).await.unwrap();
    let half = jobs.create(ME, world.job(&["b", "hang"])).await.unwrap();
    until(&jobs, &done.id, JobState::Transferred).await;
    let mut watch = jobs.watch(ME, half.id.clone()).await.unwrap();
    watch
        .wait_for(|job| job.files[0].content_id.is_some())
        .await
        .unwrap();
    for round in 0..4 {
        if round % 2 == 0 {
            world.kill().await;
        } else {
            world.stop().await;
        }
        let jobs = world.start();
        let shown = until(&jobs, &done.id, JobState::Transferred).await;
        assert!(shown.files[0].content_id.is_some());
        let shown = until(&jobs, &half.id, JobState::Transferring).await;
        assert!(shown.files[0].content_id.is_some(), "what is here stays");
    }
    let asked = world.fake.asked.lock().unwrap();
    let again = asked
        .iter()
        .filter(|request| request.url.ends_with("/b"))
        .count();
    assert_eq!(again, 1, "a file that is here is not fetched again");
}

#[tokio::test]
async fn the_time_a_node_was_down_is_not_spent() {
    let mut world = World::new();
    let jobs = world.start();
    let job = jobs.create(ME, world.job(&["hang"])).await.unwrap();
    until(&jobs, &job.id, JobState::Transferring).await;
    world.kill().await;
    let path = world.dir.path().join(format!("jobs/{}.json", job.id));
    let read = || serde_json::from_slice::<Value>(&fs::read(&path).unwrap()).unwrap();
    let mut kept = read();
    let since = &mut kept["job"]["machine"]["running_since"]["secs_since_epoch"];
    *since = (since.as_u64().unwrap() - 100 * 86_400).into();
    fs::write(&path, kept.to_string()).unwrap();
    let jobs = world.start();
    until(&jobs, &job.id, JobState::Transferring).await;
    world.stop().await;
    let spent = read()["job"]["machine"]["spent"]["secs"].as_u64().unwrap();
    assert!(spent < 3_600, "{spent}");
}

#[tokio::test]
async fn a_detached_job_is_completed_after_a_restart() {
    let mut world = World::new();
    let jobs = world.start();
    let detached = NewJob {
        detached: true,
        ..world.job(&["a", "hang"])
    };
    let job = jobs.create(ME, detached).await.unwrap();
    let mut watch = jobs.watch(ME, job.id.clone()).await.unwrap();
    watch
        .wait_for(|job| job.files[0].content_id.is_some())
        .await
        .unwrap();
    world.kill().await;
    // As it is on the disk when the end comes before the files are placed.
    let path = world.dir.path().join(format!("jobs/{}.json", job.id));
    let mut kept: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    kept["job"]["machine"]["state"] = "transferred".into();
    kept["job"]["machine"]["running_since"] = Value::Null;
    kept["job"]["files"].as_array_mut().unwrap().truncate(1);
    fs::write(&path, kept.to_string()).unwrap();
    let jobs = world.start();
    until(&jobs, &job.id, JobState::Acknowledged).await;
    assert_eq!(fs::read(world.out("a")).unwrap(), b"http://origin/a");
}

#[tokio::test]
async fn a_finished_file_that_is_gone_is_fetched_again() {
    let mut world = World::new();
    let jobs = world.start();
    let job = jobs.create(ME, world.job(&["a"])).await.unwrap();
    let shown = until(&jobs, &job.id, JobState::Transferred).await;
    world.kill().await;
    let content = shown.files[0].content_id.as_ref().unwrap().parse().unwrap();
    assert!(world.cache.remove(&content).unwrap());
    let jobs = world.start();
    until(&jobs, &job.id, JobState::Transferred).await;
    assert_eq!(world.fake.asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn errors_say_what_and_when() {
    let mut world = World::new();
    let jobs = world.start();
    let missing = jobs.create(ME, world.job(&["missing"])).await.unwrap();
    let shown = until(&jobs, &missing.id, JobState::Error).await;
    let error = shown.error.as_ref().unwrap();
    assert_eq!(
        (error.code.as_str(), error.retry_at.is_some()),
        ("http_404", false)
    );
    let busy = jobs.create(ME, world.job(&["busy"])).await.unwrap();
    let shown = until(&jobs, &busy.id, JobState::TransientError).await;
    assert!(shown.error.as_ref().unwrap().retry_at.is_some());
    let why = jobs.why(ME, busy.id.clone()).await.unwrap();
    assert!(
        why.reason.contains("http_503") && why.retry_at.is_some(),
        "{why:?}"
    );
    // Resuming tries at once.
    jobs.resume(ME, busy.id.clone()).await.unwrap();
    let retried = async {
        while world.fake.asked.lock().unwrap().len() < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), retried)
        .await
        .unwrap();
}

#[tokio::test]
async fn one_background_job_runs_and_gives_way() {
    let mut world = World::new();
    let jobs = world.start();
    let with = |world: &World, name: &str, priority| NewJob {
        priority,
        ..world.job(&[name])
    };
    let low = jobs
        .create(ME, with(&world, "hang1", Priority::Low))
        .await
        .unwrap();
    until(&jobs, &low.id, JobState::Transferring).await;
    let high = jobs
        .create(ME, with(&world, "hang2", Priority::High))
        .await
        .unwrap();
    until(&jobs, &high.id, JobState::Transferring).await;
    until(&jobs, &low.id, JobState::Queued).await;
    let why = jobs.why(ME, low.id.clone()).await.unwrap();
    assert!(why.reason.contains("first"), "{why:?}");
    // Nobody waits for a foreground job.
    let change = Change::Priority(Priority::Foreground);
    jobs.set(ME, low.id.clone(), change).await.unwrap();
    until(&jobs, &low.id, JobState::Transferring).await;
    jobs.suspend(ME, high.id.clone()).await.unwrap();
    until(&jobs, &high.id, JobState::Suspended).await;
}

#[tokio::test]
async fn jobs_of_one_level_take_turns() {
    let mut world = World::new();
    world.config.time_slice = Duration::from_millis(20);
    let jobs = world.start();
    let first = jobs.create(ME, world.job(&["hang1"])).await.unwrap();
    let second = jobs.create(ME, world.job(&["hang2"])).await.unwrap();
    for _ in 0..2 {
        until(&jobs, &first.id, JobState::Transferring).await;
        until(&jobs, &second.id, JobState::Transferring).await;
        until(&jobs, &first.id, JobState::Queued).await;
    }
}

#[tokio::test]
async fn a_change_reaches_the_run_under_way() {
    let mut world = World::new();
    let jobs = world.start();
    let job = jobs.create(ME, world.job(&["hang"])).await.unwrap();
    until(&jobs, &job.id, JobState::Transferring).await;
    for change in [
        Change::Priority(Priority::Foreground),
        Change::UsePeers(false),
        Change::Name("other".to_owned()),
    ] {
        jobs.set(ME, job.id.clone(), change).await.unwrap();
        until(&jobs, &job.id, JobState::Transferring).await;
    }
    let asked = world.fake.asked.lock().unwrap();
    let seen: Vec<_> = asked.iter().map(|a| (a.priority, a.use_peers)).collect();
    let expected = [
        (Priority::Normal, true),
        (Priority::Foreground, true),
        (Priority::Foreground, false),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn wrong_files_are_refused_before_anything_moves() {
    let mut world = World::new();
    world.config.limits.jobs_per_user = 2;
    world.config.limits.files_per_job = 2;
    let jobs = world.start();
    let mut wrong = world.job(&["a"]);
    wrong.files[0].path = world.dir.path().join("none/a");
    let refused = jobs.create(ME, wrong).await.unwrap_err();
    assert!(matches!(&refused, Refusal::Destination(error) if error.code == "directory_missing"));
    for url in ["ftp://origin/a", "origin/a", "http://"] {
        let mut wrong = world.job(&["a"]);
        wrong.files[0].url = url.to_owned();
        let refused = jobs.create(ME, wrong).await.unwrap_err();
        assert!(matches!(refused, Refusal::Invalid(_)), "{url}");
    }
    let many = jobs.create(ME, world.job(&["a", "b", "c"])).await;
    assert!(matches!(many, Err(Refusal::Limit(_))));
    for _ in 0..2 {
        jobs.create(ME, NewJob::default()).await.unwrap();
    }
    let many = jobs.create(ME, NewJob::default()).await;
    assert!(matches!(many, Err(Refusal::Limit(_))));
    assert!(world.fake.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_job_that_cannot_be_placed_waits_for_its_owner() {
    let mut world = World::new();
    let jobs = world.start();
    let job = jobs.create(ME, world.job(&["a"])).await.unwrap();
    until(&jobs, &job.id, JobState::Transferred).await;
    fs::create_dir(world.out("a")).unwrap();
    let refused = jobs.complete(ME, job.id.clone(), false).await.unwrap_err();
    assert!(matches!(&refused, Refusal::Destination(error) if error.code == "is_a_directory"));
    let shown = jobs.show(ME, job.id.clone()).await.unwrap();
    assert_eq!(shown.state, JobState::Transferred);
    assert!(shown.error.is_some());
    fs::remove_dir(world.out("a")).unwrap();
    let done = jobs.complete(ME, job.id.clone(), false).await.unwrap();
    assert_eq!(
        (done.state, done.error.is_some()),
        (JobState::Acknowledged, false)
    );
}

#[tokio::test]
async fn a_job_that_cannot_be_completed_early_goes_on() {
    let mut world = World::new();
    let jobs = world.start();
    let job = jobs.create(ME, world.job(&["a", "hang"])).await.unwrap();
    let mut watch = jobs.watch(ME, job.id.clone()).await.unwrap();
    let first_is_here = watch.wait_for(|job| job.files[0].content_id.is_some());
    first_is_here.await.unwrap();
    fs::create_dir(world.out("a")).unwrap();
    let refused = jobs.complete(ME, job.id.clone(), false).await.unwrap_err();
    assert!(matches!(refused, Refusal::Destination(_)), "{refused}");
    let asked = |world: &World| world.fake.asked.lock().unwrap().len();
    until(&jobs, &job.id, JobState::Transferring).await;
    assert_eq!(asked(&world), 3, "the second file was begun anew");
    fs::remove_dir(world.out("a")).unwrap();
    let done = jobs.complete(ME, job.id.clone(), false).await.unwrap();
    assert_eq!(done.state, JobState::Acknowledged);
    assert!(world.out("a").exists() && !world.out("hang").exists());
}
