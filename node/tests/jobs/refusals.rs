//! What is refused.

use potluck::jobs::{JobQuery, NewJob, Refusal};

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
    // Who is refused again and again is told of ever more rarely.
    let told = world.events.read(|event| event.kind == "job_refused");
    let told: Vec<_> = told.unwrap().iter().map(|it| it.fields.clone()).collect();
    let reasons: Vec<_> = told.iter().map(|it| it["reason"].clone()).collect();
    assert_eq!(reasons, ["destination", "invalid", "limit"], "{told:?}");
    assert!(
        told[1]["message"].is_null(),
        "a wrong URL may have a password"
    );
    assert!(told[2]["message"].as_str().unwrap().contains("max_files"));
}

#[tokio::test]
async fn long_things_are_refused() {
    let mut world = World::new();
    let jobs = world.start();
    let mut long = world.job(&["a"]);
    long.files[0].path = world.dir.path().join("x".repeat(4_096));
    let refused = jobs.create(ME, long).await.unwrap_err().to_string();
    assert!(refused.contains("4096"), "{refused}");
    // Each file is within its limits, and all of them are not.
    let mut many = world.job(&["a"]);
    let field = |name: usize| (format!("X-{name}"), "x".repeat(8_000));
    many.files[0].headers = vec![field(1), field(2)];
    many.files = vec![many.files.remove(0); 200];
    let too_much = jobs.create(ME, many.clone()).await.unwrap_err().to_string();
    assert!(too_much.contains("2097152"), "{too_much}");
    many.files.truncate(100);
    let job = jobs.create(ME, many.clone()).await.unwrap();
    many.files.truncate(60);
    let too_much = jobs.add(ME, job.id.clone(), many.files).await.unwrap_err();
    assert!(too_much.to_string().contains("2097152"), "{too_much}");
    assert_eq!(
        jobs.show(ME, job.id.clone()).await.unwrap().files_total,
        100
    );
    let told = world.events.read(|event| event.kind == "job_created");
    let told = told.unwrap().remove(0);
    assert_eq!(told.fields["files"], 100);
    assert_eq!(told.fields["urls"].as_array().unwrap().len(), 20);
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_done() {
    let mut world = World::new();
    let jobs = world.start();
    tokio::select! {
        biased;
        _ = jobs.create(ME, NewJob::default()) => panic!("the jobs had no time for it"),
        () = std::future::ready(()) => {}
    }
    let all = jobs.list(ME, JobQuery::default()).await.unwrap().jobs;
    assert!(all.is_empty(), "{all:?}");
}

#[tokio::test]
async fn the_event_of_a_new_job_is_short() {
    let mut world = World::new();
    let jobs = world.start();
    let mut many = world.job(&["a"]);
    many.files[0].url = format!("http://origin/{}", "x".repeat(600));
    many.files = vec![many.files.remove(0); 20];
    jobs.create(ME, many).await.unwrap();
    let told = world.events.read(|event| event.kind == "job_created");
    let told = told.unwrap().remove(0);
    assert_eq!(told.fields["urls"].as_array().unwrap().len(), 3);
}
