//! What the job or the origin says the whole must hash to is checked, however it came.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use potluck_cache::{PartialKey, PartialSpec};
use potluck_content::{ContentId, Digest, Entity, HashedPiece, Layout, PieceIndex, Validator};
use potluck_transfer::FileRequest;
use support::scripted_origin::{Reply, ScriptedOrigin, file, head};
use support::test_domain::TestDomain;
use support::test_node::TestNode;
use support::{blob, check};

/// An origin that does not say how long its file is.
async fn unmeasured(content: &[u8]) -> ScriptedOrigin {
    let content = content.to_vec();
    ScriptedOrigin::start(move |asked| {
        let mut bytes = head("200 OK", &[("Connection", "close".into())]);
        if asked.method == "GET" {
            bytes.extend(&content);
        }
        Reply::Close(bytes)
    })
    .await
}

/// An origin that counts the bytes of its answers.
async fn counted(content: &[u8]) -> (ScriptedOrigin, Arc<AtomicUsize>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let (count, content) = (Arc::clone(&sent), content.to_vec());
    let origin = ScriptedOrigin::start(move |asked| {
        let reply = file(asked, &content, "v1");
        if let Reply::Keep(bytes) = &reply {
            count.fetch_add(bytes.len(), Ordering::SeqCst);
        }
        reply
    })
    .await;
    (origin, sent)
}

fn sha256(bytes: &[u8]) -> Digest {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    Digest::Sha256(digest.as_ref().try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_what_it_should_be_is_refused_and_not_kept() {
    let content = blob(700_000, 1);
    let origin = unmeasured(&content).await;
    let node = TestNode::start(&TestDomain::new()).await;
    for wrong in [sha256(b"other"), Digest::B3(ContentId::of(b"other"))] {
        let mut request = FileRequest::new(origin.url("/f"), "job");
        request.checksum = Some(wrong);
        let error = node.get(request).await.unwrap_err();
        assert_eq!(error.code, "checksum_mismatch", "{error}");
        assert_eq!(node.cache.find_digest(&wrong), None);
        assert_eq!(node.cache.held(&ContentId::of(&content)), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_what_it_should_be_is_known_by_its_digest() {
    let content = blob(700_000, 2);
    let origin = unmeasured(&content).await;
    let node = TestNode::start(&TestDomain::new()).await;
    let mut request = FileRequest::new(origin.url("/f"), "job");
    request.checksum = Some(sha256(&content));
    let done = node.get(request).await.unwrap();
    assert_eq!(done.content_id, ContentId::of(&content));
    assert!(done.lease.validated());
    assert_eq!(
        node.cache.find_digest(&sha256(&content)),
        Some(done.content_id)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_origin_gave_and_is_wrong_is_not_fetched_twice() {
    let content = blob(3_000_000, 3);
    let (origin, sent) = counted(&content).await;
    let node = TestNode::start(&TestDomain::new()).await;
    for wrong in [sha256(b"other"), Digest::B3(ContentId::of(b"other"))] {
        sent.store(0, Ordering::SeqCst);
        let mut request = FileRequest::new(origin.url("/f"), "job");
        request.checksum = Some(wrong);
        let error = node.get(request).await.unwrap_err();
        assert_eq!(error.code, "checksum_mismatch", "{error}");
        assert_eq!(error.accounting.total(), 0);
        let sent = sent.load(Ordering::SeqCst);
        assert!(sent < content.len() * 3 / 2, "{sent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_not_the_origins_is_fetched_again() {
    let content = blob(3_000_000, 4);
    let (origin, sent) = counted(&content).await;
    let node = TestNode::start(&TestDomain::new()).await;
    let layout = Layout::for_size(content.len() as u64).unwrap();
    let entity = Entity {
        url: origin.url("/f"),
        validator: Validator::ETag("\"v1\"".into()),
        size: content.len() as u64,
    };
    let checksum = Digest::B3(ContentId::of(&content));
    let spec = PartialSpec {
        key: PartialKey::Private(format!("{} {checksum}", entity.key())),
        size: Some(content.len() as u64),
        manifest: None,
    };
    // From an earlier attempt, whoever gave it.
    let partial = node.cache.partial(spec).unwrap();
    let old = HashedPiece::new(layout, PieceIndex(0), Bytes::from(vec![9; 262_144])).unwrap();
    let _ = partial.put_hashed(old).unwrap();
    partial.checkpoint().unwrap();
    drop(partial);

    let mut request = FileRequest::new(origin.url("/f"), "job");
    request.checksum = Some(checksum);
    let done = node.get(request).await.unwrap();
    assert_eq!(done.content_id, ContentId::of(&content));
    assert_eq!(done.accounting.origin, content.len() as u64);
    // What was dropped had not come over the network for this job.
    assert_eq!(done.accounting.discarded, 0);
    assert_eq!(done.accounting.cache, 0);
    let sent = sent.load(Ordering::SeqCst);
    assert!(sent < content.len() + 10_000, "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_giving_a_digest_is_checked() {
    use base64::Engine as _;
    let content = blob(400_000, 8);
    let sha256 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &content);
    let sha512 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, &content);
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let ways = |sha256: &str, sha512: &str| {
        [
            ("Repr-Digest", format!("sha-256=:{sha256}:")),
            ("Repr-Digest", format!("md5=:AAAA:, sha-512=:{sha512}:")),
            ("Content-Digest", format!("sha-512=:{sha512}:")),
            // As a mirror's redirector sends it, next to its links.
            ("Digest", format!("SHA-256={sha256}")),
            ("digest", format!("SHA=AAAA, sha-512={sha512}")),
        ]
    };
    let right = ways(&encode(sha256.as_ref()), &encode(sha512.as_ref()));
    let wrong = ways(&encode(&[1; 32]), &encode(&[1; 64]));
    for (fields, is_right) in [(right, true), (wrong, false)] {
        for field in fields {
            let (name, value) = field.clone();
            let served = content.clone();
            let origin = ScriptedOrigin::start(move |asked| {
                let Reply::Keep(bytes) = file(asked, &served, "v1") else {
                    unreachable!("a file is kept");
                };
                let at = bytes.windows(2).position(|w| w == b"\r\n").unwrap() + 2;
                let field = format!("{name}: {value}\r\nLink: <http://m/f>; rel=duplicate\r\n");
                // Of a part, the content is another.
                let part = asked.range().is_some() && name == "Content-Digest";
                let field = if part { String::new() } else { field };
                Reply::Keep([&bytes[..at], field.as_bytes(), &bytes[at..]].concat())
            })
            .await;
            let node = TestNode::start(&TestDomain::new()).await;
            let outcome = node.get(FileRequest::new(origin.url("/f"), "job")).await;
            match outcome {
                Ok(done) => {
                    assert!(is_right, "{field:?}");
                    check(&done, &content);
                }
                Err(error) => {
                    assert!(!is_right, "{field:?}: {error}");
                    assert_eq!(error.code, "checksum_mismatch");
                }
            }
        }
    }
}

/// One user says what a URL gives, and has it in the cache. Nobody else may be given that.
#[tokio::test(flavor = "multi_thread")]
async fn the_word_of_one_job_is_not_taken_by_others() {
    let (good, evil) = (blob(400_000, 1), blob(400_000, 2));
    let (origin, _) = counted(&good).await;
    let (other, _) = counted(&evil).await;
    let node = TestNode::start(&TestDomain::new()).await;
    let made_up = node.get(FileRequest::new(other.url("/x"), "a")).await;
    assert_eq!(made_up.unwrap().content_id, ContentId::of(&evil));

    let mut request = FileRequest::new(origin.url("/f"), "b");
    request.checksum = Some(Digest::B3(ContentId::of(&evil)));
    let named = node.get(request).await.unwrap();
    // It is what that job asked for, and nothing more.
    assert_eq!(named.content_id, ContentId::of(&evil));
    assert_eq!(named.entity, None);
    let done = node.get(FileRequest::new(origin.url("/f"), "c")).await;
    check(&done.unwrap(), &good);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_job_got_for_itself_is_not_found_by_its_digest() {
    let content = blob(400_000, 3);
    let (origin, sent) = counted(&content).await;
    let node = TestNode::start(&TestDomain::new()).await;
    let mut secret = FileRequest::new(origin.url("/f"), "a");
    secret.headers = vec![("Authorization".to_owned(), "Bearer x".to_owned())];
    let held = node.get(secret).await.unwrap();
    assert!(!held.shareable);
    let before = sent.load(Ordering::SeqCst);
    let mut request = FileRequest::new(origin.url("/f"), "b");
    request.checksum = Some(Digest::B3(ContentId::of(&content)));
    check(&node.get(request).await.unwrap(), &content);
    assert!(sent.load(Ordering::SeqCst) - before > 400_000);
}

/// Some say to HEAD that there is nothing, and send a body to GET.
#[tokio::test(flavor = "multi_thread")]
async fn a_length_of_nothing_is_asked_again() {
    let content = blob(400_000, 6);
    let served = content.clone();
    let origin = ScriptedOrigin::start(move |asked| match asked.method.as_str() {
        "HEAD" => file(asked, &[], "v1"),
        _ => file(asked, &served, "v1"),
    })
    .await;
    let node = TestNode::start(&TestDomain::new()).await;
    let done = node.get(FileRequest::new(origin.url("/f"), "job")).await;
    check(&done.unwrap(), &content);
}
