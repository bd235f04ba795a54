//! What is sent to origins and shown to nobody.

use std::fs;

use potluck::jobs::{Change, Credentials, NewFile, NewJob, Refusal};
use potluck_plan::JobState;
use potluck_transfer::{ClientCertificate, Redirects};

use super::world::{ME, OTHER, ROOT, World, until};

/// Values that must be nowhere but in the file of secrets.
const HIDDEN: [&str; 4] = [
    "s3cret-url",
    "s3cret-field",
    "s3cret-cookie",
    "s3cret-login",
];

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn secretive(world: &World) -> NewJob {
    let file = NewFile {
        url: "http://me:s3cret-url@origin/hang".to_owned(),
        headers: vec![pair("Cookie", "s3cret-cookie"), pair("X-Plain", "1")],
        secret_headers: vec![pair("X-Token", "s3cret-field")],
        ..world.file("hang")
    };
    let credentials = Credentials::Basic {
        user: "you".to_owned(),
        password: "s3cret-login".to_owned().into(),
    };
    NewJob {
        files: vec![world.file("a"), file],
        changes: vec![Change::Credentials(Some(credentials))],
        start: true,
        ..NewJob::default()
    }
}

/// Everything that is kept or logged of a job, but for its secrets.
fn everything_else(world: &World, id: &str) -> String {
    let record = fs::read_to_string(world.dir.path().join(format!("jobs/{id}.json"))).unwrap();
    let events = world.events.read(|_| true).unwrap();
    record + &serde_json::to_string(&events).unwrap()
}

#[tokio::test]
async fn secrets_are_sent_and_never_shown() {
    let mut world = World::new();
    let mut jobs = world.start();
    let job = jobs.create(ME, secretive(&world)).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let shown = until(&jobs, &job.id, JobState::Transferring).await;
        let mut watch = jobs.watch(ME, job.id.clone()).await.unwrap();
        let second = watch.wait_for(|job| job.files[1].bytes_total > 0);
        second.await.unwrap();
        seen.push(serde_json::to_string(&*shown).unwrap());
        seen.push(everything_else(&world, &job.id));
        // The next process takes them up again.
        world.kill().await;
        jobs = world.start();
    }
    for text in &seen {
        for hidden in HIDDEN {
            assert!(!text.contains(hidden), "{hidden} in {text}");
        }
    }
    assert!(seen[0].contains("http://me@origin/hang") && seen[0].contains("X-Token"));
    let asked = world.fake.asked.lock().unwrap().clone();
    let login = pair("Authorization", "Basic eW91OnMzY3JldC1sb2dpbg==");
    assert_eq!(asked[0].headers, [login]);
    for again in [&asked[1], &asked[2]] {
        assert_eq!(again.url, "http://me:s3cret-url@origin/hang");
        let sent = [
            pair("X-Plain", "1"),
            pair("X-Token", "s3cret-field"),
            pair("Cookie", "s3cret-cookie"),
        ];
        assert_eq!(again.headers, sent);
    }
}

#[tokio::test]
async fn secrets_end_with_their_job() {
    let mut world = World::new();
    let jobs = world.start();
    let job = jobs.create(ME, secretive(&world)).await.unwrap();
    let path = world.dir.path().join(format!("jobs/{}.secret", job.id));
    assert!(path.exists());
    jobs.cancel(ME, job.id.clone()).await.unwrap();
    world.stop().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn what_an_earlier_version_kept_in_the_record_leaves_it() {
    let mut world = World::new();
    let jobs = world.start();
    let job = jobs.create(ME, world.job(&["hang"])).await.unwrap();
    until(&jobs, &job.id, JobState::Transferring).await;
    world.kill().await;
    let path = world.dir.path().join(format!("jobs/{}.json", job.id));
    let record = fs::read_to_string(&path).unwrap();
    let record = record.replace("http://origin", "http://me:s3cret-url@origin");
    fs::write(&path, record).unwrap();
    let jobs = world.start();
    until(&jobs, &job.id, JobState::Transferring).await;
    assert!(!everything_else(&world, &job.id).contains("s3cret-url"));
    let asked = world.fake.asked.lock().unwrap();
    assert_eq!(asked[1].url, "http://me:s3cret-url@origin/hang");
}

#[tokio::test]
async fn a_record_that_cannot_be_read_now_keeps_its_secrets() {
    let mut world = World::new();
    let jobs = world.start();
    let job = jobs.create(ME, secretive(&world)).await.unwrap();
    world.stop().await;
    let path = world.dir.path().join(format!("jobs/{}.json", job.id));
    let record = fs::read(&path).unwrap();
    fs::write(&path, "of a later version").unwrap();
    world.start();
    world.stop().await;
    fs::write(&path, record).unwrap();
    let before = world.fake.asked.lock().unwrap().len();
    let jobs = world.start();
    until(&jobs, &job.id, JobState::Transferring).await;
    let asked = world.fake.asked.lock().unwrap();
    let is_sent = |secret: &str| format!("{:?}", &asked[before..]).contains(secret);
    assert!(is_sent("s3cret-field"), "{:?}", &asked[before..]);
}

#[tokio::test]
async fn a_job_that_is_taken_over_forgets_what_its_owner_gave_it() {
    let mut world = World::new();
    world.config.limits.jobs_per_user = 1;
    let jobs = world.start();
    let detached = NewJob {
        detached: true,
        ..secretive(&world)
    };
    let job = jobs.create(ME, detached).await.unwrap();
    for by in [ME, OTHER] {
        let refused = jobs.take_over(by, job.id.clone()).await;
        assert!(refused.is_err(), "{by:?}");
    }
    let full = jobs.create(ME, NewJob::default()).await;
    assert!(matches!(full, Err(Refusal::Limit(_))));
    let shown = jobs.take_over(ROOT, job.id.clone()).await.unwrap();
    assert_eq!(shown.owner, "uid:0");
    // Nothing is written with root's rights before root says so.
    assert!(!shown.settings.detached);
    assert!(shown.settings.credentials.is_none());
    assert!(shown.files[1].headers.is_empty() && shown.files[1].secret_headers.is_empty());
    let path = world.dir.path().join(format!("jobs/{}.secret", job.id));
    assert!(!path.exists());
    // It counts to root's jobs now.
    jobs.create(ME, NewJob::default()).await.unwrap();
    let mine = jobs.show(ME, job.id.clone()).await;
    assert!(matches!(mine, Err(Refusal::NoSuchJob(_))));
    world.stop().await;
    let jobs = world.start();
    let shown = jobs.show(ROOT, job.id.clone()).await.unwrap();
    assert_eq!(shown.owner, "uid:0");
}

#[tokio::test]
async fn a_job_that_is_taken_over_writes_nothing_where_its_owner_said() {
    let mut world = World::new();
    // A daemon of root.
    world.config.own_uid = ROOT.uid;
    let jobs = world.start();
    let job = jobs.create(ME, world.job(&["a", "b"])).await.unwrap();
    until(&jobs, &job.id, JobState::Transferred).await;
    jobs.take_over(ROOT, job.id.clone()).await.unwrap();
    for placed in [None, Some(vec![0, 1])] {
        let refused = jobs.complete(ROOT, job.id.clone(), placed).await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("path 0=PATH"), "{refused}");
    }
    world.stop().await;
    let jobs = world.start();
    for (file, name) in ["here", "there"].iter().enumerate() {
        let refused = jobs.complete(ROOT, job.id.clone(), None).await;
        assert!(refused.is_err(), "after {file} files");
        let path = world.out(name);
        let change = vec![Change::Path { file, path }];
        jobs.set(ROOT, job.id.clone(), change).await.unwrap();
    }
    jobs.complete(ROOT, job.id.clone(), None).await.unwrap();
    let is_there = |name| world.out(name).exists();
    assert_eq!(
        ["a", "b", "here", "there"].map(is_there),
        [false, false, true, true]
    );
}

#[tokio::test]
async fn header_fields_replace_their_own_kind() {
    let mut world = World::new();
    let jobs = world.start();
    let job = jobs.create(ME, NewJob::default()).await.unwrap();
    let set = async |of: serde_json::Value| {
        let changes = Change::read(of.as_object().unwrap().clone()).unwrap();
        let shown = jobs.set(ME, job.id.clone(), changes).await.unwrap();
        let plain = shown.settings.headers.iter().map(|(name, _)| name.clone());
        (
            plain.collect::<Vec<_>>(),
            shown.settings.secret_headers.clone(),
        )
    };
    let names = |of: &[&str]| -> Vec<String> { of.iter().map(|name| (*name).to_owned()).collect() };
    let both = serde_json::json!({
        "headers": [["A", "1"], ["Cookie", "2"]],
        "secret_headers": [["B", "3"], ["cookie", "4"]],
    });
    assert_eq!(set(both).await, (names(&["A"]), names(&["B", "Cookie"])));
    let plain = serde_json::json!({ "headers": [] });
    assert_eq!(set(plain).await, (names(&[]), names(&["B", "Cookie"])));
    let secret = serde_json::json!({ "secret_headers": [] });
    assert_eq!(set(secret).await, (names(&[]), names(&[])));
}

#[tokio::test]
async fn who_a_redirect_names_is_told_nothing() {
    let mut world = World::new();
    let jobs = world.start();
    let file = NewFile {
        headers: vec![pair("X-Plain", "1"), pair("User-Agent", "me")],
        secret_headers: vec![pair("X-Token", "s3cret-field")],
        ..world.file("redirected-peer")
    };
    let certificate = ClientCertificate {
        certificate_file: "/etc/mine.pem".into(),
        key_file: "/etc/mine.key".into(),
    };
    let job = NewJob {
        files: vec![file],
        changes: vec![
            Change::Headers(vec![pair("X-Job", "2")]),
            Change::ClientCertificate(Some(certificate)),
            Change::Redirects(Redirects::Report),
        ],
        start: true,
        ..NewJob::default()
    };
    let job = jobs.create(ME, job).await.unwrap();
    let shown = until(&jobs, &job.id, JobState::Transferred).await;
    assert_eq!(shown.files[0].url, "http://elsewhere/link");
    // It came from peers and is not what it should be: its new URL is asked.
    jobs.validate(ME, job.id.clone(), 0, false).await.unwrap();
    until(&jobs, &job.id, JobState::Transferred).await;
    let asked = world.fake.asked.lock().unwrap().clone();
    let [first, second] = &asked[..] else {
        panic!("{asked:?}");
    };
    assert_eq!(first.headers.len(), 4);
    assert!(first.options.client_certificate.is_some() && !first.for_itself);
    assert_eq!(second.url, "http://elsewhere/link");
    assert_eq!(second.headers, [pair("User-Agent", "me")]);
    assert!(second.options.client_certificate.is_none() && second.for_itself);
}

#[tokio::test]
async fn a_crash_between_secrets_and_record_sends_nothing_to_the_old_origin() {
    let mut world = World::new();
    let jobs = world.start();
    let waiting = NewJob {
        start: false,
        ..secretive(&world)
    };
    let job = jobs.create(ME, waiting).await.unwrap();
    let record = world.dir.path().join(format!("jobs/{}.json", job.id));
    let before = fs::read(&record).unwrap();
    let credentials = Credentials::Basic {
        user: "you".to_owned(),
        password: "for-another".to_owned().into(),
    };
    let changes = vec![
        Change::Url {
            file: 0,
            url: "http://another/a".to_owned(),
        },
        Change::Url {
            file: 1,
            url: "http://another/hang".to_owned(),
        },
        Change::Credentials(Some(credentials)),
    ];
    jobs.set(ME, job.id.clone(), changes).await.unwrap();
    world.kill().await;
    // The secrets were kept, and the record was not.
    fs::write(&record, before).unwrap();
    let jobs = world.start();
    jobs.resume(ME, job.id.clone()).await.unwrap();
    until(&jobs, &job.id, JobState::Transferring).await;
    let asked = world.fake.asked.lock().unwrap().clone();
    assert!(!asked.is_empty());
    for request in asked {
        let sent = format!("{:?}", request.headers);
        assert!(!sent.contains("Authorization"), "{} {sent}", request.url);
    }
}
