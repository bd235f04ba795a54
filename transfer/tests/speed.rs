//! How fast it goes. Ignored: the numbers mean something on a quiet machine only, and
//! in a release build.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::time::{Duration, Instant};

use potluck_content::ContentId;
use potluck_plan::GovernorConfig;
use potluck_plan::Rate;
use potluck_transfer::{
    FileRequest, PeerAddress, PeerClient, PeerServer, PeerServerConfig, Rates, TrafficCounts,
};
use support::blob;
use support::memory_shelf::MemoryShelf;
use support::scripted_origin::{ScriptedOrigin, file};
use support::test_domain::TestDomain;
use support::test_node::TestNode;

#[test]
#[ignore = "a measurement"]
fn one_core_each() {
    let content = blob(256 << 20, 1);
    let (id, size) = (ContentId::of(&content), content.len() as u64);
    let domain = TestDomain::new();
    let trust = domain.member();
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().unwrap()
    };
    let (serving, asking) = (runtime(), runtime());
    let peer = trust.id;
    let server = serving.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = GovernorConfig {
            served: Rate::Unlimited,
            ..GovernorConfig::default()
        };
        let shelf = MemoryShelf::with(&[&content]);
        let (rates, counts) = (Rates::new(config), TrafficCounts::default());
        PeerServer::start(
            PeerServerConfig::default(),
            listener,
            trust,
            shelf,
            rates,
            counts,
        )
        .unwrap()
    });
    let at = PeerAddress {
        id: peer,
        address: server.address(),
    };
    let client = PeerClient::new(domain.member(), TrafficCounts::default());
    for _ in 0..5 {
        let client = client.clone();
        let start = Instant::now();
        asking.block_on(async {
            asking
                .spawn(async move {
                    let mut body = client.get(at, &id, size, 0..size).await.unwrap();
                    let mut piece = vec![0; 1 << 18];
                    loop {
                        let mut filled = 0;
                        while filled < piece.len() {
                            match body.read(&mut piece[filled..]).await.unwrap() {
                                0 => return,
                                read => filled += read,
                            }
                        }
                        let _ = ContentId::of(&piece);
                    }
                })
                .await
                .unwrap();
        });
        let rate = size as f64 / start.elapsed().as_secs_f64() / f64::from(1 << 30);
        eprintln!("{rate:.2} GiB/s over TLS, hashed");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn from_the_wish_to_the_first_byte() {
    let content = blob(64 << 20, 2);
    let served = content.clone();
    let origin = ScriptedOrigin::start(move |asked| file(asked, &served, "v1")).await;
    let domain = TestDomain::new();
    let first = TestNode::start(&domain).await;
    first.get_and_accept(&origin.url("/f")).await;
    for _ in 0..4 {
        let second = TestNode::start(&domain).await;
        second.meet(&first);
        let start = Instant::now();
        let mut transfer = second
            .engine
            .transfer(FileRequest::new(origin.url("/f"), "job"));
        let mut progress = transfer.progress();
        progress
            .wait_for(|progress| progress.accounting.peers > 0)
            .await
            .unwrap();
        let begun = start.elapsed();
        let done = transfer.outcome().await.unwrap();
        let all = start.elapsed();
        assert_eq!(done.accounting.peers, done.size);
        eprintln!(
            "first verified bytes after {begun:?}, {} bytes in {all:?}",
            done.size
        );
        assert!(begun < Duration::from_secs(1));
    }
}
