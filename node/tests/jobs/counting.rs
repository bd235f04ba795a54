//! What came for jobs is in the counters of the node, once.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use potluck::jobs::{Change, Job, JobStore, NewJob, Surroundings};
use potluck_plan::{Accounting, JobState};
use tokio::sync::watch;

use super::world::{ME, World, swarm, until};

fn counted(world: &World) -> Accounting {
    world.stats.sum(None).0.got
}

fn on_the_wire(world: &World) -> u64 {
    world.fake.wire.load(Ordering::Relaxed)
}

#[tokio::test]
async fn what_failed_and_what_was_cancelled_is_counted() {
    let mut world = World::new();
    let jobs = world.start();
    let torn = jobs.create(ME, world.job(&["large-torn"])).await.unwrap();
    until(&jobs, &torn.id, JobState::TransientError).await;
    assert_eq!((counted(&world).discarded, on_the_wire(&world)), (10, 10));
    jobs.cancel(ME, torn.id.clone()).await.unwrap();
    let hangs = jobs.create(ME, world.job(&["large-hang"])).await.unwrap();
    let mut watch = jobs.watch(ME, hangs.id.clone()).await.unwrap();
    let came = watch.wait_for(|job| job.bytes_transferred == 10).await;
    drop(came.unwrap());
    jobs.cancel(ME, hangs.id.clone()).await.unwrap();
    assert_eq!((counted(&world).origin, on_the_wire(&world)), (10, 20));
    assert_eq!(counted(&world).received(), 20);
}

#[tokio::test]
async fn what_comes_again_is_not_counted_twice() {
    let mut world = World::new();
    let jobs = world.start();
    let job = jobs.create(ME, world.job(&["peer", "b"])).await.unwrap();
    let shown = until(&jobs, &job.id, JobState::Transferred).await;
    jobs.validate(ME, job.id.clone(), 0, false).await.unwrap();
    let again = until(&jobs, &job.id, JobState::Transferred).await;
    assert_eq!(again.files[0].accounting.peers, 0, "from the origin");
    jobs.complete(ME, job.id.clone(), None).await.unwrap();
    let counted = counted(&world);
    assert_eq!(counted.received(), on_the_wire(&world));
    assert_eq!(counted.total(), shown.bytes_total);
    assert_eq!(counted.discarded, shown.files[0].bytes_total);
}

#[tokio::test]
async fn what_a_swarm_did_is_kept_and_counted_once() {
    let mut world = World::new();
    let jobs = world.start();
    let files = ["together-a", "alone", "together-away"];
    let job = jobs.create(ME, world.job(&files)).await.unwrap();
    until(&jobs, &job.id, JobState::TransientError).await;
    world.stop().await;
    let jobs = world.start();
    jobs.resume(ME, job.id.clone()).await.unwrap();
    let tries = |world: &World| world.fake.asked.lock().unwrap().len();
    while tries(&world) < 4 {
        tokio::task::yield_now().await;
    }
    let shown = until(&jobs, &job.id, JobState::TransientError).await;
    let twice = swarm().after(&swarm());
    let of_files: Vec<_> = shown.files.iter().map(|file| file.swarm).collect();
    assert_eq!(of_files, [Some(swarm()), None, Some(twice)]);
    let all = twice.after(&swarm());
    assert_eq!((shown.swarm, all.members), (Some(all), 2));
    let counts = world.stats.sum(None).0;
    assert_eq!(counts.bytes_audited, all.audited_bytes);
    assert_eq!(counts.claims_taken_over, all.taken_over);
    let alone = jobs.create(ME, world.job(&["alone"])).await.unwrap();
    let alone = until(&jobs, &alone.id, JobState::Transferred).await;
    assert_eq!(alone.swarm, None);
}

#[tokio::test]
async fn files_of_one_time_that_come_again_are_no_progress() {
    let mut world = World::new();
    let jobs = world.start();
    // Every answer is of another version.
    *world.fake.versions.lock().unwrap() = (10, (0..1000).collect());
    let together = NewJob {
        changes: vec![Change::SameVersion(true)],
        ..world.job(&["versioned-a", "versioned-b"])
    };
    let job = jobs.create(ME, together).await.unwrap();
    until(&jobs, &job.id, JobState::TransientError).await;
    let first = failing_since(&mut world).await;
    let asked = world.fake.asked.lock().unwrap().len();

    // The time of the next try has come.
    let (store, mut kept) = record(&world);
    let mut machine = serde_json::to_value(&kept.machine).unwrap();
    machine["state"] = serde_json::to_value(JobState::Queued).unwrap();
    kept.machine = serde_json::from_value(machine).unwrap();
    store.save(&kept).unwrap();
    drop(store);
    let jobs = world.start();
    until(&jobs, &job.id, JobState::TransientError).await;
    assert!(world.fake.asked.lock().unwrap().len() > asked);
    assert_eq!(failing_since(&mut world).await, first);
}

/// The record of the only job, while no node has it.
fn record(world: &World) -> (JobStore, Job) {
    let store = JobStore::open(&world.dir.path().join("jobs")).unwrap();
    let job = store.load().unwrap().remove(0);
    (store, job)
}

/// Since when tries have failed, as the record of the only job has it.
async fn failing_since(world: &mut World) -> SystemTime {
    world.stop().await;
    let (_, job) = record(world);
    let record = serde_json::to_value(&job.machine).unwrap();
    serde_json::from_value(record["failing_since"].clone()).unwrap()
}

#[tokio::test]
async fn what_was_given_up_and_comes_again_is_no_progress() {
    let mut world = World::new();
    let (network, told) = watch::channel(true);
    world.around = Surroundings {
        network: told,
        ..Surroundings::calm()
    };
    let jobs = world.start();
    let job = jobs.create(ME, world.job(&["large-torn"])).await.unwrap();
    until(&jobs, &job.id, JobState::TransientError).await;
    let first = failing_since(&mut world).await;

    let jobs = world.start();
    let mut seen = jobs.watch(ME, job.id.clone()).await.unwrap();
    for (up, code) in [
        (false, "network_disconnected"),
        (true, "origin_unreachable"),
    ] {
        network.send_replace(up);
        let failed = seen.wait_for(|job| job.error.as_ref().is_some_and(|it| it.code == code));
        drop(failed.await.unwrap());
    }
    assert_eq!(on_the_wire(&world), 20, "it was tried again");
    assert_eq!(failing_since(&mut world).await, first);
}
