//! Files that are made of parts of remote ones.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::atomic::{AtomicU64, Ordering};

use potluck_content::{ContentId, Digest};
use potluck_plan::FileRanges;
use potluck_transfer::FileRequest;
use support::scripted_origin::{Asked, Reply, ScriptedOrigin, file, head};
use support::test_domain::TestDomain;
use support::test_node::TestNode;
use support::{blob, check};

fn wanted(url: String, ranges: &[&str]) -> FileRequest {
    let mut request = FileRequest::new(url, "job");
    request.ranges = Some(FileRanges::parse(ranges, 500).unwrap());
    request
}

fn packed(content: &[u8], spans: &[std::ops::Range<usize>]) -> Vec<u8> {
    spans
        .iter()
        .flat_map(|span| &content[span.clone()])
        .copied()
        .collect()
}

async fn origin_of(content: &[u8]) -> ScriptedOrigin {
    let served = content.to_vec();
    ScriptedOrigin::start(move |asked| file(asked, &served, "v1")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_stand_in_the_file_in_the_order_given() {
    let content = blob(1000, 1);
    let origin = origin_of(&content).await;
    let node = TestNode::start(&TestDomain::new()).await;
    let request = wanted(origin.url("/f"), &["100-100", "900-100", "400-100"]);
    let done = node.get(request).await.unwrap();
    check(&done, &packed(&content, &[100..200, 900..1000, 400..500]));
    assert_eq!(done.accounting.origin, 300);
    assert!(done.entity.is_none() && !done.shareable);
    let mut asked: Vec<_> = origin.asked().iter().filter_map(Asked::range).collect();
    asked.sort_unstable();
    assert_eq!(asked, [(100, 199), (400, 499), (900, 999)]);
    // Each is tied to the version that was asked about first.
    let tied = |asked: &Asked| asked.range().is_none() || asked.field("if-range").is_some();
    assert!(origin.asked().iter().all(tied));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_ranges_and_long_ones_make_one_file() {
    let content = blob(6 << 20, 2);
    let origin = origin_of(&content).await;
    let node = TestNode::start(&TestDomain::new()).await;
    let small: Vec<String> = (0..499).rev().map(|n| format!("{}-10", n * 20)).collect();
    let mut ranges: Vec<&str> = small.iter().map(String::as_str).collect();
    ranges.push("1000000-eof");
    let mut expected: Vec<u8> = Vec::new();
    for n in (0..499).rev() {
        expected.extend(&content[n * 20..n * 20 + 10]);
    }
    expected.extend(&content[1_000_000..]);
    let mut request = wanted(origin.url("/f"), &ranges);
    request.checksum = Some(Digest::B3(ContentId::of(&expected)));
    check(&node.get(request).await.unwrap(), &expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_outside_the_file_is_an_error() {
    let origin = origin_of(&blob(1000, 3)).await;
    let node = TestNode::start(&TestDomain::new()).await;
    for range in ["1000-1", "990-11", "1000-eof"] {
        let failed = node
            .get(wanted(origin.url("/f"), &[range]))
            .await
            .unwrap_err();
        assert_eq!((failed.code, failed.retryable), ("invalid_range", false));
        assert!(failed.message.contains(range), "{failed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_about_a_part_is_an_error() {
    let content = blob(1000, 4);
    let wrong = |range: &'static str, bytes: &'static [u8]| {
        let served = content.clone();
        ScriptedOrigin::start(move |asked| match asked.range() {
            None => file(asked, &served, "v1"),
            Some(_) => {
                let fields = [
                    ("ETag", "\"v1\"".to_owned()),
                    ("Content-Range", range.to_owned()),
                    ("Content-Length", bytes.len().to_string()),
                ];
                Reply::Close([head("206 Partial Content", &fields), bytes.to_vec()].concat())
            }
        })
    };
    let node = TestNode::start(&TestDomain::new()).await;
    // One that was merged with the next, one beside, one cut short.
    for origin in [
        wrong("bytes 0-19/1000", &[0; 20]).await,
        wrong("bytes 10-19/1000", &[0; 10]).await,
        wrong("bytes 0-4/1000", &[0; 5]).await,
    ] {
        let failed = node.get(wanted(origin.url("/f"), &["0-10", "20-10"])).await;
        let failed = failed.unwrap_err();
        assert_eq!(
            (failed.code, failed.retryable),
            ("origin_wrong_range", false)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_is_read_where_there_are_no_parts() {
    let content = blob(3 << 20, 5);
    for (with_length, says_no) in [(true, true), (true, false), (false, false)] {
        let served = content.clone();
        let origin = ScriptedOrigin::start(move |asked| {
            let mut fields = vec![("ETag", "\"v1\"".to_owned())];
            if with_length {
                fields.push(("Content-Length", served.len().to_string()));
            }
            if says_no {
                fields.push(("Accept-Ranges", "none".to_owned()));
            }
            let mut bytes = head("200 OK", &fields);
            if asked.method == "GET" {
                bytes.extend(&served);
            }
            Reply::Close(bytes)
        })
        .await;
        let node = TestNode::start(&TestDomain::new()).await;
        let request = wanted(origin.url("/f"), &["2000000-eof", "5-100"]);
        let done = node.get(request).await.unwrap();
        let expected = packed(&content, &[2_000_000..content.len(), 5..105]);
        check(&done, &expected);
        assert_eq!(done.accounting.total(), expected.len() as u64);
        let wasted = (content.len() - expected.len()) as u64;
        assert_eq!(done.accounting.discarded, wasted);
        let failed = node.get(wanted(origin.url("/f"), &["9999999-1"])).await;
        assert_eq!(failed.unwrap_err().code, "invalid_range");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_here_as_a_whole_is_not_fetched_again() {
    let content = blob(100_000, 6);
    let origin = origin_of(&content).await;
    let node = TestNode::start(&TestDomain::new()).await;
    node.get_and_accept(&origin.url("/f")).await;
    let gets = |origin: &ScriptedOrigin| {
        let asked = origin.asked();
        asked.iter().filter(|asked| asked.method == "GET").count()
    };
    let before = gets(&origin);
    let done = node.get(wanted(origin.url("/f"), &["500-1000", "0-10"]));
    let done = done.await.unwrap();
    check(&done, &packed(&content, &[500..1500, 0..10]));
    assert_eq!(done.accounting.cache, 1010);
    assert_eq!(gets(&origin), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_file_of_ranges_goes_on() {
    let content = blob(8 << 20, 7);
    let served = content.clone();
    let calls = AtomicU64::new(0);
    // The third piece breaks off, and then the origin is down until it is asked anew.
    let origin =
        ScriptedOrigin::start(
            move |asked| match (file(asked, &served, "v1"), asked.range()) {
                (Reply::Keep(bytes), Some((first, _))) if first > 6 << 20 => {
                    match calls.fetch_add(1, Ordering::SeqCst) {
                        0 => Reply::Close(bytes[..bytes.len() / 2].to_vec()),
                        1 => Reply::Close(head("503 Busy", &[("Retry-After", "900".into())])),
                        _ => Reply::Keep(bytes),
                    }
                }
                (reply, _) => reply,
            },
        )
        .await;
    let node = TestNode::start(&TestDomain::new()).await;
    let request = wanted(origin.url("/f"), &["0-3000000", "7000000-1000000"]);
    let failed = node.get(request.clone()).await.unwrap_err();
    assert!(failed.retryable, "{failed:?}");
    let kept = failed.accounting;
    assert!(kept.origin >= 2_500_000, "{kept:?}");
    let asked = origin.asked().len();
    let again = FileRequest {
        before: kept,
        ..request
    };
    let done = node.get(again).await.unwrap();
    check(
        &done,
        &packed(&content, &[0..3_000_000, 7_000_000..8_000_000]),
    );
    let fetched: u64 = origin.asked()[asked..]
        .iter()
        .filter_map(Asked::range)
        .map(|(a, b)| b + 1 - a)
        .sum();
    assert_eq!(fetched, done.accounting.origin - kept.origin);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_the_parts_ended_is_counted() {
    let content = blob(8 << 20, 8);
    let served = content.clone();
    let begun = AtomicU64::new(0);
    // The first range is answered as it should be; from then on the whole comes.
    let origin = ScriptedOrigin::start(move |asked| {
        if asked.range().is_some() && begun.fetch_add(1, Ordering::SeqCst) == 0 {
            return file(asked, &served, "v1");
        }
        let fields = [
            ("ETag", "\"v1\"".to_owned()),
            ("Content-Length", served.len().to_string()),
        ];
        let mut bytes = head("200 OK", &fields);
        if asked.method == "GET" && asked.range().is_none() {
            bytes.extend(&served);
        }
        Reply::Close(bytes)
    })
    .await;
    let node = TestNode::start(&TestDomain::new()).await;
    let done = node
        .get(wanted(origin.url("/f"), &["0-6000000"]))
        .await
        .unwrap();
    check(&done, &content[..6_000_000]);
    let least = content.len() as u64 - 6_000_000;
    assert!(done.accounting.discarded >= least, "{:?}", done.accounting);
    assert!(
        done.accounting.discarded <= least + 6_000_000,
        "{:?}",
        done.accounting
    );
}
