use axum::Router;
use axum::body::Body;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UnixListener;

use super::*;
use crate::api::CALLER_PLACES;

/// A server on a socket, as long as both are kept.
async fn serve(router: Router) -> (Client, TempDir, JoinSet<()>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let mut server = JoinSet::new();
    server.spawn(async { axum::serve(listener, router).await.unwrap() });
    (Client::connect(&path).await.unwrap(), dir, server)
}

#[tokio::test]
async fn nobody_is_told_apart_from_somebody_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let absent = Client::connect(&path).await.unwrap_err();
    assert!(absent.is_no_daemon(), "{absent}");
    // As after a crash.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(Client::connect(&path).await.unwrap_err().is_no_daemon());
    let too_long = dir.path().join("x".repeat(200));
    let wrong = Client::connect(&too_long).await.unwrap_err();
    assert!(!wrong.is_no_daemon(), "{wrong}");
}

#[tokio::test]
async fn documents_go_both_ways() {
    let echo = async |body: axum::Json<Value>| body;
    let gone = async || StatusCode::NO_CONTENT;
    let router = Router::new().route("/v1/x", get(async || "[1,2]").post(echo).delete(gone));
    let (client, _dir, _server) = serve(router).await;
    assert_eq!(client.get::<Vec<u8>>("/v1/x").await.unwrap(), [1, 2]);
    let sent = json!({ "a": "ö" });
    let echoed: Value = client.post("/v1/x", &sent).await.unwrap();
    assert_eq!(echoed, sent);
    client.delete("/v1/x").await.unwrap();
    let wrong = client.get::<String>("/v1/x").await.unwrap_err();
    assert!(matches!(wrong, ClientError::Broken(_)), "{wrong}");
}

#[tokio::test]
async fn a_problem_is_one_line() {
    let problem = async || {
        let body = json!({ "type": CALLER_PLACES, "status": 409, "detail": "not mine" });
        (StatusCode::CONFLICT, axum::Json(body)).into_response()
    };
    let (client, _dir, _server) = serve(Router::new().route("/places", get(problem))).await;
    let error = client.get::<Value>("/places").await.unwrap_err();
    assert!(error.is_caller_places());
    assert_eq!(error.to_string(), "not mine");
    let error = client.get::<Value>("/nothing").await.unwrap_err();
    assert_eq!(error.to_string(), "the daemon answered 404 Not Found");
}

#[tokio::test]
async fn lines_are_whole_however_they_arrive() {
    let parts = ["{\"a\"", ":1}\n{\"a\":", "2}\n\n{\"a\":3}\n"];
    let body = move || {
        let parts = parts.map(|part| Ok::<_, io::Error>(Bytes::from(part)));
        Body::from_stream(futures::stream::iter(parts))
    };
    let torn = async || "{\"a\":1}\n{\"a\"";
    let router = Router::new()
        .route("/lines", get(async move || body()))
        .route("/torn", get(torn));
    let (client, _dir, _server) = serve(router).await;
    let mut lines = client.lines("/lines").await.unwrap();
    for a in 1..=3 {
        let line: Value = lines.next_document().await.unwrap().unwrap();
        assert_eq!(line, json!({ "a": a }));
    }
    assert_eq!(lines.next().await.unwrap(), None);
    let mut torn = client.lines("/torn").await.unwrap();
    assert!(torn.next().await.unwrap().is_some());
    assert!(matches!(torn.next().await, Err(ClientError::Broken(_))));
}

#[tokio::test]
async fn bytes_cut_short_are_an_error() {
    let whole = vec![7; 300_000];
    let sent = whole.clone();
    let cut = async || {
        let chunks = [Ok(Bytes::from("abc")), Err(io::Error::other("gone"))];
        let body = Body::from_stream(futures::stream::iter(chunks));
        ([(header::CONTENT_LENGTH, "10")], body)
    };
    let router = Router::new()
        .route("/whole", get(async move || sent.clone()))
        .route("/cut", get(cut));
    let (client, _dir, _server) = serve(router).await;
    let mut bytes = Vec::new();
    let count = client.download("/whole", &mut bytes).await.unwrap();
    assert_eq!((count, &bytes), (300_000, &whole));
    let mut bytes = Vec::new();
    let cut = client.download("/cut", &mut bytes).await;
    let is_told = matches!(cut, Err(ClientError::Broken(_) | ClientError::CutOff(_)));
    assert!(is_told, "{cut:?}");
}

#[test]
fn any_text_makes_one_part_of_a_path() {
    assert_eq!(escaped("b3:0a-"), "b3:0a-");
    assert_eq!(escaped("../a b?ö"), "..%2Fa%20b%3F%C3%B6");
}

#[tokio::test]
async fn a_list_goes_on_where_the_daemon_says() {
    let first = async || ([(header::LINK, "</more?a=1&b=2>; rel=\"next\"")], "[1]");
    let router = Router::new()
        .route("/list", get(first))
        .route("/more", get(async || "[2]"));
    let (client, _dir, _server) = serve(router).await;
    let (page, next) = client.page::<u8>("/list").await.unwrap();
    assert_eq!((page, next.as_deref()), (vec![1], Some("/more?a=1&b=2")));
    let (page, next) = client.page::<u8>(&next.unwrap()).await.unwrap();
    assert_eq!((page, next), (vec![2], None));
}

/// What the first of many connections is told; the others are answered with `true`.
async fn once(told: &'static str) -> (Client, TempDir, JoinSet<()>) {
    use tokio::io::AsyncReadExt as _;
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join("socket")).unwrap();
    let client = Client::connect(&dir.path().join("socket")).await.unwrap();
    let mut server = JoinSet::new();
    server.spawn(async move {
        // The client looked whether somebody is there.
        drop(listener.accept().await.unwrap());
        let good = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue";
        for answer in std::iter::once(told).chain(std::iter::repeat(good)) {
            let (mut call, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(call.read_u8().await.unwrap());
            }
            call.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (client, dir, server)
}

const NO_ROOM: &str = "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 47\r\n\r\n\
     {\"type\":\"urn:potluck:crowded\",\"detail\":\"full\"} ";

#[tokio::test(start_paused = true)]
async fn a_call_is_made_again_where_that_changes_nothing() {
    let (client, _dir, _server) = once(NO_ROOM).await;
    assert!(client.order::<bool>("/x").await.unwrap());
    let (client, _dir, _server) = once("").await;
    assert!(client.get::<bool>("/x").await.unwrap());
    let (client, _dir, _server) = once("").await;
    let made_once = client.order::<bool>("/x").await;
    assert!(
        matches!(made_once, Err(ClientError::CutOff(_))),
        "{made_once:?}"
    );
}
