//! The origin client against origins that fail, lie or change.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use potluck_transfer::origin::OriginError;
use support::asking::{client, meta_of, part, range_of, request};
use support::blob;
use support::scripted_origin::{Asked, Reply, ScriptedOrigin, file, head};
use tokio::io::AsyncWriteExt as _;

#[tokio::test]
async fn failures_say_who_and_whether_to_come_back() {
    let fail = |status: &'static str| {
        meta_of(move |_| {
            Reply::Close(head(
                status,
                &[("Retry-After", "7".into()), ("Content-Length", "0".into())],
            ))
        })
    };
    let gone = fail("404 Not Found").await.unwrap_err();
    assert_eq!(
        (gone.code(), gone.is_transient()),
        ("origin_not_found", false)
    );
    assert!(gone.to_string().contains("/f answered 404"), "{gone}");
    let broken = fail("500 Oops").await.unwrap_err();
    assert!(broken.is_transient());
    let busy = fail("503 Busy").await.unwrap_err();
    assert_eq!(busy.retry_after(), Some(Duration::from_secs(7)));

    let silent = meta_of(|_| Reply::Hang(b"HTTP/1.1 200 OK\r\nX: ".to_vec()))
        .await
        .unwrap_err();
    assert_eq!(silent.code(), "origin_timeout");
    let cut = meta_of(|_| Reply::Reset(Vec::new())).await.unwrap_err();
    assert_eq!(
        (cut.code(), cut.is_transient()),
        ("origin_connection_broken", true)
    );
    let noise = meta_of(|_| Reply::Close(b"SSH-2.0-x\r\n\r\n".to_vec()))
        .await
        .unwrap_err();
    assert_eq!(noise.code(), "origin_connection_broken");

    let refused = client()
        .meta(&request("http://127.0.0.1:1/f"))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "origin_unreachable");
    assert!(refused.to_string().contains("127.0.0.1:1"), "{refused}");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = format!("https://{}/f", listener.local_addr().unwrap());
    let talker = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        std::future::pending::<()>().await;
    });
    let no_tls = client().meta(&request(&plain)).await.unwrap_err();
    assert_eq!(no_tls.code(), "origin_tls", "{no_tls}");
    talker.abort();
}

#[tokio::test]
async fn wrong_parts_are_refused() {
    for (content_range, length) in [
        ("bytes 11-20/1000", 10),
        ("bytes 10-18/1000", 9),
        ("bytes 10-19/1000", 11),
        ("bytes */1000", 10),
        ("pages 1-2/3", 10),
    ] {
        let wrong = range_of(10..20, move |_| {
            Reply::Close(part(content_range, length, &[0; 11]))
        });
        let wrong = wrong.await;
        assert!(
            matches!(wrong, Err(OriginError::WrongRange { .. })),
            "{content_range}: {wrong:?}"
        );
    }
    let right = range_of(10..20, |_| {
        Reply::Close(part("bytes 10-19/1000", 10, &[7; 10]))
    })
    .await;
    assert_eq!(right.unwrap(), [7; 10]);
}

#[tokio::test]
async fn another_version_is_noticed() {
    let other_size = range_of(10..20, |_| {
        Reply::Close(part("bytes 10-19/999", 10, &[0; 10]))
    })
    .await;
    assert!(matches!(other_size, Err(OriginError::Changed { .. })));
    // The origin compares If-Range and sends the new whole.
    let other_tag = range_of(10..20, |asked| file(asked, &blob(1000, 9), "v2")).await;
    assert!(matches!(other_tag, Err(OriginError::Changed { .. })));
    let shorter = range_of(10..20, |_| {
        Reply::Close(head("416 No", &[("Content-Range", "bytes */5".into())]))
    })
    .await;
    assert!(matches!(shorter, Err(OriginError::Changed { .. })));
}

#[tokio::test]
async fn bodies_that_lie_about_their_length_are_noticed() {
    let short = range_of(0..100, |_| {
        Reply::Close(part("bytes 0-99/1000", 100, &[0; 60]))
    })
    .await;
    assert!(
        matches!(
            short,
            Err(OriginError::ShortBody {
                expected: 100,
                found: 60,
                ..
            })
        ),
        "{short:?}"
    );
    let chunked = |body: &'static str| {
        move |_: &Asked| {
            let fields = [
                ("Content-Range", "bytes 0-3/1000".to_owned()),
                ("Transfer-Encoding", "chunked".to_owned()),
            ];
            Reply::Close([head("206 Partial Content", &fields), body.into()].concat())
        }
    };
    let long = range_of(0..4, chunked("6\r\nabcdef\r\n0\r\n\r\n")).await;
    assert!(
        matches!(long, Err(OriginError::LongBody { expected: 4, .. })),
        "{long:?}"
    );
    let short = range_of(0..4, chunked("2\r\nab\r\n0\r\n\r\n")).await;
    assert!(
        matches!(short, Err(OriginError::ShortBody { found: 2, .. })),
        "{short:?}"
    );
    let reset = range_of(0..100, |_| {
        Reply::Reset(part("bytes 0-99/1000", 100, &[0; 60]))
    })
    .await;
    assert!(reset.unwrap_err().is_transient());
    let silent = range_of(0..100, |_| {
        Reply::Hang(part("bytes 0-99/1000", 100, &[0; 60]))
    })
    .await;
    assert_eq!(silent.unwrap_err().code(), "origin_timeout");
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_meanwhile_is_no_failure() {
    let content = blob(1000, 9);
    let calls = AtomicUsize::new(0);
    let origin = ScriptedOrigin::start(move |asked| match calls.fetch_add(1, Ordering::SeqCst) {
        1 => Reply::Reset(Vec::new()),
        _ => file(asked, &content, "v1"),
    })
    .await;
    let (client, request) = (client(), request(&origin.url("/f")));
    client.meta(&request).await.unwrap();
    client.meta(&request).await.unwrap();
    assert_eq!(origin.asked().len(), 3);
}
