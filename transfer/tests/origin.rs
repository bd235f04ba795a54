//! The origin client against origins of every kind.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use potluck_content::Validator;
use potluck_transfer::origin::{OriginError, OriginRequest, RangeSupport};
use support::asking::{client, meta_of, range_of, read, request};
use support::blob;
use support::scripted_origin::{Reply, ScriptedOrigin, file, head};

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
