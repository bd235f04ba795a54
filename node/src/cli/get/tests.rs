use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use clap::Parser;
use serde_json::Value;
use tokio::net::UnixListener;
use tokio::task::JoinSet;

use super::*;

const ID: &str = "0123456789abcdef";

#[derive(Parser)]
struct Words {
    #[command(flatten)]
    args: GetArgs,
}

fn made() -> axum::Json<Value> {
    axum::Json(json!({
        "id": ID, "name": "", "type": "download", "priority": "foreground",
        "state": "queued", "owner": "uid:1", "created": "2026-11-21T00:00:00Z",
        "error": null, "bytes_total": 0, "bytes_transferred": 0, "bytes_from_peers": 0,
        "bytes_from_origin": 0, "bytes_from_cache": 0, "bytes_discarded": 0, "files": [],
    }))
}

/// How a file is got from a daemon that shows nothing of the job it made, and that cancels
/// it or not. Says why not, and how often it was cancelled.
async fn got(dir: &Path, cancels: bool) -> (Failure, usize) {
    let socket = dir.join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let counted = Arc::new(AtomicUsize::new(0));
    let cancelled = Arc::clone(&counted);
    let cancel = move || async move {
        cancelled.fetch_add(1, Ordering::Relaxed);
        match cancels {
            true => Ok(made()),
            false => Err(StatusCode::CONFLICT),
        }
    };
    let router = Router::new()
        .route("/v1/jobs", post(async || made()))
        .route(
            &format!("/v1/jobs/{ID}/watch"),
            get(async || StatusCode::TOO_MANY_REQUESTS),
        )
        .route(&format!("/v1/jobs/{ID}/cancel"), post(cancel));
    let mut server = JoinSet::new();
    server.spawn(async { axum::serve(listener, router).await.unwrap() });
    let client = Client::connect(&socket).await.unwrap();
    let Words { args } = Words::try_parse_from(["get", "http://origin/file"]).unwrap();
    let output = Output {
        json: false,
        quiet: true,
        live: false,
    };
    let mut interrupt = Interrupt::new().unwrap();
    let paths = [dir.join("file")];
    let outcome = transfer(&client, &args, &paths, &output, &mut interrupt).await;
    std::fs::remove_file(&socket).unwrap();
    (outcome.unwrap_err(), counted.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_job_that_cannot_be_followed_is_cancelled_or_named() {
    let dir = tempfile::tempdir().unwrap();
    let (failure, cancelled) = got(dir.path(), true).await;
    assert_eq!(cancelled, 1, "{failure}");
    assert!(failure.to_string().contains("429"), "{failure}");
    let (failure, _) = got(dir.path(), false).await;
    assert!(failure.to_string().contains("429"), "{failure}");
    assert!(failure.to_string().contains(ID), "{failure}");
}

#[tokio::test]
async fn nobody_hears_of_a_cancel_that_was_refused() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let router = Router::new().route(
        &format!("/v1/jobs/{ID}/cancel"),
        post(async || StatusCode::CONFLICT),
    );
    let mut server = JoinSet::new();
    server.spawn(async { axum::serve(listener, router).await.unwrap() });
    let client = Client::connect(&socket).await.unwrap();
    let job = serde_json::from_value(made().0).unwrap();
    let failure = interrupted(&client, &job).await.to_string();
    assert!(failure.contains("not cancelled"), "{failure}");
    assert!(failure.contains(ID), "{failure}");
}
