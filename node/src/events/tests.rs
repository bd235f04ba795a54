use serde_json::json;

use super::*;

fn kinds(log: &EventLog) -> Vec<(u64, String)> {
    let events = log.read(|_| true).unwrap();
    events
        .into_iter()
        .map(|event| (event.id, event.kind))
        .collect()
}

#[test]
fn ids_go_on_after_a_restart_and_a_torn_line() {
    let dir = tempfile::tempdir().unwrap();
    let (log, writer) = EventLog::open(dir.path()).unwrap();
    log.record("one", None, json!({ "a": 1 }));
    log.record("two", Some(("aa".into(), 7)), json!({}));
    log.stop();
    writer.join();
    let mut file = append_to(&file_name(dir.path(), 0)).unwrap();
    file.write_all(b"{\"time\":\"torn \xff\xfe").unwrap();
    let (log, _writer) = EventLog::open(dir.path()).unwrap();
    log.record("three", None, json!({}));
    let expected = [(1, "one".into()), (2, "two".into()), (3, "three".into())];
    assert_eq!(kinds(&log), expected);
    assert_eq!(log.read(|event| event.owner == Some(7)).unwrap().len(), 1);
}

#[test]
fn old_files_go() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _writer) = EventLog::open(dir.path()).unwrap();
    let long = "x".repeat(2 << 10);
    let long: Map<String, Value> = (0..512).map(|n| (n.to_string(), json!(long))).collect();
    for _ in 0..60 {
        log.record("big", None, Value::Object(long.clone()));
    }
    let events = log.read(|_| true).unwrap();
    assert_eq!(events.last().unwrap().id, 60);
    assert!(events.len() < 45, "{}", events.len());
    let total: u64 = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(total <= (MAX_FILE + (2 << 20)) * u64::from(MAX_OLD_FILES + 1));
}

#[test]
fn what_others_say_is_shortened() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _writer) = EventLog::open(dir.path()).unwrap();
    let text = "ü".repeat(1 << 20);
    log.record(
        "long",
        None,
        json!({ "a": text, "b": vec![text.clone(); 1_000] }),
    );
    let event = log.read(|_| true).unwrap().remove(0);
    let bytes = serde_json::to_vec(&event).unwrap().len();
    assert!(bytes < MAX_TEXT * (MAX_ITEMS + 2), "{bytes}");
    let short = event.fields["a"].as_str().unwrap();
    assert!(short.starts_with("üü") && short.ends_with('…'));
}

#[tokio::test]
async fn followers_hear_what_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _writer) = EventLog::open(dir.path()).unwrap();
    let mut follower = log.follow();
    log.record("one", None, json!({ "a": 1 }));
    let event = follower.recv().await.unwrap();
    assert_eq!((event.id, event.fields["a"].as_u64()), (1, Some(1)));
}

#[test]
fn a_reader_takes_a_little_at_a_time_and_misses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _writer) = EventLog::open(dir.path()).unwrap();
    let long = "x".repeat(2_000);
    // More than one file.
    let many = 5_000;
    for n in 0..many {
        log.record("long", None, json!({ "n": n, "text": long }));
        if n % 1_000 == 0 {
            log.reader(0).unwrap();
        }
    }
    let mut reader = log.reader(10).unwrap();
    let mut ids = Vec::new();
    loop {
        let batch = reader.read().unwrap();
        let bytes = serde_json::to_vec(&batch).unwrap().len();
        assert!(bytes < 256 << 10, "{bytes} at once");
        let Some(last) = batch.last() else {
            break;
        };
        assert_eq!(reader.last(), last.id);
        ids.extend(batch.iter().map(|event| event.id));
        // What comes meanwhile puts files aside.
        log.record("long", None, json!({ "text": long }));
    }
    let expected: Vec<u64> = (11..=many).collect();
    assert_eq!(ids[..expected.len()], expected);
}

#[test]
fn one_user_does_not_push_out_what_others_did() {
    let dir = tempfile::tempdir().unwrap();
    let (log, writer) = EventLog::open(dir.path()).unwrap();
    // Neither root nor whoever runs this.
    let user = rustix::process::geteuid().as_raw() + 7;
    log.record("ours", None, json!({}));
    let long = "x".repeat(2_000);
    let most = usize::try_from(MAX_FILE).unwrap() * 6 / 2_000;
    for number in 0..most {
        log.record_for(user, "theirs", json!({ "long": long }));
        if number % (QUEUE / 2) == 0 {
            drop(log.reader(0).unwrap());
        }
    }
    log.stop();
    writer.join();
    let (log, _writer) = EventLog::open(dir.path()).unwrap();
    let events = log.read(|_| true).unwrap();
    assert_eq!(events[0].kind, "ours");
    let last = events.last().unwrap();
    assert_eq!(
        (last.kind.as_str(), last.owner),
        ("events_left_out", Some(user))
    );
    let written = events.iter().filter(|event| event.kind == "theirs").count();
    let left_out = last.fields["count"].as_u64().unwrap();
    assert!(written > 900, "{written}");
    assert_eq!(written as u64 + left_out, most as u64);
}
