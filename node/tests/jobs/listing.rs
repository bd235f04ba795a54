//! Which jobs are listed.

use potluck::jobs::{Change, JobDocument, JobQuery, NewFile, NewJob, Refusal};
use potluck_plan::{JobState, Priority};

use super::world::{ME, OTHER, ROOT, World};

fn named(name: &str) -> NewJob {
    NewJob {
        changes: vec![Change::Name(name.to_owned())],
        ..NewJob::default()
    }
}

#[tokio::test]
async fn a_query_chooses_and_pages() {
    let mut world = World::new();
    let jobs = world.start();
    let mut ids = Vec::new();
    for name in ["night 1", "night 2", "day", "night 3"] {
        ids.push(jobs.create(ME, named(name)).await.unwrap().id.clone());
    }
    let other = jobs.create(OTHER, named("night 4")).await.unwrap();
    jobs.cancel(ME, ids[0].clone()).await.unwrap();
    let low = vec![Change::Priority(Priority::Low)];
    jobs.set(ME, ids[2].clone(), low).await.unwrap();
    let list = async |by, query: JobQuery| -> Vec<String> {
        let found = jobs.list(by, query).await.unwrap().jobs;
        found.iter().map(|job| job.id.clone()).collect()
    };
    let night = JobQuery {
        name: Some("night *".to_owned()),
        ..JobQuery::default()
    };
    let expected = [ids[1].clone(), ids[3].clone(), other.id.clone()];
    assert_eq!(list(ROOT, night.clone()).await, expected);
    let mine = JobQuery {
        owner: Some(ME.uid),
        ..night.clone()
    };
    assert_eq!(list(ROOT, mine).await, expected[..2]);
    assert_eq!(list(ME, night.clone()).await, expected[..2]);
    let cancelled = JobQuery {
        state: vec![JobState::Cancelled],
        ..JobQuery::default()
    };
    assert_eq!(list(ME, cancelled).await, ids[..1]);
    let low = JobQuery {
        priority: Some(Priority::Low),
        ..JobQuery::default()
    };
    assert_eq!(list(ME, low).await, ids[2..3]);
    let mut page = JobQuery {
        limit: Some(2),
        ..JobQuery::everything()
    };
    assert_eq!(list(ROOT, page.clone()).await, ids[..2]);
    page.after = Some(ids[1].clone());
    assert_eq!(list(ROOT, page.clone()).await, ids[2..]);
    page.after = Some(ids[3].clone());
    assert_eq!(
        list(ROOT, page.clone()).await,
        std::slice::from_ref(&other.id)
    );
    page.after = Some("0123".to_owned());
    let gone = jobs.list(ROOT, page).await;
    assert!(matches!(gone, Err(Refusal::NoSuchJob(_))));
}

#[tokio::test]
async fn a_brief_list_leaves_the_files_out() {
    let mut world = World::new();
    let jobs = world.start();
    jobs.create(ME, world.job(&["hang", "b"])).await.unwrap();
    let brief = JobQuery {
        brief: true,
        ..JobQuery::default()
    };
    let found = jobs.list(ME, brief).await.unwrap().jobs;
    assert_eq!((found[0].files.len(), found[0].files_total), (0, 2));
}

/// A user may have 60 jobs of 2 MiB each; who asks for all of them gets them little by little.
#[tokio::test]
async fn a_page_is_not_longer_than_its_bytes() {
    let mut world = World::new();
    let jobs = world.start();
    let long = "x".repeat(2_000);
    let mut ids = Vec::new();
    for _ in 0..12 {
        let files = (0..200).map(|n| NewFile {
            url: format!("http://origin/{long}"),
            ..world.file(&n.to_string())
        });
        let new = NewJob {
            files: files.collect(),
            ..NewJob::default()
        };
        ids.push(jobs.create(ME, new).await.unwrap().id.clone());
    }
    let mut query = JobQuery::default();
    let (mut found, mut pages) = (Vec::new(), 0);
    loop {
        let page = jobs.list(ME, query.clone()).await.unwrap();
        let bytes: usize = page.jobs.iter().map(|job| shown(job)).sum();
        assert!(bytes <= 4 << 20, "{bytes}");
        found.extend(page.jobs.iter().map(|job| job.id.clone()));
        pages += 1;
        match page.next() {
            Some(next) => query.after = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(found, ids);
    assert!(pages > 1);
    query.after = None;
    query.brief = true;
    let brief = jobs.list(ME, query).await.unwrap();
    assert_eq!((brief.jobs.len(), brief.next()), (ids.len(), None));
}

fn shown(job: &JobDocument) -> usize {
    serde_json::to_vec(job).unwrap().len()
}
