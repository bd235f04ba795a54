//! Jobs whose files must be of one time.

use potluck::jobs::{Change, NewJob};
use potluck_plan::{ErrorContext, JobState};

use super::world::{ME, World, until};

fn together(world: &World, wanted: bool) -> NewJob {
    NewJob {
        changes: vec![Change::SameVersion(wanted)],
        ..world.job(&["versioned-a", "versioned-b"])
    }
}

#[tokio::test]
async fn a_change_of_one_file_begins_all_anew() {
    let mut world = World::new();
    let jobs = world.start();
    // Both files come in the first version; when the first is looked at again there is
    // another.
    world.fake.versions.lock().unwrap().1 = vec![2];
    let job = jobs.create(ME, together(&world, true)).await.unwrap();
    let shown = until(&jobs, &job.id, JobState::Transferred).await;
    for file in &shown.files {
        assert_eq!(file.validator.as_deref(), Some("\"1\""));
        assert_eq!(file.bytes_transferred, file.bytes_total);
        assert_eq!(file.accounting.discarded, file.bytes_total);
    }
    let asked = world.fake.asked.lock().unwrap();
    let asked: Vec<usize> = asked.iter().map(|request| request.file).collect();
    assert_eq!(asked, [0, 1, 0, 0, 1, 0, 1]);
    assert!(world.kinds().contains(&"job_restarted".to_owned()));
}

#[tokio::test]
async fn other_jobs_are_not_looked_at_again() {
    let mut world = World::new();
    let jobs = world.start();
    world.fake.versions.lock().unwrap().1 = vec![1];
    let job = jobs.create(ME, together(&world, false)).await.unwrap();
    let shown = until(&jobs, &job.id, JobState::Transferred).await;
    let versions: Vec<_> = shown.files.iter().map(|file| &file.validator).collect();
    assert_ne!(versions[0], versions[1]);
    assert_eq!(world.fake.asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn that_there_is_no_word_for_a_version_any_more_is_a_change() {
    let mut world = World::new();
    let jobs = world.start();
    *world.fake.versions.lock().unwrap() = (8, vec![2]);
    let job = jobs.create(ME, together(&world, true)).await.unwrap();
    let shown = until(&jobs, &job.id, JobState::Transferred).await;
    assert!(shown.files.iter().all(|file| file.validator.is_none()));
    assert!(world.kinds().contains(&"job_restarted".to_owned()));
}

#[tokio::test]
async fn files_that_never_agree_are_left_alone_for_a_while() {
    let mut world = World::new();
    let jobs = world.start();
    // Every answer is of another version.
    *world.fake.versions.lock().unwrap() = (10, (0..1000).collect());
    let job = jobs.create(ME, together(&world, true)).await.unwrap();
    let shown = until(&jobs, &job.id, JobState::TransientError).await;
    let error = shown.error.as_ref().unwrap();
    assert_eq!(
        (error.code.as_str(), error.context),
        ("origin_changed", ErrorContext::Origin)
    );
    assert!(error.retry_at.is_some(), "{error:?}");
    let why = jobs.why(ME, job.id.clone()).await.unwrap();
    assert!(why.reason.contains("3 times"), "{why:?}");
    let restarts = world.kinds();
    let restarts = restarts.iter().filter(|kind| *kind == "job_restarted");
    assert_eq!(restarts.count(), 3);
    let discarded: u64 = shown.files.iter().map(|it| it.accounting.discarded).sum();
    assert!(discarded > 0);
    // A later try has as many attempts again.
    *world.fake.versions.lock().unwrap() = (1, Vec::new());
    jobs.resume(ME, job.id.clone()).await.unwrap();
    until(&jobs, &job.id, JobState::Transferred).await;
}
