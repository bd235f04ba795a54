//! Writing, reading and what crashes leave.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use super::*;
use crate::jobs::JobFile;

fn job(id: &str, second: u64) -> Job {
    let created = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
    Job {
        name: "a".into(),
        files: vec![JobFile::new("http://o/a".into(), "/tmp/a".into())],
        ..Job::new(id.parse().unwrap(), 7, created)
    }
}

#[test]
fn what_was_saved_is_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = JobStore::open(&dir.path().join("jobs")).unwrap();
    let (a, b) = (job("00000000000000aa", 2), job("00000000000000bb", 1));
    store.save(&a).unwrap();
    store.save(&b).unwrap();
    let again = JobStore::open(&dir.path().join("jobs")).unwrap();
    assert_eq!(
        again.load().unwrap(),
        [b.clone(), a.clone()],
        "in the order of their making"
    );
    again.remove(b.id).unwrap();
    again.remove(b.id).unwrap();
    assert_eq!(again.load().unwrap(), [a]);
}

#[test]
fn a_crash_leaves_the_old_or_the_new() {
    let dir = tempfile::tempdir().unwrap();
    let store = JobStore::open(dir.path()).unwrap();
    let kept = job("00000000000000aa", 1);
    store.save(&kept).unwrap();
    let whole = fs::read(dir.path().join("00000000000000aa.json")).unwrap();
    // The write of a later state, cut off anywhere, is under the temporary name.
    for end in [0, 1, whole.len() / 2, whole.len()] {
        let temporary = dir.path().join("00000000000000aa.tmp");
        fs::write(&temporary, &whole[..end]).unwrap();
        assert_eq!(store.load().unwrap(), std::slice::from_ref(&kept));
        assert!(!temporary.exists());
    }
}

#[test]
fn one_broken_file_costs_one_job() {
    let dir = tempfile::tempdir().unwrap();
    let store = JobStore::open(dir.path()).unwrap();
    let kept = job("00000000000000aa", 1);
    store.save(&kept).unwrap();
    fs::write(dir.path().join("00000000000000bb.json"), "{").unwrap();
    fs::write(
        dir.path().join("00000000000000cc.json"),
        r#"{"version":9,"job":{}}"#,
    )
    .unwrap();
    fs::copy(
        dir.path().join("00000000000000aa.json"),
        dir.path().join("00000000000000dd.json"),
    )
    .unwrap();
    assert_eq!(store.load().unwrap(), [kept]);
    assert!(dir.path().join("00000000000000bb.json").exists());
}

#[test]
fn a_job_of_an_earlier_version_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = JobStore::open(dir.path()).unwrap();
    let job = job("00000000000000aa", 1);
    store.save(&job).unwrap();
    let path = dir.path().join("00000000000000aa.json");
    let mut kept: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let first = [
        "id",
        "name",
        "type",
        "priority",
        "owner",
        "created",
        "machine",
        "use_peers",
        "detached",
        "files",
    ];
    let fields = kept["job"].as_object_mut().unwrap();
    fields.retain(|name, _| first.contains(&name.as_str()));
    let of_file = [
        "url",
        "path",
        "headers",
        "checksum",
        "size",
        "validator",
        "content",
        "mtime",
        "entity",
        "shareable",
        "accounting",
        "placed",
        "error",
    ];
    let file = kept["job"]["files"][0].as_object_mut().unwrap();
    file.retain(|name, _| of_file.contains(&name.as_str()));
    fs::write(&path, kept.to_string()).unwrap();
    assert_eq!(store.load().unwrap(), [job]);
}

#[test]
fn jobs_made_together_are_kept_in_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = JobStore::open(dir.path()).unwrap();
    let mut jobs = [job("00000000000000aa", 1), job("00000000000000bb", 2)];
    store.save_new(&jobs).unwrap();
    store.save_new(&[]).unwrap();
    assert_eq!(files(dir.path()), ["00000000000000aa.jobs"]);
    assert_eq!(store.load().unwrap(), jobs);
    // One of them changes.
    jobs[0].name = "b".into();
    store.save(&jobs[0]).unwrap();
    let again = JobStore::open(dir.path()).unwrap();
    assert_eq!(again.load().unwrap(), jobs);
    // When the last of them has changed, nobody needs the file.
    again.save(&jobs[1]).unwrap();
    assert_eq!(
        files(dir.path()),
        ["00000000000000aa.json", "00000000000000bb.json"]
    );
    assert_eq!(again.load().unwrap(), jobs);
}

#[test]
fn a_job_made_with_others_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = JobStore::open(dir.path()).unwrap();
    let jobs = ["aa", "bb", "cc"].map(|id| job(&format!("00000000000000{id}"), 1));
    store.save_new(&jobs).unwrap();
    store.save(&jobs[0]).unwrap();
    // With a file of its own, and without.
    store.remove(jobs[0].id).unwrap();
    store.remove(jobs[1].id).unwrap();
    for _ in 0..2 {
        let again = JobStore::open(dir.path()).unwrap();
        assert_eq!(again.load().unwrap(), jobs[2..]);
    }
    let again = JobStore::open(dir.path()).unwrap();
    again.load().unwrap();
    again.remove(jobs[2].id).unwrap();
    assert_eq!(files(dir.path()), [""; 0]);
}

#[test]
fn a_broken_line_costs_one_of_the_jobs_made_together() {
    let dir = tempfile::tempdir().unwrap();
    let store = JobStore::open(dir.path()).unwrap();
    let jobs = [job("00000000000000aa", 1), job("00000000000000bb", 2)];
    store.save_new(&jobs).unwrap();
    let path = dir.path().join("00000000000000aa.jobs");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen(r#""name""#, r#""na"#, 1)).unwrap();
    assert_eq!(store.load().unwrap(), jobs[1..]);
    store.remove(jobs[1].id).unwrap();
    assert!(path.exists(), "for whoever wants to look");
}

#[test]
fn what_could_not_be_made_durable_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = JobStore::open(dir.path()).unwrap();
    let jobs = [job("00000000000000aa", 1), job("00000000000000bb", 2)];
    store.sync_fails.store(true, Relaxed);
    store.save_new(&jobs).unwrap_err();
    store.save_new(&jobs[..1]).unwrap_err();
    assert!(files(dir.path()).is_empty(), "{:?}", files(dir.path()));
    store.sync_fails.store(false, Relaxed);
    store.save_new(&jobs).unwrap();
    assert_eq!(store.load().unwrap(), jobs);
}

#[test]
fn what_cannot_be_read_brings_no_job_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = JobStore::open(dir.path()).unwrap();
    let jobs = [job("00000000000000aa", 1), job("00000000000000bb", 2)];
    store.save_new(&jobs).unwrap();
    store.remove(jobs[0].id).unwrap();
    let path = dir.path().join("00000000000000aa.jobs");
    let whole = fs::read(&path).unwrap();
    for broken in ["{", "{\"version\":1}\n{"] {
        fs::write(&path, broken).unwrap();
        let store = JobStore::open(dir.path()).unwrap();
        assert!(store.load().unwrap().is_empty());
    }
    fs::write(&path, whole).unwrap();
    let store = JobStore::open(dir.path()).unwrap();
    assert_eq!(store.load().unwrap(), jobs[1..]);
}

#[test]
fn a_file_that_stays_is_not_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let store = JobStore::open(dir.path()).unwrap();
    let jobs = [job("00000000000000aa", 1), job("00000000000000bb", 2)];
    store.save_new(&jobs).unwrap();
    // Nobody needs it when both have files of their own, and it cannot be removed.
    let path = dir.path().join("00000000000000aa.jobs");
    let aside = dir.path().join("aside");
    fs::rename(&path, &aside).unwrap();
    fs::create_dir(&path).unwrap();
    for job in &jobs {
        store.save(job).unwrap();
    }
    fs::remove_dir(&path).unwrap();
    fs::rename(&aside, &path).unwrap();
    store.remove(jobs[0].id).unwrap();
    let store = JobStore::open(dir.path()).unwrap();
    assert_eq!(store.load().unwrap(), jobs[1..]);
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
