//! Callers of the control port that waste its time, and the members who come meanwhile.

use std::time::Duration;

use potluck_discovery::{PortTls, RejectReason};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{Node, PATIENCE, Site, config, eventually, group};

/// The most callers of one address that are being proven.
const MOST: usize = 32;

#[tokio::test]
async fn silent_callers_are_sent_away_and_keep_nobody_out() {
    let site = Site::of(2).await;
    let first = Node::start(&site.members[0], &config("127.0.0.1", None));
    let address = first.handle.control_address();
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    // A member comes from the same address: even so it has its place.
    let mut calls = config("127.0.0.1", None);
    calls.static_peers = vec![format!("127.0.0.1:{}", address.port() - 1)];
    let second = Node::start(&site.members[1], &calls);
    first.sees(&["node-1"]).await;
    second.sees(&["node-0"]).await;
    let left = eventually(|| {
        let left = silent.iter().filter(|tcp| !has_hung_up(tcp)).count();
        (left <= MOST).then_some(left)
    });
    assert!(left.await.is_some(), "no more than their share is left");
    for mut tcp in silent {
        let read = tokio::time::timeout(PATIENCE, tcp.read_u8()).await;
        assert!(read.expect("the connection is closed").is_err());
    }
    let timeout = eventually(|| {
        let rejected = first.handle.rejected();
        let found = rejected
            .iter()
            .find(|it| it.reason == RejectReason::Timeout);
        found.map(|rejected| rejected.count)
    });
    assert!(timeout.await.is_some());
}

#[tokio::test]
async fn half_a_handshake_and_a_trickle_end_at_the_limit() {
    let site = Site::of(1).await;
    let node = Node::start(&site.members[0], &config("127.0.0.1", None));
    let address = node.handle.control_address();
    // The beginning of a greeting, as TLS has it: a record of 512 bytes is announced.
    let beginning = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(&beginning).await.unwrap();
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.set_nodelay(true).unwrap();
    slow.write_all(&beginning).await.unwrap();
    // A byte now and then does not gain it more time: all of them would take 50 s.
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    let trickle = async {
        while !has_hung_up(&slow) {
            pace.tick().await;
            if slow.try_write(&[0]).is_err() {
                return;
            }
        }
    };
    let ended = tokio::time::timeout(PATIENCE, trickle).await;
    ended.expect("the trickle is ended");
    let read = tokio::time::timeout(PATIENCE, half.read_u8()).await;
    assert!(read.expect("the connection is closed").is_err());
    let refused = node.refuses(|rejected| rejected.count == 2).await;
    assert_eq!(refused.reason, RejectReason::Timeout);
}

#[tokio::test]
async fn a_member_that_says_nothing_after_the_handshake() {
    let site = Site::of(3).await;
    let group = Some(group());
    let node = Node::start(&site.members[0], &config("127.0.0.1", group));
    let tls = PortTls::control(&site.members[1]).unwrap();
    let tcp = TcpStream::connect(node.handle.control_address())
        .await
        .unwrap();
    let connector = TlsConnector::from(tls.client_config());
    let mut silent = connector.connect(tls.server_name(), tcp).await.unwrap();
    let other = Node::start(&site.members[2], &config("127.0.0.2", group));
    node.sees(&["node-2"]).await;
    // It hears a Hello, which it does not answer, and then the end.
    let mut said = Vec::new();
    let read = tokio::time::timeout(PATIENCE, silent.read_to_end(&mut said)).await;
    let _ = read.expect("the connection is closed");
    node.sees(&["node-2"]).await;
    other.stop().await;
}

/// Whether the other side has hung up by now.
fn has_hung_up(stream: &TcpStream) -> bool {
    match stream.try_read(&mut [0]) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}
