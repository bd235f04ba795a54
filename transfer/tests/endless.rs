//! Origins that do not say how much they send, and send too much of it.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use potluck_cache::Limits;
use potluck_plan::ErrorContext;
use potluck_transfer::{FileRequest, TransferError};
use support::blob;
use support::scripted_origin::{Asked, Reply, ScriptedOrigin, head};
use support::test_domain::TestDomain;
use support::test_node::TestNode;

/// What came of a file on a disk that has no room to spare.
async fn get(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> (TransferError, u64) {
    let origin = ScriptedOrigin::start(script).await;
    let node = TestNode::start(&TestDomain::new()).await;
    node.cache.set_limits(Limits {
        max_size: 1 << 20,
        min_free: u64::MAX / 2,
        ..node.cache.limits()
    });
    let got = node.get(FileRequest::new(origin.url("/f"), "job")).await;
    assert!(node.cache.partials().unwrap().is_empty());
    let error = got.unwrap_err();
    let counted = error.accounting.total() + error.accounting.discarded;
    (error, counted)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_is_given_up_for_good() {
    let (error, counted) = get(|asked| {
        let mut bytes = head("200 OK", &[]);
        if asked.method == "GET" {
            bytes.extend(blob(8 << 20, 1));
        }
        Reply::Close(bytes)
    })
    .await;
    assert_eq!((error.code, error.retryable), ("origin_endless", false));
    assert_eq!(error.context, ErrorContext::Origin);
    assert!(error.message.contains("cache.max_size"), "{error}");
    assert!(counted >= 1 << 20, "{:?}", error.accounting);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_little_does_not_unpack_to_everything() {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1 << 20];
    for _ in 0..257 {
        packer.write_all(&zeros).unwrap();
    }
    let packed = packer.finish().unwrap();
    let origin = ScriptedOrigin::start(move |asked| {
        let fields = [("Content-Encoding", "gzip".to_owned())];
        let mut bytes = head("200 OK", &fields);
        if asked.method == "GET" {
            bytes.extend(&packed);
        }
        Reply::Close(bytes)
    })
    .await;
    let node = TestNode::start(&TestDomain::new()).await;
    let got = node.get(FileRequest::new(origin.url("/f"), "job")).await;
    let error = got.unwrap_err();
    assert_eq!((error.code, error.retryable), ("origin_endless", false));
    assert!(error.message.contains("unpack"), "{error}");
    assert!(node.cache.partials().unwrap().is_empty());
}
