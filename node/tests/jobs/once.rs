//! Requests that may do something each time are not sent again by themselves.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use potluck::jobs::{Change, JobsHandle, NewJob, Refusal, Surroundings};
use potluck_plan::JobState;
use serde_json::Value;

use super::world::{ME, ROOT, World, eventually, until};

fn posts(world: &World, names: &[&str]) -> NewJob {
    NewJob {
        changes: vec![Change::Method(Some("POST".into()))],
        ..world.job(names)
    }
}

fn asked(world: &World) -> usize {
    world.fake.asked.lock().unwrap().len()
}

/// A job whose request is under way.
async fn under_way(world: &World, jobs: &JobsHandle) -> String {
    let job = jobs.create(ME, posts(world, &["hang"])).await.unwrap();
    until(jobs, &job.id, JobState::Transferring).await;
    job.id.clone()
}

fn code(job: &potluck::jobs::JobDocument) -> &str {
    job.error.as_ref().map_or("", |error| &error.code)
}

#[tokio::test]
async fn no_change_of_the_job_sends_them_again() {
    let mut world = World::new();
    let jobs = world.start();
    let id = under_way(&world, &jobs).await;
    let headers = vec![Change::Headers(vec![("X-New".into(), "1".into())])];
    let refused = [
        jobs.set(ME, id.clone(), headers).await,
        jobs.add(ME, id.clone(), vec![world.file("more")]).await,
        jobs.take_over(ROOT, id.clone()).await,
    ];
    for refusal in refused {
        assert!(matches!(refusal, Err(Refusal::Once)), "{refusal:?}");
    }
    let words = vec![Change::Description("what is it".into())];
    let shown = jobs.set(ME, id.clone(), words).await.unwrap();
    assert_eq!(
        (shown.state, shown.files.len()),
        (JobState::Transferring, 1)
    );
    assert_eq!(asked(&world), 1);
    // Its owner may say so.
    jobs.suspend(ME, id.clone()).await.unwrap();
    jobs.add(ME, id.clone(), vec![world.file("more")])
        .await
        .unwrap();
    jobs.resume(ME, id.clone()).await.unwrap();
    until(&jobs, &id, JobState::Transferring).await;
    assert_eq!(asked(&world), 2);
}

#[tokio::test(start_paused = true)]
async fn they_go_on_when_their_owner_logs_out() {
    let mut world = World::new();
    let is_in = Arc::new(AtomicBool::new(true));
    let seen = Arc::clone(&is_in);
    world.around = Surroundings {
        logged_in: Arc::new(move |_| Some(seen.load(Relaxed))),
        ..Surroundings::calm()
    };
    let jobs = world.start();
    let mut job = posts(&world, &["hang"]);
    job.changes.push(Change::OnlyLoggedIn(true));
    let job = jobs.create(ME, job).await.unwrap();
    until(&jobs, &job.id, JobState::Transferring).await;
    for here in [false, true] {
        is_in.store(here, Relaxed);
        // The clock of the test runs ahead on its own.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let shown = jobs.show(ME, job.id.clone()).await.unwrap();
        assert_eq!(shown.state, JobState::Transferring);
    }
    assert_eq!(asked(&world), 1);
}

#[tokio::test]
async fn an_early_completion_that_fails_does_not_send_them_again() {
    let mut world = World::new();
    let jobs = world.start();
    let job = jobs
        .create(ME, posts(&world, &["a", "hang"]))
        .await
        .unwrap();
    let mut watch = jobs.watch(ME, job.id.clone()).await.unwrap();
    let first_is_here = watch.wait_for(|job| job.files[0].content_id.is_some());
    first_is_here.await.unwrap();
    eventually("the second is asked for", || asked(&world) == 2).await;
    fs::remove_dir(world.dir.path().join("out")).unwrap();
    let refusal = jobs.complete(ME, job.id.clone(), None).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Destination(_)), "{refusal:?}");
    let shown = until(&jobs, &job.id, JobState::Error).await;
    assert_eq!(code(&shown), "interrupted");
    assert_eq!(asked(&world), 2);
    fs::create_dir(world.dir.path().join("out")).unwrap();
    let shown = jobs.complete(ME, job.id.clone(), None).await.unwrap();
    assert_eq!(shown.state, JobState::Acknowledged);
}

#[tokio::test]
async fn the_disk_knows_of_them_before_they_are_sent() {
    let mut world = World::new();
    let jobs = world.start();
    let job = jobs.create(ME, posts(&world, &["hang"])).await.unwrap();
    let path = world.dir.path().join(format!("jobs/{}.json", job.id));
    let read = || serde_json::from_slice::<Value>(&fs::read(&path).unwrap()).unwrap();
    eventually("it is asked for", || asked(&world) > 0).await;
    assert_ne!(read()["job"]["machine"]["state"], "queued");
    world.kill().await;
    let jobs = world.start();
    let shown = until(&jobs, &job.id, JobState::Error).await;
    assert_eq!(code(&shown), "interrupted");
    let told = || world.kinds().contains(&"job_error".to_owned());
    eventually("the error is told", told).await;
    // Whoever reads the record next sees it as well.
    jobs.show(ME, job.id.clone()).await.unwrap();
    assert_eq!(read()["job"]["machine"]["state"], "error");
    assert_eq!(asked(&world), 1);
}

#[tokio::test]
async fn what_they_brought_and_was_lost_is_not_asked_for_by_itself() {
    let mut world = World::new();
    let jobs = world.start();
    let job = jobs.create(ME, posts(&world, &["a"])).await.unwrap();
    let shown = until(&jobs, &job.id, JobState::Transferred).await;
    world.stop().await;
    let content = shown.files[0].content_id.as_ref().unwrap().parse().unwrap();
    assert!(world.cache.remove(&content).unwrap());
    let jobs = world.start();
    let shown = until(&jobs, &job.id, JobState::Error).await;
    assert_eq!(code(&shown), "interrupted");
    assert_eq!(asked(&world), 1);
}
