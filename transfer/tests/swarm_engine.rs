//! Engines that fetch the same files together.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use potluck_transfer::{EngineConfig, FileDone, Share};
use support::scripted_origin::{Asked, Reply, ScriptedOrigin, file, head};
use support::site::{Site, get_all, sharing};
use support::{blob, check, counting_origin, until};
use tokio::sync::watch;

const MIB: usize = 1 << 20;

fn not_there() -> Reply {
    let nothing = ("Content-Length", "0".to_owned());
    Reply::Keep(head("404 Not Found", &[nothing]))
}

/// An origin of one file, and how many bytes of bodies it sent.
async fn origin_of(content: &[u8]) -> (ScriptedOrigin, Arc<AtomicU64>) {
    let content = content.to_vec();
    counting_origin(move |asked| match asked.path.as_str() {
        "/f" => file(asked, &content, "v1"),
        _ => not_there(),
    })
    .await
}

fn copies(sent: u64, content: &[u8]) -> f64 {
    sent as f64 / content.len() as f64
}

/// The bytes of the origin that all together counted, kept or not.
fn asked_of_origin(all: &[FileDone]) -> u64 {
    let of = |done: &FileDone| done.accounting.origin + done.accounting.discarded;
    all.iter().map(of).sum()
}

#[tokio::test]
async fn a_cold_crowd_costs_the_origin_one_copy() {
    let content = blob(16 * MIB, 1);
    let (origin, sent) = origin_of(&content).await;
    let crowd = Site::new().crowd(4).await;
    for done in get_all(&crowd, &origin.url("/f")).await {
        check(&done, &content);
    }
    let copies = copies(sent.load(Ordering::SeqCst), &content);
    assert!(copies <= 1.1, "{copies}");
}

#[tokio::test]
async fn a_file_of_one_piece_costs_the_origin_one_copy() {
    let content = blob(100_000, 2);
    let (origin, sent) = origin_of(&content).await;
    let crowd = Site::new().crowd(4).await;
    for done in get_all(&crowd, &origin.url("/f")).await {
        check(&done, &content);
    }
    assert_eq!(sent.load(Ordering::SeqCst), content.len() as u64);
}

/// An answer with the whole, to whatever was asked for.
fn whole(asked: &Asked, content: &[u8], fields: &[(&str, &str)]) -> Vec<u8> {
    let fields: Vec<_> = fields.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
    let mut bytes = head("200 OK", &fields);
    if asked.method == "GET" {
        bytes.extend(content);
    }
    bytes
}

#[tokio::test]
async fn of_one_stream_the_others_take_piece_by_piece() {
    let content = blob(8 * MIB, 3);
    let (go_on, told) = watch::channel(false);
    let served = content.clone();
    let origin = ScriptedOrigin::start(move |asked| {
        if asked.path != "/f" {
            return not_there();
        }
        let length = served.len().to_string();
        let fields = [
            ("ETag", "\"v1\""),
            ("Content-Length", length.as_str()),
            ("Accept-Ranges", "none"),
        ];
        let bytes = whole(asked, &served, &fields);
        if asked.method == "HEAD" {
            return Reply::Keep(bytes);
        }
        let half = bytes.len() / 2;
        Reply::Once(bytes[..half].to_vec(), told.clone(), bytes[half..].to_vec())
    })
    .await;
    let crowd = Site::new().crowd(4).await;
    let url = origin.url("/f");
    let total = |progress: &watch::Receiver<_>| {
        let progress: &potluck_transfer::Progress = &progress.borrow();
        progress.accounting.total()
    };
    // Those that begin in the same moment may both ask before they hear of each other.
    let mut begun = vec![crowd[0].begin(&url)];
    let first = begun[0].progress();
    until("one has the stream", || total(&first) > 0).await;
    begun.extend(crowd[1..].iter().map(|member| member.begin(&url)));
    let shown: Vec<_> = begun.iter().map(|transfer| transfer.progress()).collect();
    // Everybody has most of the half that came, while one waits for the other half.
    let most = content.len() as u64 * 3 / 8;
    until("all have it", || shown.iter().all(|it| total(it) >= most)).await;
    go_on.send_replace(true);
    let mut all = Vec::new();
    for transfer in &mut begun {
        all.push(transfer.outcome().await.unwrap());
    }
    all.iter().for_each(|done| check(done, &content));
    let copies = copies(asked_of_origin(&all), &content);
    // One, unless another begins before it hears of it: on a busy machine that happens, and
    // here a stream has brought much before it is given up. Alone each would take one.
    assert!(copies <= 2.1, "{copies}");
}

/// What each of three does alone: it takes all of it from the origin and gives nothing.
async fn alone(
    config: &EngineConfig,
    script: impl Fn(&Asked, &[u8]) -> Reply + Send + Sync + 'static,
) {
    let content = blob(MIB, 4);
    let served = content.clone();
    let origin = ScriptedOrigin::start(move |asked| match asked.path.as_str() {
        "/f" => script(asked, &served),
        _ => not_there(),
    })
    .await;
    let crowd = Site::new().crowd_with(3, config).await;
    for done in get_all(&crowd, &origin.url("/f")).await {
        check(&done, &content);
        assert_eq!(done.accounting.origin, content.len() as u64);
    }
    assert!(crowd.iter().all(|member| !member.gives()));
}

#[tokio::test]
async fn what_has_no_version_is_not_fetched_together() {
    alone(&sharing(), |asked, content| {
        let length = content.len().to_string();
        Reply::Keep(whole(asked, content, &[("Content-Length", &length)]))
    })
    .await;
}

#[tokio::test]
async fn what_has_no_length_is_not_fetched_together() {
    alone(&sharing(), |asked, content| {
        Reply::Close(whole(asked, content, &[("ETag", "\"v1\"")]))
    })
    .await;
}

#[tokio::test]
async fn what_is_personal_is_not_fetched_together() {
    alone(&sharing(), |asked, content| {
        let length = content.len().to_string();
        let fields = [
            ("ETag", "\"v1\""),
            ("Content-Length", length.as_str()),
            ("Cache-Control", "private"),
        ];
        Reply::Keep(whole(asked, content, &fields))
    })
    .await;
}

#[tokio::test]
async fn who_gives_only_what_is_validated_fetches_alone() {
    let config = EngineConfig {
        share: Share::Validated,
        ..sharing()
    };
    alone(&config, |asked, content| file(asked, content, "v1")).await;
}
