//! Jobs whose files must be of one time.

use potluck::jobs::{Change, NewJob};
use potluck_plan::JobState;

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
