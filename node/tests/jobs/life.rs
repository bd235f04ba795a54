//! From its making to its end.

use std::fs;
use std::time::Duration;

use potluck::jobs::{Change, JobDocument, JobQuery, JobsHandle, NewJob, Refusal};
use potluck_content::ContentId;
use potluck_plan::{JobState, Priority};

use super::world::{ME, OTHER, ROOT, World, until};

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
    let done = jobs.complete(ME, job.id.clone(), None).await.unwrap();
    assert_eq!(done.state, JobState::Acknowledged);
    assert_eq!(fs::read(world.out("b")).unwrap(), b"http://origin/b");
    assert_eq!(world.fake.validated.lock().unwrap().len(), 2);
    assert!(
        jobs.list(ME, JobQuery::default())
            .await
            .unwrap()
            .jobs
            .is_empty()
    );
    assert_eq!(
        jobs.list(ME, JobQuery::everything())
            .await
            .unwrap()
            .jobs
            .len(),
        1
    );
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
    let refused = jobs.complete(OTHER, other.id.clone(), None).await;
    assert!(matches!(refused, Err(Refusal::CallerPlaces)));
    let taken = jobs.take(OTHER, other.id.clone(), 0).await.unwrap();
    assert_eq!(taken.lease.size(), "http://origin/b".len() as u64);
    let done = jobs
        .complete(OTHER, other.id.clone(), Some(vec![0]))
        .await
        .unwrap();
    assert_eq!(done.state, JobState::Acknowledged);
    assert!(!world.out("b").exists());
}

#[tokio::test]
async fn what_ended_after_the_owner_looked_is_not_said_to_be_placed() {
    let mut world = World::new();
    let jobs = world.start();
    let job = jobs.create(OTHER, world.job(&["a", "b"])).await.unwrap();
    until(&jobs, &job.id, JobState::Transferred).await;
    let missing = jobs.complete(OTHER, job.id.clone(), Some(vec![0, 2])).await;
    assert!(matches!(missing, Err(Refusal::NoSuchFile(2))));
    // They saw only the first when they looked.
    let done = jobs.complete(OTHER, job.id.clone(), Some(vec![0])).await;
    let done = done.unwrap();
    assert_eq!(done.state, JobState::Acknowledged);
    assert!(done.partial);
    assert!(done.files[0].content_id.is_some());
    assert_eq!(done.files[1].content_id, None);
}

#[tokio::test]
async fn others_neither_see_nor_touch_a_job() {
    let mut world = World::new();
    let jobs = world.start();
    let job = jobs.create(ME, world.job(&["hang"])).await.unwrap();
    assert!(
        jobs.list(OTHER, JobQuery::everything())
            .await
            .unwrap()
            .jobs
            .is_empty()
    );
    for refused in [
        jobs.show(OTHER, job.id.clone()).await,
        jobs.cancel(OTHER, job.id.clone()).await,
        jobs.complete(OTHER, job.id.clone(), Some(vec![0])).await,
    ] {
        assert!(matches!(refused, Err(Refusal::NoSuchJob(_))));
    }
    assert_eq!(
        jobs.list(ROOT, JobQuery::default())
            .await
            .unwrap()
            .jobs
            .len(),
        1
    );
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
async fn a_change_reaches_the_run_under_way() {
    let mut world = World::new();
    let jobs = world.start();
    let job = jobs.create(ME, world.job(&["hang"])).await.unwrap();
    until(&jobs, &job.id, JobState::Transferring).await;
    for change in [
        Change::Priority(Priority::Foreground),
        Change::UsePeers(Some(false)),
        Change::Name("other".to_owned()),
    ] {
        jobs.set(ME, job.id.clone(), vec![change]).await.unwrap();
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
async fn a_job_that_cannot_be_placed_waits_for_its_owner() {
    let mut world = World::new();
    let jobs = world.start();
    let job = jobs.create(ME, world.job(&["a"])).await.unwrap();
    until(&jobs, &job.id, JobState::Transferred).await;
    fs::create_dir(world.out("a")).unwrap();
    let refused = jobs.complete(ME, job.id.clone(), None).await.unwrap_err();
    assert!(matches!(&refused, Refusal::Destination(error) if error.code == "is_a_directory"));
    let shown = jobs.show(ME, job.id.clone()).await.unwrap();
    assert_eq!(shown.state, JobState::Transferred);
    assert!(shown.error.is_some());
    fs::remove_dir(world.out("a")).unwrap();
    let done = jobs.complete(ME, job.id.clone(), None).await.unwrap();
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
    let refused = jobs.complete(ME, job.id.clone(), None).await.unwrap_err();
    assert!(matches!(refused, Refusal::Destination(_)), "{refused}");
    let asked = |world: &World| world.fake.asked.lock().unwrap().len();
    until(&jobs, &job.id, JobState::Transferring).await;
    assert_eq!(asked(&world), 3, "the second file was begun anew");
    fs::remove_dir(world.out("a")).unwrap();
    let done = jobs.complete(ME, job.id.clone(), None).await.unwrap();
    assert_eq!(done.state, JobState::Acknowledged);
    assert!(world.out("a").exists() && !world.out("hang").exists());
}

#[tokio::test]
async fn what_ended_last_is_remembered_longest() {
    let mut world = World::new();
    let jobs = world.start();
    let oldest = jobs.create(ROOT, world.job(&["hang"])).await.unwrap();
    let others = jobs.create(ME, NewJob::default()).await.unwrap();
    jobs.cancel(ME, others.id.clone()).await.unwrap();
    let mut first = None;
    for _ in 0..200 {
        let job = jobs.create(ROOT, NewJob::default()).await.unwrap();
        jobs.cancel(ROOT, job.id.clone()).await.unwrap();
        first.get_or_insert(job.id.clone());
    }
    let ended = jobs.cancel(ROOT, oldest.id.clone()).await.unwrap();
    assert!(ended.ended.is_some() && ended.ended >= ended.modified);
    let gone = jobs.show(ROOT, first.unwrap()).await;
    assert!(matches!(gone, Err(Refusal::NoSuchJob(_))));
    let shown = jobs.show(ROOT, oldest.id.clone()).await.unwrap();
    assert_eq!(shown.state, JobState::Cancelled);
    let shown = jobs.show(ME, others.id.clone()).await.unwrap();
    assert_eq!(shown.state, JobState::Cancelled, "of each owner so many");
}

#[tokio::test]
async fn nobody_is_told_that_files_are_here_before_they_are_durable() {
    let mut world = World::new();
    let jobs = world.start();
    let detached = |world: &World, name: &str| NewJob {
        detached: true,
        ..world.job(&[name])
    };
    let told = |world: &World| {
        let kinds = world.kinds();
        kinds
            .iter()
            .filter(|kind| *kind == "job_transferred")
            .count()
    };
    // Where they are durable in their places, then.
    let job = jobs.create(ME, detached(&world, "a")).await.unwrap();
    let job = until(&jobs, &job.id, JobState::Acknowledged).await;
    assert!(job.transferred.is_some());
    assert_eq!((told(&world), *world.fake.syncs.lock().unwrap()), (1, 0));
    // Where they cannot be put there and do not get to the disk, not yet.
    let later = NewJob {
        start: false,
        ..detached(&world, "b")
    };
    let job = jobs.create(ME, later).await.unwrap();
    fs::create_dir(world.out("b")).unwrap();
    *world.fake.sync_failures.lock().unwrap() = 1;
    jobs.resume(ME, job.id.clone()).await.unwrap();
    let failed = |job: &JobDocument| job.files[0].error.is_some();
    wait(&jobs, &job.id, failed).await;
    assert_eq!((told(&world), *world.fake.syncs.lock().unwrap()), (1, 1));
    jobs.complete(ME, job.id.clone(), None).await.unwrap_err();
    assert_eq!((told(&world), *world.fake.syncs.lock().unwrap()), (2, 2));
    // Once is enough.
    jobs.complete(ME, job.id.clone(), None).await.unwrap_err();
    fs::remove_dir(world.out("b")).unwrap();
    jobs.complete(ME, job.id.clone(), None).await.unwrap();
    assert_eq!((told(&world), *world.fake.syncs.lock().unwrap()), (2, 2));
}

/// Waits until a job is as it should be.
async fn wait(jobs: &JobsHandle, id: &str, wanted: impl Fn(&JobDocument) -> bool) {
    let mut watch = jobs.watch(ROOT, id.to_owned()).await.unwrap();
    let reached = watch.wait_for(|job| wanted(job));
    let reached = tokio::time::timeout(Duration::from_secs(10), reached).await;
    reached.expect("in time").unwrap();
}

#[tokio::test]
async fn what_did_not_get_to_the_disk_is_fetched_again() {
    let mut world = World::new();
    let jobs = world.start();
    let id = ContentId::of(b"http://origin/b");
    let spoil = |world: &World, is_known| {
        *world.fake.spoiled.lock().unwrap() = Some((id, is_known));
    };
    let asked = |world: &World| world.fake.asked.lock().unwrap().len();
    // The cache knows.
    spoil(&world, true);
    let job = jobs.create(ME, world.job(&["a", "b"])).await.unwrap();
    let job = until(&jobs, &job.id, JobState::TransientError).await;
    let error = job.error.as_ref().unwrap();
    assert_eq!(error.code, "cache_failed");
    assert!(
        error.message.contains("http://origin/b"),
        "{}",
        error.message
    );
    assert!(job.files[0].content_id.is_some() && job.files[1].content_id.is_none());
    jobs.resume(ME, job.id.clone()).await.unwrap();
    until(&jobs, &job.id, JobState::Transferred).await;
    assert_eq!(asked(&world), 3);
    jobs.complete(ME, job.id.clone(), None).await.unwrap();
    assert_eq!(fs::read(world.out("b")).unwrap(), b"http://origin/b");

    // Nobody knows until it is copied.
    fs::write(world.out("b"), "before").unwrap();
    spoil(&world, false);
    let job = jobs.create(ME, world.job(&["b"])).await.unwrap();
    until(&jobs, &job.id, JobState::Transferred).await;
    let refused = jobs.complete(ME, job.id.clone(), None).await.unwrap_err();
    assert!(matches!(refused, Refusal::Destination(_)), "{refused}");
    assert_eq!(fs::read(world.out("b")).unwrap(), b"before");
    until(&jobs, &job.id, JobState::Transferred).await;
    assert_eq!(asked(&world), 5);
    jobs.complete(ME, job.id.clone(), None).await.unwrap();
    assert_eq!(fs::read(world.out("b")).unwrap(), b"http://origin/b");
}

#[tokio::test]
async fn what_came_is_durable_before_a_job_says_so() {
    let mut world = World::new();
    let jobs = world.start();
    *world.fake.sync_failures.lock().unwrap() = 1;
    let job = jobs.create(ME, world.job(&["a", "b"])).await.unwrap();
    let job = until(&jobs, &job.id, JobState::TransientError).await;
    assert_eq!(job.error.as_ref().unwrap().code, "cache_failed");
    jobs.resume(ME, job.id.clone()).await.unwrap();
    until(&jobs, &job.id, JobState::Transferred).await;
    assert_eq!(*world.fake.syncs.lock().unwrap(), 2);
    // Nothing was fetched again for that.
    assert_eq!(world.fake.asked.lock().unwrap().len(), 2);
    // What is put in its place at once is synced there.
    let detached = NewJob {
        detached: true,
        ..world.job(&["c"])
    };
    let detached = jobs.create(ME, detached).await.unwrap();
    until(&jobs, &detached.id, JobState::Acknowledged).await;
    assert_eq!(*world.fake.syncs.lock().unwrap(), 2);
}

#[tokio::test]
async fn a_completion_that_cannot_be_kept_changes_nothing() {
    let mut world = World::new();
    let jobs = world.start();
    let job = jobs.create(ME, world.job(&["a", "b"])).await.unwrap();
    until(&jobs, &job.id, JobState::Transferred).await;
    // Whoever is answered is answered after that was kept.
    jobs.show(ME, job.id.clone()).await.unwrap();
    // Nothing can be written where the record is to be.
    let in_the_way = world.dir.path().join(format!("jobs/{}.tmp", job.id));
    fs::create_dir(&in_the_way).unwrap();
    let refused = jobs.complete(ME, job.id.clone(), Some(vec![0])).await;
    assert!(refused.is_err(), "{refused:?}");
    let shown = jobs.show(ME, job.id.clone()).await.unwrap();
    assert_eq!(shown.state, JobState::Transferred);
    assert!(shown.files.iter().all(|file| file.content_id.is_some()));
    fs::remove_dir(&in_the_way).unwrap();
    let done = jobs.complete(ME, job.id.clone(), Some(vec![0, 1])).await;
    let done = done.unwrap();
    assert_eq!(done.state, JobState::Acknowledged);
    assert_eq!(done.files_transferred, 2, "all of it is taken");
}

#[tokio::test]
async fn many_files_are_made_durable_while_others_come() {
    let mut world = World::new();
    let jobs = world.start();
    let names: Vec<String> = (0..130).map(|number| number.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let job = jobs.create(ME, world.job(&names)).await.unwrap();
    until(&jobs, &job.id, JobState::Transferred).await;
    // Nobody waits for the first.
    while *world.fake.syncs.lock().unwrap() < 2 {
        tokio::task::yield_now().await;
    }
}
