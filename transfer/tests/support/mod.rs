//! What the tests of this crate share.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test uses a part of it"
)]

pub mod asking;
pub mod beside;
pub mod hostile_member;
pub mod memory_shelf;
pub mod scripted_origin;
pub mod secure_origin;
pub mod serving;
pub mod site;
pub mod test_domain;
pub mod test_node;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use potluck_content::ContentId;
use potluck_transfer::FileDone;
use scripted_origin::{Asked, Reply, ScriptedOrigin, file};

/// Bytes that differ from place to place, so that a swapped part shows.
pub fn blob(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Waits until a condition holds; fails after ten seconds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}

/// An origin of one file that counts the bytes of bodies it sent.
pub async fn origin_of(content: &[u8]) -> (ScriptedOrigin, Arc<AtomicU64>) {
    let content = content.to_vec();
    counting_origin(move |asked| file(asked, &content, "v1")).await
}

/// An origin that counts the bytes of bodies it sent, where nothing is done after them.
pub async fn counting_origin(
    script: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
) -> (ScriptedOrigin, Arc<AtomicU64>) {
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let origin = ScriptedOrigin::start(move |asked| {
        let reply = script(asked);
        if let (Reply::Keep(bytes), "GET") = (&reply, asked.method.as_str()) {
            let head = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
            count.fetch_add((bytes.len() - head) as u64, Ordering::SeqCst);
        }
        reply
    })
    .await;
    (origin, sent)
}

/// What a transfer brought.
pub fn bytes_of(done: &FileDone) -> Vec<u8> {
    let mut bytes = vec![0; done.size as usize];
    assert_eq!(done.lease.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}

/// Fails unless a transfer brought this content and accounts for every byte of it.
pub fn check(done: &FileDone, content: &[u8]) {
    assert!(bytes_of(done) == content, "the bytes differ");
    assert_eq!(done.content_id, ContentId::of(content));
    assert_eq!(
        done.accounting.total(),
        content.len() as u64,
        "{:?}",
        done.accounting
    );
}
