//! The origin client against origins of every kind.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use potluck_content::Validator;
use potluck_transfer::origin::{
    OriginBody, OriginClient, OriginConfig, OriginError, OriginMeta, OriginRequest, RangeSupport,
};
use support::blob;
use support::scripted_origin::{Asked, Reply, ScriptedOrigin, file, head};

fn client() -> OriginClient {
    OriginClient::new(OriginConfig {
        answer_timeout: Duration::from_millis(300),
        idle_timeout: Duration::from_millis(300),
        ..OriginConfig::default()
    })
    .unwrap()
}

fn request(url: &str) -> OriginRequest {
    OriginRequest::new(url, &[]).unwrap()
}

async fn meta_of(
    script: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
) -> Result<OriginMeta, OriginError> {
    let origin = ScriptedOrigin::start(script).await;
    client().meta(&request(&origin.url("/f"))).await
}

async fn read(mut body: OriginBody) -> Result<Vec<u8>, OriginError> {
    let mut bytes = Vec::new();
    while let Some(part) = body.next().await? {
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

/// Asks for a range of a file of 1000 bytes from an origin that answers GET by `script`.
async fn range_of(
    range: std::ops::Range<u64>,
    script: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
) -> Result<Vec<u8>, OriginError> {
    let content = blob(1000, 1);
    let origin = ScriptedOrigin::start(move |asked| {
        if asked.method == "HEAD" {
            file(asked, &content, "v1")
        } else {
            script(asked)
        }
    })
    .await;
    let (client, request) = (client(), request(&origin.url("/f")));
    let meta = client.meta(&request).await?;
    read(client.get(&request, &meta, Some(range)).await?).await
}

fn part(content_range: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let fields = [
        ("Content-Range", content_range.to_owned()),
        ("Content-Length", length.to_string()),
    ];
    [head("206 Partial Content", &fields), body.to_vec()].concat()
}

#[tokio::test]
async fn a_good_origin_is_asked_once_and_sends_exact_ranges() {
    let content = blob(100_000, 2);
    let served = content.clone();
    let origin = ScriptedOrigin::start(move |asked| file(asked, &served, "v1")).await;
    let (client, request) = (client(), request(&origin.url("/f?x=1#part")));
    let meta = client.meta(&request).await.unwrap();
    assert_eq!(meta.size, Some(100_000));
    assert_eq!(meta.validator, Some(Validator::ETag("\"v1\"".into())));
    assert_eq!(meta.ranges, RangeSupport::Yes);
    assert!(meta.shareable && meta.modified.is_some());
    assert_eq!(meta.entity().unwrap().url, origin.url("/f?x=1"));

    let body = client.get(&request, &meta, Some(10..50_000)).await.unwrap();
    let socket = body.socket().cloned().unwrap();
    assert!(socket.with(|s| s.peer_addr().unwrap()).is_some());
    assert_eq!(read(body).await.unwrap(), &content[10..50_000]);
    let whole = client.get(&request, &meta, None).await.unwrap();
    assert_eq!(read(whole).await.unwrap(), content);

    let asked = origin.asked();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[0].method, "HEAD");
    assert_eq!(asked[1].field("if-range").unwrap(), "\"v1\"");
    assert!(
        asked
            .iter()
            .all(|a| a.field("accept-encoding").unwrap() == "identity")
    );
    drop(client);
}

#[tokio::test]
async fn a_refused_head_is_asked_again_as_a_first_byte() {
    for status in [
        "403 Forbidden",
        "405 Method Not Allowed",
        "501 Not Implemented",
    ] {
        let meta = meta_of(move |asked| match asked.method.as_str() {
            "HEAD" => Reply::Close(head(status, &[("Content-Length", "0".into())])),
            _ => file(asked, &blob(5000, 3), "v1"),
        })
        .await
        .unwrap();
        assert_eq!(
            (meta.size, meta.ranges),
            (Some(5000), RangeSupport::Yes),
            "{status}"
        );
    }
    let empty = meta_of(|asked| match asked.method.as_str() {
        "HEAD" => Reply::Close(head("405 No", &[("Content-Length", "0".into())])),
        _ => Reply::Close(head("416 No", &[("Content-Range", "bytes */0".into())])),
    })
    .await
    .unwrap();
    assert_eq!(empty.size, Some(0));
}

#[tokio::test]
async fn an_origin_without_length_or_ranges_is_described_as_such() {
    let meta = meta_of(|asked| {
        let mut bytes = head("200 OK", &[("Transfer-Encoding", "chunked".into())]);
        if asked.method == "GET" {
            bytes.extend(b"4\r\nabcd\r\n0\r\n\r\n");
        }
        Reply::Close(bytes)
    })
    .await
    .unwrap();
    assert_eq!((meta.size, meta.ranges), (None, RangeSupport::No));
    assert!(meta.entity().is_none());

    let ignored = range_of(10..20, |_| {
        Reply::Close(
            [
                head("200 OK", &[("Content-Length", "1000".into())]),
                blob(1000, 1),
            ]
            .concat(),
        )
    })
    .await;
    assert!(
        matches!(ignored, Err(OriginError::RangeIgnored { .. })),
        "{ignored:?}"
    );
}

#[tokio::test]
async fn redirects_are_followed_and_judged() {
    let to = |location: &str| Reply::Close(head("302 Found", &[("Location", location.to_owned())]));
    let meta = meta_of(move |asked| match asked.path.as_str() {
        "/f" => to("/g"),
        "/g" => to("h"),
        _ => file(asked, &blob(7, 1), "v1"),
    })
    .await
    .unwrap();
    assert_eq!((meta.url.path(), meta.final_url.path()), ("/f", "/h"));

    let circle = meta_of(move |asked| to(if asked.path == "/f" { "/g" } else { "/f" })).await;
    assert!(matches!(circle, Err(OriginError::RedirectLoop { .. })));
    let endless = meta_of(move |asked| to(&format!("{}x", asked.path))).await;
    assert!(matches!(endless, Err(OriginError::TooManyRedirects { .. })));
    let nowhere = meta_of(|_| Reply::Close(head("302 Found", &[]))).await;
    assert!(matches!(nowhere, Err(OriginError::BadRedirect { .. })));
}

#[tokio::test]
async fn credentials_stay_with_the_host_that_was_named() {
    let other = ScriptedOrigin::start(|asked| file(asked, &blob(9, 1), "v1")).await;
    let target = other.url("/there");
    let origin = ScriptedOrigin::start(move |_| {
        Reply::Close(head(
            "307 Temporary Redirect",
            &[("Location", target.clone())],
        ))
    })
    .await;
    let url = format!("http://me:secret@{}/f", origin.address);
    let headers = [("X-Token".to_owned(), "t".to_owned())];
    let request = OriginRequest::new(&url, &headers).unwrap();
    let meta = client().meta(&request).await.unwrap();
    assert!(!meta.shareable);
    assert!(origin.asked()[0].field("authorization").is_some());
    assert!(origin.asked()[0].field("x-token").is_some());
    assert!(other.asked()[0].field("authorization").is_none());
    assert!(other.asked()[0].field("x-token").is_none());
}

#[tokio::test]
async fn a_signed_link_that_ran_out_is_asked_for_afresh() {
    let content = blob(100, 4);
    let served = content.clone();
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let origin = ScriptedOrigin::start(move |asked| match asked.path.as_str() {
        "/f" => {
            let n = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Reply::Keep(head(
                "302 Found",
                &[
                    ("Location", format!("/s{n}")),
                    ("Content-Length", "0".into()),
                ],
            ))
        }
        "/s0" if asked.method == "GET" => {
            Reply::Keep(head("403 Forbidden", &[("Content-Length", "0".into())]))
        }
        _ => file(asked, &served, "v1"),
    })
    .await;
    let (client, request) = (client(), request(&origin.url("/f")));
    let meta = client.meta(&request).await.unwrap();
    let body = client.get(&request, &meta, Some(1..100)).await.unwrap();
    assert_eq!(read(body).await.unwrap(), &content[1..]);
}

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
