//! Which jobs run.

use std::time::Duration;

use potluck::jobs::{Change, NewJob};
use potluck_plan::{JobState, Priority};

use super::world::{ME, ROOT, World, until};

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
    jobs.set(ME, low.id.clone(), vec![change]).await.unwrap();
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
async fn files_are_begun_in_order_and_large_ones_wait_for_their_turn() {
    let mut world = World::new();
    let jobs = world.start();
    let mut names: Vec<String> = (0..40).map(|number| format!("small-{number}")).collect();
    names[20] = "large-20".into();
    names[21] = "large-21".into();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let job = jobs.create(ROOT, world.job(&names)).await.unwrap();
    let done = until(&jobs, &job.id, JobState::Transferred).await;
    assert_eq!(done.files_transferred, 40);
    let asked = world.fake.asked.lock().unwrap();
    let mut files: Vec<usize> = asked.iter().map(|request| request.file).collect();
    assert!(files.len() > 40, "a large one was begun ahead and put back");
    for large in [20, 21] {
        let tries = asked.iter().filter(|request| request.file == large);
        let came: Vec<u64> = tries.map(|request| request.before.origin).collect();
        let counted: Vec<u64> = (0..came.len() as u64)
            .map(|put_back| 10 * put_back)
            .collect();
        assert_eq!(came, counted, "what came before it was put back is counted");
    }
    let mut seen = std::collections::BTreeSet::new();
    files.retain(|file| seen.insert(*file));
    assert!(files.is_sorted(), "{files:?}");
    let kinds = world.kinds();
    let count = |wanted: &str| kinds.iter().filter(|kind| *kind == wanted).count();
    assert_eq!(count("transfer_started"), 40, "each was seen to begin once");
    assert_eq!(count("transfer_stopped"), 40);
}

#[tokio::test]
async fn what_comes_before_a_missing_file_is_here_when_the_job_fails() {
    let mut world = World::new();
    let jobs = world.start();
    let mut names: Vec<String> = (0..30).map(|number| format!("small-{number}")).collect();
    names[17] = "missing".into();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let job = jobs.create(ROOT, world.job(&names)).await.unwrap();
    let failed = until(&jobs, &job.id, JobState::Error).await;
    let here = failed
        .files
        .iter()
        .take_while(|file| file.content_id.is_some());
    assert_eq!(here.count(), 17);
    assert!(failed.files[17].error.is_some());
}

#[tokio::test]
async fn what_may_do_something_is_not_begun_ahead() {
    let mut world = World::new();
    let jobs = world.start();
    let mut names: Vec<String> = (0..10).map(|number| format!("small-{number}")).collect();
    names[7] = "large-7".into();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let job = NewJob {
        changes: vec![Change::Method(Some("POST".into()))],
        ..world.job(&names)
    };
    let job = jobs.create(ROOT, job).await.unwrap();
    until(&jobs, &job.id, JobState::Transferred).await;
    let asked = world.fake.asked.lock().unwrap();
    let files: Vec<usize> = asked.iter().map(|request| request.file).collect();
    assert_eq!(files, Vec::from_iter(0..10), "each once");
}

#[tokio::test]
async fn what_may_do_something_is_not_done_again_after_a_restart() {
    for stops in [true, false] {
        let mut world = World::new();
        let jobs = world.start();
        let job = NewJob {
            changes: vec![Change::Method(Some("POST".into()))],
            ..world.job(&["hang"])
        };
        let job = jobs.create(ROOT, job).await.unwrap();
        until(&jobs, &job.id, JobState::Transferring).await;
        match stops {
            true => world.stop().await,
            false => world.kill().await,
        }
        let jobs = world.start();
        let shown = until(&jobs, &job.id, JobState::Error).await;
        assert_eq!(shown.error.as_ref().unwrap().code, "interrupted");
        assert_eq!(world.fake.asked.lock().unwrap().len(), 1);
        jobs.resume(ROOT, job.id.clone()).await.unwrap();
        until(&jobs, &job.id, JobState::Transferring).await;
    }
}
