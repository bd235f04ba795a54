//! What outlives the process.

use std::fs;

use potluck::jobs::NewJob;
use potluck_plan::JobState;
use serde_json::Value;

use super::world::{ME, World, until};

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
    // What is answered is on the disk; that a file is here is written down a little later.
    jobs.suspend(ME, job.id.clone()).await.unwrap();
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
