//! Which answers of an origin are worth another try, and when.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::time::{Duration, SystemTime};

use potluck_transfer::FileRequest;
use potluck_transfer::origin::OriginError;
use support::asking::meta_of;
use support::blob;
use support::scripted_origin::{Reply, ScriptedOrigin, file, head};
use support::test_domain::TestDomain;
use support::test_node::TestNode;

async fn failure(status: u16, retry_after: Option<String>) -> OriginError {
    let answer = move |_: &support::scripted_origin::Asked| {
        let mut fields = vec![("Content-Length", "0".to_owned())];
        fields.extend(retry_after.clone().map(|value| ("Retry-After", value)));
        Reply::Keep(head(&format!("{status} So"), &fields))
    };
    meta_of(answer).await.unwrap_err()
}

#[tokio::test]
async fn answers_are_sorted_as_bits_does() {
    const TRANSIENT: [u16; 18] = [
        306, 310, 408, 409, 425, 429, 500, 502, 503, 504, 506, 507, 508, 511, 520, 599, 600, 999,
    ];
    const FINAL: [u16; 31] = [
        204, 205, 300, 301, 302, 303, 304, 305, 307, 308, 400, 401, 402, 403, 404, 405, 406, 407,
        410, 411, 412, 413, 414, 415, 416, 417, 421, 423, 451, 501, 505,
    ];
    for (statuses, transient) in [(&TRANSIENT[..], true), (&FINAL[..], false)] {
        for status in statuses {
            let failed = failure(*status, None).await;
            assert_eq!(failed.is_transient(), transient, "{failed}");
            assert!(failed.retry_after().is_none());
        }
    }
}

#[tokio::test]
async fn an_origin_says_when_to_come_back() {
    let day = Duration::from_secs(24 * 60 * 60);
    let date = |at: SystemTime| httpdate::fmt_http_date(at);
    let now = SystemTime::now();
    let rest = async |value: &str| failure(503, Some(value.to_owned())).await.retry_after();
    assert_eq!(rest("7").await, Some(Duration::from_secs(7)));
    assert_eq!(rest("0").await, Some(Duration::ZERO));
    let hour = rest(&date(now + Duration::from_secs(3600))).await.unwrap();
    assert!((3000..=3600).contains(&hour.as_secs()), "{hour:?}");
    assert_eq!(rest(&date(now - day)).await, Some(Duration::ZERO));
    // Nobody is left alone for longer than a day because of one field.
    for long in ["999999", "99999999999999999999999", &date(now + 9 * day)] {
        assert_eq!(rest(long).await, Some(day), "{long}");
    }
    for nonsense in ["-1", "soon", "1.5", ""] {
        assert_eq!(rest(nonsense).await, None, "{nonsense}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_hears_when_to_come_back() {
    let content = blob(1_000_000, 1);
    let origin = ScriptedOrigin::start(move |asked| match asked.method.as_str() {
        "HEAD" => file(asked, &content, "v1"),
        _ => Reply::Close(head(
            "429 Too Many",
            &[
                ("Retry-After", "100".into()),
                ("Content-Length", "0".into()),
            ],
        )),
    })
    .await;
    let node = TestNode::start(&TestDomain::new()).await;
    let failed = node.get(FileRequest::new(origin.url("/f"), "job")).await;
    let failed = failed.unwrap_err();
    assert_eq!(failed.code, "origin_too_many_requests");
    assert_eq!(failed.retry_after, Some(Duration::from_secs(100)));
    let gets = origin
        .asked()
        .iter()
        .filter(|asked| asked.method == "GET")
        .count();
    assert!(gets <= 4, "{gets} requests to one that wants its rest");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_fields_are_kept_but_for_cookies() {
    let origin = ScriptedOrigin::start(|asked| {
        let mut fields = vec![
            ("Content-Length", "4".to_owned()),
            ("X-Odd", "kept".to_owned()),
            ("Set-Cookie", "session=s3cret".to_owned()),
            ("set-cookie2", "session=s3cret".to_owned()),
            ("X-Huge", "y".repeat(20_000)),
        ];
        fields.extend((0..80).map(|_| ("X-Many", "1".to_owned())));
        let mut bytes = head("200 OK", &fields);
        if asked.method == "GET" {
            bytes.extend(b"here");
        }
        Reply::Keep(bytes)
    })
    .await;
    let node = TestNode::start(&TestDomain::new()).await;
    let done = node.get(FileRequest::new(origin.url("/f"), "job")).await;
    let fields = done.unwrap().response_headers;
    assert!(fields.contains(&("x-odd".to_owned(), "kept".to_owned())));
    let text = format!("{fields:?}");
    assert!(!text.contains("s3cret"), "{text}");
    let bytes: usize = fields
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    assert!(fields.len() <= 64 && bytes <= 16 << 10, "{text}");
}
