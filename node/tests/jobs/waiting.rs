//! Jobs that wait for what happens outside of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use potluck::jobs::{Change, JobsHandle, NewFile, NewJob, Surroundings};
use potluck_plan::{JobState, Priority, Rate};
use tokio::sync::watch;

use super::world::{ME, World, eventually, until};

/// A world whose network is in the hand of the test.
fn world(is_up: bool) -> (World, watch::Sender<bool>) {
    let mut world = World::new();
    let (network, told) = watch::channel(is_up);
    world.around = Surroundings {
        network: told,
        ..Surroundings::calm()
    };
    (world, network)
}

fn here(world: &World, name: &str) -> NewJob {
    let file = NewFile {
        url: format!("http://127.0.0.1/{name}"),
        ..world.file(name)
    };
    NewJob {
        files: vec![file],
        start: true,
        ..NewJob::default()
    }
}

async fn code(jobs: &JobsHandle, id: &str) -> Option<String> {
    let job = jobs.show(ME, id.to_owned()).await.unwrap();
    job.error.as_ref().map(|error| {
        assert_eq!(error.retry_at, None, "it waits for no time");
        error.code.clone()
    })
}

#[tokio::test]
async fn all_wait_for_the_network_and_go_on_when_it_is_back() {
    let (mut world, network) = world(true);
    let jobs = world.start();
    let running = jobs.create(ME, world.job(&["hang1"])).await.unwrap();
    until(&jobs, &running.id, JobState::Transferring).await;
    let queued = jobs.create(ME, world.job(&["file"])).await.unwrap();
    network.send_replace(false);
    for id in [&running.id, &queued.id] {
        until(&jobs, id, JobState::TransientError).await;
        assert_eq!(
            code(&jobs, id).await.as_deref(),
            Some("network_disconnected")
        );
    }
    let late = jobs.create(ME, world.job(&["late"])).await.unwrap();
    until(&jobs, &late.id, JobState::TransientError).await;
    let local = jobs.create(ME, here(&world, "local")).await.unwrap();
    until(&jobs, &local.id, JobState::Transferred).await;

    network.send_replace(true);
    until(&jobs, &running.id, JobState::Transferring).await;
    jobs.cancel(ME, running.id.clone()).await.unwrap();
    until(&jobs, &queued.id, JobState::Transferred).await;
    until(&jobs, &late.id, JobState::Transferred).await;
}

#[tokio::test]
async fn what_failed_as_the_network_went_waits_for_it_and_not_for_a_time() {
    let (mut world, network) = world(true);
    let jobs = world.start();
    let job = jobs.create(ME, world.job(&["away"])).await.unwrap();
    until(&jobs, &job.id, JobState::TransientError).await;
    let shown = jobs.show(ME, job.id.clone()).await.unwrap();
    assert!(shown.error.as_ref().unwrap().retry_at.is_some());
    let mut seen = jobs.watch(ME, job.id.clone()).await.unwrap();
    seen.mark_unchanged();
    network.send_replace(false);
    let is_parked = |job: &Arc<potluck::jobs::JobDocument>| {
        let error = job.error.as_ref();
        error.is_some_and(|error| error.code == "network_disconnected")
    };
    seen.wait_for(is_parked).await.unwrap();
    network.send_replace(true);
    // It is tried at once, not in ten minutes; and fails as before.
    let tried = seen.wait_for(|job| {
        let error = job.error.as_ref();
        error.is_some_and(|error| error.code == "origin_unreachable")
    });
    tried.await.unwrap();
    assert_eq!(world.fake.asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn another_way_out_is_tried_at_once_by_who_failed_on_the_way() {
    let (mut world, network) = world(true);
    let jobs = world.start();
    let away = jobs.create(ME, world.job(&["away"])).await.unwrap();
    let busy = jobs.create(ME, world.job(&["busy"])).await.unwrap();
    for id in [&away.id, &busy.id] {
        until(&jobs, id, JobState::TransientError).await;
    }
    // It is up, and was: but something about it changed.
    network.send_replace(true);
    let tried = || world.fake.asked.lock().unwrap().len() == 3;
    eventually("it is tried before ten minutes are over", tried).await;
    until(&jobs, &away.id, JobState::TransientError).await;
    let asked = world.fake.asked.lock().unwrap();
    let busy = asked.iter().filter(|request| request.url.contains("busy"));
    assert_eq!(busy.count(), 1, "the origin said when");
}

#[tokio::test]
async fn a_restart_wakes_what_waited() {
    let (mut world, network) = world(false);
    let jobs = world.start();
    let job = jobs.create(ME, world.job(&["file"])).await.unwrap();
    until(&jobs, &job.id, JobState::TransientError).await;
    world.stop().await;
    network.send_replace(true);
    let jobs = world.start();
    until(&jobs, &job.id, JobState::Transferred).await;
}

#[tokio::test]
async fn nothing_is_fetched_without_bandwidth() {
    let mut world = World::new();
    world.config.max_bandwidth = Rate::ZERO;
    let jobs = world.start();
    let job = jobs.create(ME, world.job(&["file"])).await.unwrap();
    until(&jobs, &job.id, JobState::TransientError).await;
    assert_eq!(
        code(&jobs, &job.id).await.as_deref(),
        Some("blocked_by_policy")
    );
    world.stop().await;
    world.config.max_bandwidth = Rate::Unlimited;
    let jobs = world.start();
    until(&jobs, &job.id, JobState::Transferred).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_tried_again_when_it_has_more_room() {
    let mut world = World::new();
    let free = Arc::new(AtomicU64::new(1_000));
    let seen = Arc::clone(&free);
    world.around = Surroundings {
        free: Arc::new(move || Some(seen.load(Relaxed))),
        ..Surroundings::calm()
    };
    let jobs = world.start();
    let job = jobs.create(ME, world.job(&["full"])).await.unwrap();
    until(&jobs, &job.id, JobState::TransientError).await;
    assert_eq!(code(&jobs, &job.id).await.as_deref(), Some("no_space"));
    // The clock of the test runs ahead on its own: an hour goes by.
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(world.fake.asked.lock().unwrap().len(), 1);
    free.fetch_add(2 << 20, Relaxed);
    let asked = async {
        while world.fake.asked.lock().unwrap().len() < 2 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asked)
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn some_jobs_run_only_while_their_owner_is_logged_in() {
    let mut world = World::new();
    let is_in = Arc::new(AtomicBool::new(true));
    let seen = Arc::clone(&is_in);
    world.around = Surroundings {
        logged_in: Arc::new(move |uid| Some(uid == ME.uid && seen.load(Relaxed))),
        ..Surroundings::calm()
    };
    let jobs = world.start();
    let job = NewJob {
        changes: vec![Change::OnlyLoggedIn(true)],
        ..world.job(&["hang"])
    };
    let job = jobs.create(ME, job).await.unwrap();
    let other = NewJob {
        priority: Priority::Foreground,
        ..world.job(&["hang too"])
    };
    let other = jobs.create(ME, other).await.unwrap();
    until(&jobs, &job.id, JobState::Transferring).await;
    is_in.store(false, Relaxed);
    until(&jobs, &job.id, JobState::TransientError).await;
    assert_eq!(code(&jobs, &job.id).await.as_deref(), Some("not_logged_in"));
    let other = jobs.show(ME, other.id.clone()).await.unwrap();
    assert_eq!(other.state, JobState::Transferring, "it does not mind");
    is_in.store(true, Relaxed);
    until(&jobs, &job.id, JobState::Transferring).await;
}

#[tokio::test(start_paused = true)]
async fn a_look_around_hurries_nobody() {
    let mut world = World::new();
    world.around = Surroundings {
        logged_in: Arc::new(|_| Some(true)),
        ..Surroundings::calm()
    };
    let jobs = world.start();
    let watchful = NewJob {
        changes: vec![Change::OnlyLoggedIn(true)],
        ..world.job(&["hang"])
    };
    let watchful = jobs.create(ME, watchful).await.unwrap();
    until(&jobs, &watchful.id, JobState::Transferring).await;
    let away = NewJob {
        priority: Priority::Foreground,
        ..world.job(&["away"])
    };
    let away = jobs.create(ME, away).await.unwrap();
    let shown = until(&jobs, &away.id, JobState::TransientError).await;
    let retry_at = |job: &potluck::jobs::JobDocument| {
        let error = job.error.as_ref().unwrap();
        error.retry_at.clone()
    };
    tokio::time::sleep(Duration::from_secs(60)).await;
    let later = jobs.show(ME, away.id.clone()).await.unwrap();
    assert!(retry_at(&shown).is_some());
    assert_eq!(retry_at(&later), retry_at(&shown));
}

#[tokio::test]
async fn where_nobody_knows_who_is_logged_in_no_job_can_depend_on_it() {
    let mut world = World::new();
    world.around = Surroundings {
        logged_in: Arc::new(|_| None),
        ..Surroundings::calm()
    };
    let jobs = world.start();
    let job = NewJob {
        changes: vec![Change::OnlyLoggedIn(true)],
        ..world.job(&["file"])
    };
    let refusal = jobs.create(ME, job).await.unwrap_err();
    assert!(refusal.to_string().contains("logind"), "{refusal}");
    let job = jobs.create(ME, world.job(&["hang"])).await.unwrap();
    let change = vec![Change::OnlyLoggedIn(true)];
    let refusal = jobs.set(ME, job.id.clone(), change).await.unwrap_err();
    assert!(refusal.to_string().contains("logind"), "{refusal}");
}
