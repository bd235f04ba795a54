//! What is refused.

use potluck::jobs::{NewJob, Refusal};

use super::world::{ME, World};

#[tokio::test]
async fn wrong_files_are_refused_before_anything_moves() {
    let mut world = World::new();
    world.config.limits.jobs_per_user = 2;
    world.config.limits.files_per_job = 2;
    let jobs = world.start();
    let mut wrong = world.job(&["a"]);
    wrong.files[0].path = world.dir.path().join("none/a");
    let refused = jobs.create(ME, wrong).await.unwrap_err();
    assert!(matches!(&refused, Refusal::Destination(error) if error.code == "directory_missing"));
    for url in ["ftp://origin/a", "origin/a", "http://"] {
        let mut wrong = world.job(&["a"]);
        wrong.files[0].url = url.to_owned();
        let refused = jobs.create(ME, wrong).await.unwrap_err();
        assert!(matches!(refused, Refusal::Invalid(_)), "{url}");
    }
    let many = jobs.create(ME, world.job(&["a", "b", "c"])).await;
    assert!(matches!(many, Err(Refusal::Limit(_))));
    for _ in 0..2 {
        jobs.create(ME, NewJob::default()).await.unwrap();
    }
    let many = jobs.create(ME, NewJob::default()).await;
    assert!(matches!(many, Err(Refusal::Limit(_))));
    assert!(world.fake.asked.lock().unwrap().is_empty());
}
