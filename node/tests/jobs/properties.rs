//! What can be set of a job.

use std::time::Duration;

use potluck::jobs::{Change, JobTime, NewJob, Refusal};
use potluck_plan::{FileRange, JobState, Priority};
use serde_json::{Value, json};

use super::world::{ME, World, until};

fn changes(of: Value) -> Vec<Change> {
    let Value::Object(fields) = of else {
        panic!("{of} is no object");
    };
    Change::read(fields).unwrap()
}

#[tokio::test]
async fn every_property_is_kept_and_shown() {
    let mut world = World::new();
    world.config.hooks_allowed = vec!["/bin/true".into()];
    let jobs = world.start();
    let hook = json!({ "program": "/bin/true", "arguments": ["a"] });
    let set = json!({
        "name": "n", "description": "d", "priority": "low", "use_peers": false,
        "retry_delay": "1s", "no_progress_timeout": "2d", "max_download_time": "3h",
        "user_agent": "me/1", "redirects": "forbid", "allow_downgrade": true,
        "proxy": { "url": "http://p:3128" }, "ca_files": ["/ca.pem"],
        "client_certificate": { "certificate_file": "/c.pem", "key_file": "/k.pem" },
        "same_version": true, "on_complete": hook, "on_error": hook,
        "headers": [["X-A", "1"]], "secret_headers": [["X-B", "2"]],
    });
    let new = NewJob {
        changes: changes(set.clone()),
        ..NewJob::default()
    };
    let job = jobs.create(ME, new).await.unwrap();
    let bare = jobs.create(ME, NewJob::default()).await.unwrap();
    jobs.set(ME, bare.id.clone(), changes(set.clone()))
        .await
        .unwrap();
    world.stop().await;
    let jobs = world.start();
    for id in [&job.id, &bare.id] {
        let shown = jobs.show(ME, id.clone()).await.unwrap();
        let shown = serde_json::to_value(&*shown).unwrap();
        for (key, value) in set.as_object().unwrap() {
            let expected = match key.as_str() {
                // Raised to the shortest there is.
                "retry_delay" => json!("5s"),
                "secret_headers" => json!(["X-B"]),
                _ => value.clone(),
            };
            assert_eq!(shown[key], expected, "{key}");
        }
    }
}

#[tokio::test]
async fn one_wrong_change_refuses_them_all() {
    let mut world = World::new();
    let jobs = world.start();
    let job = jobs.create(ME, world.job(&["hang"])).await.unwrap();
    let wrong = json!({ "description": "new", "headers": [["X", "a\nb"]] });
    let refused = jobs.set(ME, job.id.clone(), changes(wrong)).await;
    assert!(matches!(refused, Err(Refusal::Invalid(_))));
    let shown = jobs.show(ME, job.id.clone()).await.unwrap();
    assert_eq!(shown.description, "");
    for unknown in [
        json!({ "owner": 0 }),
        json!({ "retry_delay": "soon" }),
        json!({ "redirects": "sometimes" }),
    ] {
        let fields = unknown.as_object().unwrap().clone();
        let refused = Change::read(fields).unwrap_err().to_string();
        let key = unknown.as_object().unwrap().keys().next().unwrap();
        assert!(refused.contains(key), "{refused}");
    }
}

#[tokio::test]
async fn the_times_of_a_job_are_its_own() {
    let mut world = World::new();
    let jobs = world.start();
    let with = |changes| NewJob {
        changes,
        ..world.job(&["busy"])
    };
    // Longer than errors may go on: not tried again.
    let at_once = vec![
        Change::RetryDelay(Some(JobTime(Duration::from_secs(60)))),
        Change::NoProgressTimeout(Some(JobTime(Duration::from_secs(59)))),
    ];
    let job = jobs.create(ME, with(at_once)).await.unwrap();
    let failed = until(&jobs, &job.id, JobState::Error).await;
    assert_eq!(failed.error.as_ref().unwrap().code, "http_503");
    let zero = vec![Change::NoProgressTimeout(Some(JobTime(Duration::ZERO)))];
    let job = jobs.create(ME, with(zero)).await.unwrap();
    until(&jobs, &job.id, JobState::Error).await;
    let short = vec![Change::MaxDownloadTime(Some(JobTime(
        Duration::from_millis(50),
    )))];
    let new = NewJob {
        changes: short,
        ..world.job(&["hang"])
    };
    let job = jobs.create(ME, new).await.unwrap();
    let failed = until(&jobs, &job.id, JobState::Error).await;
    assert_eq!(failed.error.as_ref().unwrap().code, "max_download_time");
}

#[tokio::test]
async fn a_new_address_mends_a_job() {
    let mut world = World::new();
    let jobs = world.start();
    let job = jobs.create(ME, world.job(&["a", "missing"])).await.unwrap();
    until(&jobs, &job.id, JobState::Error).await;
    let set = async |change| jobs.set(ME, job.id.clone(), changes(change)).await;
    let here = set(json!({ "url": { "file": 0, "url": "http://origin/x" } })).await;
    assert!(matches!(here, Err(Refusal::Invalid(_))), "it is here");
    let none = set(json!({ "url": { "file": 2, "url": "http://origin/x" } })).await;
    assert!(matches!(none, Err(Refusal::Invalid(_))));
    let other = set(json!({ "url_prefix": { "from": "ftp://", "to": "http://" } })).await;
    assert!(matches!(other, Err(Refusal::Invalid(_))));
    let prefix = json!({ "from": "http://origin/", "to": "http://mirror/not/" });
    let shown = set(json!({ "url_prefix": prefix })).await.unwrap();
    assert_eq!(shown.state, JobState::Error, "it waits for its owner");
    let urls: Vec<_> = shown.files.iter().map(|file| file.url.clone()).collect();
    assert_eq!(urls, ["http://origin/a", "http://mirror/not/missing"]);
    let shown = set(json!({ "url": { "file": 1, "url": "http://mirror/found" } })).await;
    assert!(shown.unwrap().files[1].error.is_none());
    jobs.resume(ME, job.id.clone()).await.unwrap();
    until(&jobs, &job.id, JobState::Transferred).await;
    let asked = world.fake.asked.lock().unwrap();
    let asked: Vec<_> = asked.iter().map(|request| request.url.as_str()).collect();
    let expected = [
        "http://origin/a",
        "http://origin/missing",
        "http://mirror/found",
    ];
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn another_method_is_for_who_waits() {
    let mut world = World::new();
    let jobs = world.start();
    let job = jobs.create(ME, NewJob::default()).await.unwrap();
    let post = changes(json!({ "method": "POST" }));
    let shown = jobs.set(ME, job.id.clone(), post).await.unwrap();
    assert_eq!(shown.priority, Priority::Foreground);
    let low = changes(json!({ "priority": "low" }));
    let refused = jobs.set(ME, job.id.clone(), low).await;
    assert!(matches!(refused, Err(Refusal::Invalid(_))));
}

#[tokio::test]
async fn ranges_are_bounded_and_reach_the_fetcher() {
    let mut world = World::new();
    world.config.max_ranges_per_file = 2;
    let jobs = world.start();
    let range = |offset| FileRange {
        offset,
        length: Some(10),
    };
    let with = |ranges| {
        let mut job = world.job(&["hang"]);
        job.files[0].ranges = ranges;
        job
    };
    for wrong in [
        vec![range(0), range(10), range(20)],
        vec![range(0), range(5)],
    ] {
        let refused = jobs.create(ME, with(wrong)).await;
        assert!(matches!(refused, Err(Refusal::Invalid(_))));
    }
    let right = vec![range(50), range(0)];
    let job = jobs.create(ME, with(right.clone())).await.unwrap();
    let shown = until(&jobs, &job.id, JobState::Transferring).await;
    assert_eq!(shown.files[0].ranges.as_ref().unwrap().as_slice(), right);
    let asked = world.fake.asked.lock().unwrap();
    assert_eq!(asked[0].ranges.as_ref().unwrap().as_slice(), right);
}

#[tokio::test]
async fn the_log_says_which_secrets_were_sent_but_not_what_they_are() {
    let mut world = World::new();
    let jobs = world.start();
    let secret = vec![("x-key".to_owned(), "hunter2".to_owned())];
    let job = NewJob {
        changes: vec![Change::SecretHeaders(secret)],
        ..world.job(&["a"])
    };
    let job = jobs.create(ME, job).await.unwrap();
    until(&jobs, &job.id, JobState::Transferred).await;
    let events = world.events.read(|_| true).unwrap();
    let sent = events.iter().find(|event| event.kind == "credentials_sent");
    assert_eq!(sent.unwrap().fields["headers"], json!(["x-key"]));
    assert!(!format!("{events:?}").contains("hunter2"));
}

#[tokio::test]
async fn files_may_be_added_until_the_job_is_over() {
    let mut world = World::new();
    let jobs = world.start();
    let job = jobs.create(ME, world.job(&["a"])).await.unwrap();
    until(&jobs, &job.id, JobState::Transferred).await;
    // All were here: it runs again, and its file is not fetched twice.
    let more = vec![world.file("hang")];
    let shown = jobs.add(ME, job.id.clone(), more).await.unwrap();
    assert_eq!((shown.files_total, shown.files_transferred), (2, 1));
    until(&jobs, &job.id, JobState::Transferring).await;
    // One is on its way.
    let more = vec![world.file("b"), world.file("c")];
    jobs.add(ME, job.id.clone(), more).await.unwrap();
    let url = json!({ "url": { "file": 1, "url": "http://origin/d" } });
    jobs.set(ME, job.id.clone(), changes(url)).await.unwrap();
    let here = until(&jobs, &job.id, JobState::Transferred).await;
    assert_eq!((here.files_total, here.files_transferred), (4, 4));
    let asked = world.fake.asked.lock().unwrap().clone();
    let firsts = asked.iter().filter(|request| request.file == 0).count();
    assert_eq!(firsts, 1, "{asked:?}");
    jobs.complete(ME, job.id.clone(), None).await.unwrap();
    for name in ["a", "hang", "b", "c"] {
        assert!(world.out(name).exists(), "{name}");
    }
    let late = jobs.add(ME, job.id.clone(), vec![world.file("e")]).await;
    assert!(matches!(late, Err(Refusal::State(_))), "{late:?}");
}
