//! Streams without end, without a word, or without anybody who reads.

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use potluck_content::{ChainingValue, Manifest};
use potluck_discovery::Wanted;

use crate::cbor::Cbor;
use crate::rogue::{HEADER, PROTOCOL, Rogue, polite};
use crate::support::{Node, PATIENCE, Site, config};

struct Scene {
    site: Site,
    node: Node,
    honest: Node,
    rogue: Rogue,
}

impl Scene {
    /// A node with an honest peer and a rogue one.
    async fn new() -> Self {
        let site = Site::of(3).await;
        let node = Node::start(&site.members[0], &config("127.0.0.1", None));
        let address = node.handle.control_address();
        let mut calls = config("127.0.0.1", None);
        calls.static_peers = vec![format!("127.0.0.1:{}", address.port() - 1)];
        let honest = Node::start(&site.members[1], &calls);
        let rogue = Rogue::call(&site.members[2], address, polite(&site.members[0])).await;
        node.sees(&["node-1", "node-2"]).await;
        honest.sees(&["node-0"]).await;
        Self {
            site,
            node,
            honest,
            rogue,
        }
    }

    /// The node answers its honest peer.
    async fn works(&self) {
        let held = self.node.shelf.put(b"soup");
        let wanted = vec![Wanted::Content(held)];
        let id = self.site.members[0].peer_id();
        let answer = self.honest.handle.ask_have(id, wanted, PATIENCE).await;
        assert!(answer.unwrap()[0].is_some());
    }
}

#[tokio::test]
async fn ten_thousand_streams_end_the_connection() {
    let scene = Scene::new().await;
    let mut held = Vec::new();
    for _ in 0..10_000 {
        let Some(mut stream) = scene.rogue.stream().await else {
            break;
        };
        if stream.write_all(HEADER).await.is_err() {
            break;
        }
        held.push(stream);
    }
    scene.rogue.cut_off().await;
    assert!(held.len() < 10_000, "{}", held.len());
    scene.node.sees(&["node-1"]).await;
}

#[tokio::test]
async fn streams_without_a_word_do_not_stop_the_others() {
    let scene = Scene::new().await;
    let mut held = Vec::new();
    for words in [&b""[..], HEADER, b"\x13/multi", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut stream = scene.rogue.stream().await.unwrap();
        let _ = stream.write_all(words).await;
        let _ = stream.flush().await;
        held.push(stream);
    }
    // The protocol is agreed on, and the question never comes.
    let mut asked = scene.rogue.stream().await.unwrap();
    asked.write_all(HEADER).await.unwrap();
    asked.write_all(PROTOCOL).await.unwrap();
    asked.write_all(&[0xa1]).await.unwrap();
    asked.flush().await.unwrap();
    scene.works().await;
    // It is given up at its limit.
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, asked.read_to_end(&mut rest)).await;
    let _ = ended.expect("the stream ends");
    scene.works().await;
}

#[tokio::test]
async fn who_asks_much_and_never_reads_does_not_stop_the_others() {
    let scene = Scene::new().await;
    // The largest manifest there is: half a mebibyte each time.
    let size = 16_384 * 256 * 1024;
    let values = vec![ChainingValue::from_bytes([7; 32]); 16_384];
    let manifest = Manifest::from_values(size, values).unwrap();
    let id = scene.node.shelf.put_manifest(manifest);
    let question = Cbor::map(&[
        ("kind", Cbor::text("manifest")),
        (
            "content",
            Cbor::array(&id.as_bytes().map(|byte| Cbor::uint(byte.into()))),
        ),
    ]);
    let mut held = Vec::new();
    for _ in 0..60 {
        let Some(mut stream) = scene.rogue.stream().await else {
            break;
        };
        let asking = async {
            stream.write_all(HEADER).await?;
            stream.write_all(PROTOCOL).await?;
            stream.write_all(&question.0).await?;
            stream.close().await
        };
        if asking.await.is_err() {
            break;
        }
        held.push(stream);
    }
    assert!(held.len() > 30, "{}", held.len());
    scene.works().await;
}
