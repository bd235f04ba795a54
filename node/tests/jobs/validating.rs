//! What an application says of its files.

use potluck::jobs::Refusal;
use potluck_plan::JobState;

use super::world::{ME, OTHER, World, until};

#[tokio::test]
async fn a_good_file_goes_to_peers_before_completion() {
    let mut world = World::new();
    let jobs = world.start();
    let job = jobs.create(ME, world.job(&["a", "hang"])).await.unwrap();
    let mut watch = jobs.watch(ME, job.id.clone()).await.unwrap();
    let first_is_here = watch.wait_for(|job| job.files[0].content_id.is_some());
    first_is_here.await.unwrap();
    for (by, file) in [(ME, 1), (ME, 2)] {
        let early = jobs.validate(by, job.id.clone(), file, true).await;
        assert!(matches!(early, Err(Refusal::NoSuchFile(_))), "{file}");
    }
    let other = jobs.validate(OTHER, job.id.clone(), 0, true).await;
    assert!(matches!(other, Err(Refusal::NoSuchJob(_))));
    let shown = jobs.validate(ME, job.id.clone(), 0, true).await.unwrap();
    assert_eq!(shown.files[0].validated, Some(true));
    assert_eq!(world.fake.validated.lock().unwrap().len(), 1);
    assert!(shown.state.is_running(), "the rest goes on");
}

#[tokio::test]
async fn a_bad_file_from_peers_comes_again_from_the_origin() {
    let mut world = World::new();
    let jobs = world.start();
    let job = jobs.create(ME, world.job(&["a", "peer"])).await.unwrap();
    let shown = until(&jobs, &job.id, JobState::Transferred).await;
    let size = shown.files[1].bytes_total;
    assert_eq!(shown.files[1].accounting.peers, size);
    let content = shown.files[1].content_id.as_ref().unwrap().parse().unwrap();
    let shown = jobs.validate(ME, job.id.clone(), 1, false).await.unwrap();
    assert_eq!(shown.files[1].validated, Some(false));
    assert!(shown.transferred.is_none());
    let shown = until(&jobs, &job.id, JobState::Transferred).await;
    assert_eq!(shown.files[1].accounting.origin, size);
    assert_eq!(shown.files[1].validated, None, "nobody has seen this one");
    let asked = world.fake.asked.lock().unwrap().clone();
    let again: Vec<_> = asked.iter().map(|a| (a.file, a.use_peers)).collect();
    assert_eq!(again, [(0, true), (1, true), (1, false)]);
    // The same bytes came again, so they are in the cache again.
    assert!(world.cache.held(&content).is_some());
}

#[tokio::test]
async fn a_bad_file_from_the_origin_is_an_error() {
    let mut world = World::new();
    let jobs = world.start();
    let job = jobs.create(ME, world.job(&["a"])).await.unwrap();
    let shown = until(&jobs, &job.id, JobState::Transferred).await;
    let content = shown.files[0].content_id.as_ref().unwrap().parse().unwrap();
    let shown = jobs.validate(ME, job.id.clone(), 0, false).await.unwrap();
    assert_eq!(shown.state, JobState::Error);
    assert_eq!(shown.error.as_ref().unwrap().code, "validation_failed");
    assert_eq!(shown.files[0].bytes_transferred, 0);
    assert!(world.cache.held(&content).is_none());
    jobs.resume(ME, job.id.clone()).await.unwrap();
    until(&jobs, &job.id, JobState::Transferred).await;
    assert_eq!(world.fake.asked.lock().unwrap().len(), 2);
}
