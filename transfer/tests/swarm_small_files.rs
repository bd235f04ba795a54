//! Engines that fetch many small files together.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::atomic::Ordering;

use futures::future::join_all;
use futures::stream::{self, StreamExt as _};
use potluck_plan::Rate;
use potluck_transfer::EngineConfig;
use support::scripted_origin::{Reply, file, head};
use support::site::{Site, sharing};
use support::{blob, check, counting_origin};

fn not_there() -> Reply {
    let nothing = ("Content-Length", "0".to_owned());
    Reply::Keep(head("404 Not Found", &[nothing]))
}

/// Files on their way at once on one node, as in a job.
const AT_ONCE: usize = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_files_cost_the_origin_one_copy_each() {
    const FILES: usize = 200;
    let bytes = |number: usize| blob(20_000 + 300 * number, number as u64);
    let (origin, sent) = counting_origin(move |asked| {
        let number = asked.path.strip_prefix("/f").and_then(|n| n.parse().ok());
        match number {
            Some(number) => file(asked, &bytes(number), "v1"),
            None => not_there(),
        }
    })
    .await;
    // How fast peers are here says nothing: the machine may be busy.
    let config = EngineConfig {
        min_peer_rate: Rate::ZERO,
        ..sharing()
    };
    let crowd = Site::new().crowd_with(3, &config).await;
    let each = crowd.iter().map(|member| {
        let gets = (0..FILES).map(|number| (number, origin.url(&format!("/f{number}"))));
        let gets =
            gets.map(move |(number, url)| async move { (number, member.get(&url).await.unwrap()) });
        stream::iter(gets)
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<_>>()
    });
    let done = join_all(each)
        .await
        .into_iter()
        .flatten()
        .collect::<Vec<_>>();
    for (number, done) in &done {
        check(done, &bytes(*number));
    }
    assert_eq!(done.len(), crowd.len() * FILES);
    let total: usize = (0..FILES).map(|number| bytes(number).len()).sum();
    let copies = sent.load(Ordering::SeqCst) as f64 / total as f64;
    let taken_over: u64 = done.iter().map(|(_, done)| done.swarm.taken_over).sum();
    assert!(copies <= 1.1, "{copies} copies, {taken_over} taken over");
}
