//! Origins that are hard to fetch from: the right file, and a word on what is hard.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::Compression;
use flate2::write::GzEncoder;
use potluck_content::{ContentId, Digest};
use potluck_plan::OriginTrouble;
use potluck_transfer::{FileDone, FileRequest, TransferError};
use support::asking::meta_of;
use support::scripted_origin::{Asked, Reply, ScriptedOrigin, file, head};
use support::test_domain::TestDomain;
use support::test_node::TestNode;
use support::{blob, check};

struct Got {
    outcome: Result<FileDone, TransferError>,
    troubles: Vec<OriginTrouble>,
    asked: Vec<Asked>,
}

async fn get(path: &str, script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Got {
    get_with(path, |_| {}, script).await
}

async fn get_with(
    path: &str,
    change: impl FnOnce(&mut FileRequest),
    script: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
) -> Got {
    let origin = ScriptedOrigin::start(script).await;
    let node = TestNode::start(&TestDomain::new()).await;
    let mut request = FileRequest::new(origin.url(path), "job");
    change(&mut request);
    let mut transfer = node.engine.transfer(request);
    let progress = transfer.progress();
    let outcome = transfer.outcome().await;
    let troubles = progress.borrow().troubles.clone();
    Got {
        outcome,
        troubles,
        asked: origin.asked(),
    }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(content).unwrap();
    packer.finish().unwrap()
}

fn text() -> Vec<u8> {
    (0..300_000u32)
        .flat_map(|n| format!("{n}\n").into_bytes())
        .collect()
}

/// The whole of it packed, whatever was asked.
fn packed(asked: &Asked, packed: &[u8], kind: &str) -> Reply {
    let fields = [
        ("Content-Encoding", "gzip".to_owned()),
        ("Content-Type", kind.to_owned()),
        ("Content-Length", packed.len().to_string()),
        ("ETag", "W/\"v1\"".to_owned()),
    ];
    let mut bytes = head("200 OK", &fields);
    if asked.method == "GET" {
        bytes.extend(packed);
    }
    Reply::Keep(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_packed_against_our_will_is_unpacked() {
    let content = text();
    let sent = gzip(&content);
    let digest = Digest::B3(ContentId::of(&content));
    let got = get_with(
        "/numbers.txt",
        |request| request.checksum = Some(digest),
        move |asked| packed(asked, &sent, "text/plain"),
    )
    .await;
    check(&got.outcome.unwrap(), &content);
    assert_eq!(got.troubles, [OriginTrouble::Encoded]);
    let identity = |asked: &Asked| asked.field("accept-encoding").unwrap() == "identity";
    assert!(got.asked.iter().all(identity));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_stays_packed() {
    let sent = gzip(&text());
    for (path, kind) in [
        ("/a.tar.gz", "application/x-tar"),
        ("/a", "application/gzip"),
    ] {
        let served = sent.clone();
        let got = get(path, move |asked| packed(asked, &served, kind)).await;
        check(&got.outcome.unwrap(), &sent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_turns_out_to_be_packed_is_begun_again() {
    let content = text();
    let (plain, sent) = (content.clone(), gzip(&content));
    let got = get("/numbers.txt", move |asked| match asked.method.as_str() {
        "HEAD" => file(asked, &plain, "v1"),
        _ => packed(asked, &sent, "text/plain"),
    })
    .await;
    check(&got.outcome.unwrap(), &content);
    assert!(
        got.troubles.contains(&OriginTrouble::Encoded),
        "{:?}",
        got.troubles
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_unpacked_is_an_error() {
    let broken = |bytes: Vec<u8>| get("/f", move |asked| packed(asked, &bytes, "text/plain"));
    let mut short = gzip(&text());
    short.truncate(short.len() / 2);
    for bytes in [short, b"no gzip at all".to_vec()] {
        let failed = broken(bytes).await.outcome.unwrap_err();
        assert_eq!(
            (failed.code, failed.retryable),
            ("origin_connection_broken", true)
        );
    }
    let failed = get("/f", |_| {
        Reply::Close(head(
            "200 OK",
            &[
                ("Content-Encoding", "zstd".into()),
                ("Content-Length", "5".into()),
            ],
        ))
    });
    let failed = failed.await.outcome.unwrap_err();
    assert_eq!(
        (failed.code, failed.retryable),
        ("origin_bad_encoding", false)
    );
    assert!(failed.message.contains("\"zstd\""), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weak_tag_ties_no_parts_together() {
    let content = blob(3_000_000, 1);
    let served = content.clone();
    let got = get("/f", move |asked| {
        assert!(asked.field("if-range").is_none(), "{}", asked.head);
        let fields = [
            ("ETag", "W/\"v1\"".to_owned()),
            ("Accept-Ranges", "bytes".to_owned()),
            ("Content-Length", served.len().to_string()),
        ];
        let mut bytes = head("200 OK", &fields);
        if asked.method == "GET" {
            bytes.extend(&served);
        }
        Reply::Keep(bytes)
    })
    .await;
    check(&got.outcome.unwrap(), &content);
    assert_eq!(got.troubles, [OriginTrouble::NoValidator]);
    assert!(got.asked.iter().all(|asked| asked.range().is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_date_ties_parts_together_once_it_is_settled() {
    const CHANGED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (now, tied) in [(CHANGED, false), ("Sun, 06 Nov 1994 08:49:38 GMT", true)] {
        let content = blob(100_000, 2);
        let served = content.clone();
        let got = get("/f", move |asked| {
            let fields = |length: usize| {
                vec![
                    ("Last-Modified", CHANGED.to_owned()),
                    ("Date", now.to_owned()),
                    ("Accept-Ranges", "bytes".to_owned()),
                    ("Content-Length", length.to_string()),
                ]
            };
            let Some((first, last)) = asked.range() else {
                let mut bytes = head("200 OK", &fields(served.len()));
                if asked.method == "GET" {
                    bytes.extend(&served);
                }
                return Reply::Keep(bytes);
            };
            assert_eq!(asked.field("if-range").unwrap(), CHANGED);
            let mut fields = fields((last + 1 - first) as usize);
            fields.push((
                "Content-Range",
                format!("bytes {first}-{last}/{}", served.len()),
            ));
            let mut bytes = head("206 Partial Content", &fields);
            bytes.extend(&served[first as usize..=last as usize]);
            Reply::Keep(bytes)
        })
        .await;
        check(&got.outcome.unwrap(), &content);
        assert_eq!(got.asked.iter().any(|asked| asked.range().is_some()), tied);
        assert_eq!(got.troubles.contains(&OriginTrouble::NoValidator), !tied);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_under_way_is_told() {
    let (old, new) = (blob(3_000_000, 3), blob(3_000_000, 4));
    let (calls, expected) = (AtomicU64::new(0), new.clone());
    let got = get("/f", move |asked| {
        match calls.fetch_add(1, Ordering::SeqCst) {
            0 => file(asked, &old, "v1"),
            _ => file(asked, &new, "v2"),
        }
    })
    .await;
    check(&got.outcome.unwrap(), &expected);
    assert_eq!(got.troubles, [OriginTrouble::Changed]);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_are_promised_and_not_given_are_told() {
    let content = blob(3_000_000, 5);
    let served = content.clone();
    let got = get("/f", move |asked| {
        let fields = [
            ("ETag", "\"v1\"".to_owned()),
            ("Accept-Ranges", "bytes".to_owned()),
            ("Content-Length", served.len().to_string()),
        ];
        let mut bytes = head("200 OK", &fields);
        if asked.method == "GET" {
            bytes.extend(&served);
        }
        Reply::Close(bytes)
    })
    .await;
    check(&got.outcome.unwrap(), &content);
    assert_eq!(got.troubles, [OriginTrouble::NoRanges]);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_servers_are_understood() {
    let content = blob(200_000, 6);
    let served = content.clone();
    let got = get("/f", move |asked| {
        let mut bytes =
            b"HTTP/1.0 200 OK\r\nlast-MODIFIED: Sun, 06 Nov 1994 08:49:37 GMT\r\n".to_vec();
        bytes.extend(b"x-ODD:\r\n\r\n");
        if asked.method == "GET" {
            bytes.extend(&served);
        }
        Reply::Close(bytes)
    })
    .await;
    check(&got.outcome.unwrap(), &content);
    assert_eq!(
        got.troubles,
        [
            OriginTrouble::Http10,
            OriginTrouble::NoLength,
            OriginTrouble::NoRanges
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn early_hints_are_passed_over_and_endless_fields_are_not() {
    let content = blob(100_000, 7);
    let served = content.clone();
    let got = get("/f", move |asked| {
        let mut bytes = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n".repeat(20);
        if let Reply::Keep(answer) = file(asked, &served, "v1") {
            bytes.extend(answer);
        }
        Reply::Keep(bytes)
    })
    .await;
    check(&got.outcome.unwrap(), &content);

    let only_hints = b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(20_000);
    let waiting = meta_of(move |_| Reply::Hang(only_hints.clone())).await;
    assert_eq!(waiting.unwrap_err().code(), "origin_timeout");

    let got = get("/f", |_| {
        let mut bytes = b"HTTP/1.1 200 OK\r\n".to_vec();
        for n in 0..50_000 {
            bytes.extend(format!("X-{n}: {}\r\n", "y".repeat(100)).into_bytes());
        }
        Reply::Hang(bytes)
    })
    .await;
    let failed = got.outcome.unwrap_err();
    assert_eq!(
        (failed.code, failed.retryable),
        ("origin_header_too_large", false)
    );
    assert_eq!(got.asked.len(), 1, "asking again would bring the same");
}
