use std::path::Path;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::caller_stream::{IDLE, STALLED};
use super::super::serving::answer;
use super::*;
use crate::client::Client;

/// A door: `/quiet` never says more than the beginning, `/long` says more than there is
/// room for on the way.
fn open_with_queue(dir: &Path, room: Room, queue: usize) -> JoinSet<()> {
    let listener = UnixListener::bind(dir.join("socket")).unwrap();
    let quiet = async || Body::from_stream(futures::stream::pending::<io::Result<&[u8]>>());
    let slow = async || {
        sleep(Duration::from_millis(10)).await;
        "true"
    };
    let router = Router::new()
        .route("/", get(async || "here"))
        .route("/slow", get(slow).post(slow))
        .route("/quiet", get(quiet))
        .route("/long", get(async || vec![0_u8; 8 << 20]));
    let mut tasks = JoinSet::new();
    let gate = Gate::new(listener, room, Room::new(queue, 0, queue));
    tasks.spawn(answer(gate, router, CancellationToken::new()));
    tasks
}

fn open(dir: &Path, room: Room) -> JoinSet<()> {
    open_with_queue(dir, room, 0)
}

async fn call(dir: &Path, path: &str) -> UnixStream {
    let mut stream = UnixStream::connect(dir.join("socket")).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn first_line(stream: &mut UnixStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(line).unwrap()
}

/// A whole answer of `/`.
async fn answer_of(stream: &mut UnixStream) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(b"here") {
        answer.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(answer).unwrap()
}

async fn rest(stream: &mut UnixStream) -> usize {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    rest.len()
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_nothing_has_to_leave() {
    let dir = tempfile::tempdir().unwrap();
    let _door = open(dir.path(), Room::new(2, 0, 2));
    let begun = Instant::now();
    let mut silent = UnixStream::connect(dir.path().join("socket"))
        .await
        .unwrap();
    silent.write_all(b"GET / HT").await.unwrap();
    rest(&mut silent).await;
    assert!(begun.elapsed() >= IDLE, "{:?}", begun.elapsed());
    let mut answered = call(dir.path(), "/").await;
    rest(&mut answered).await;
    assert!(begun.elapsed() >= 2 * IDLE, "{:?}", begun.elapsed());
    let mut quiet = call(dir.path(), "/quiet").await;
    first_line(&mut quiet).await;
    let more = timeout(100 * IDLE, rest(&mut quiet)).await;
    assert!(more.is_err(), "who waits for an answer stays");
}

#[tokio::test(start_paused = true)]
async fn who_asks_now_and_then_stays() {
    let dir = tempfile::tempdir().unwrap();
    let _door = open(dir.path(), Room::new(1, 0, 1));
    let mut caller = call(dir.path(), "/").await;
    for _ in 0..5 {
        let answer = answer_of(&mut caller).await;
        assert!(answer.ends_with("here"), "{answer}");
        sleep(IDLE * 2 / 3).await;
        let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        caller.write_all(request).await.unwrap();
    }
}

#[tokio::test]
async fn one_connection_is_one_call_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let _door = open(dir.path(), Room::new(1, 0, 1));
    let mut caller = UnixStream::connect(dir.path().join("socket"))
        .await
        .unwrap();
    // As RFC 9113 has clients of HTTP/2 begin: the preface, and settings.
    let greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    caller.write_all(greeting).await.unwrap();
    let mut answer = Vec::new();
    let end = timeout(IDLE, caller.read_to_end(&mut answer)).await;
    assert!(end.is_ok(), "HTTP/2 is spoken: {answer:?}");
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"));
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_has_to_leave() {
    let dir = tempfile::tempdir().unwrap();
    let _door = open(dir.path(), Room::new(1, 0, 1));
    let mut slow = call(dir.path(), "/long").await;
    first_line(&mut slow).await;
    tokio::time::sleep(2 * STALLED).await;
    assert!(rest(&mut slow).await < 8 << 20, "not all of it was sent");
}

#[tokio::test]
async fn who_finds_no_room_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let _door = open(dir.path(), Room::new(1, 0, 1));
    let mut first = call(dir.path(), "/quiet").await;
    assert!(first_line(&mut first).await.contains("200"));
    let mut second = call(dir.path(), "/").await;
    assert!(first_line(&mut second).await.contains("429"));
    assert!(rest(&mut second).await > 0);
    drop(first);
    let deadline = Instant::now() + Duration::from_secs(30);
    while first_line(&mut call(dir.path(), "/").await)
        .await
        .contains("429")
    {
        assert!(Instant::now() < deadline, "the place stays taken");
    }
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_room_waits_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let _door = open_with_queue(dir.path(), Room::new(1, 0, 1), 1);
    let mut first = call(dir.path(), "/quiet").await;
    assert!(first_line(&mut first).await.contains("200"));
    let mut second = call(dir.path(), "/").await;
    let begun = Instant::now();
    assert!(first_line(&mut second).await.contains("429"));
    assert!(begun.elapsed() >= PATIENCE);
    drop(second);
    let mut third = call(dir.path(), "/").await;
    tokio::task::yield_now().await;
    drop(first);
    assert!(first_line(&mut third).await.contains("200"));
}

#[tokio::test(start_paused = true)]
async fn many_calls_at_once_are_all_answered() {
    let dir = tempfile::tempdir().unwrap();
    let _door = open_with_queue(dir.path(), Room::new(8, 0, 8), 100);
    let client = Client::connect(&dir.path().join("socket")).await.unwrap();
    let mut calls = JoinSet::new();
    // All of them are at least told that there is no room.
    for number in 0..100 + 8 + TURNED_AWAY {
        let client = client.clone();
        calls.spawn(async move {
            match number % 2 {
                0 => client.get::<bool>("/slow").await,
                _ => client.order("/slow").await,
            }
        });
    }
    while let Some(call) = calls.join_next().await {
        let answer = call.unwrap();
        assert!(answer.as_ref().is_ok_and(|answer| *answer), "{answer:?}");
    }
}
