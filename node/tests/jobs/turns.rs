//! Which jobs run.

use std::time::Duration;

use potluck::jobs::{Change, NewJob};
use potluck_plan::{JobState, Priority};

use super::world::{ME, World, until};

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
