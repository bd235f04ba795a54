//! Questions that no honest node would ask.

use potluck_discovery::Wanted;

use crate::cbor::Cbor;
use crate::rogue::{Rogue, hello, polite};
use crate::support::{Node, PATIENCE, Site, config};

/// What cannot be read at all.
fn unreadable() -> Vec<(&'static str, Vec<u8>)> {
    let with = |value: Cbor| Cbor::map(&[("kind", Cbor::text("ping")), ("x", value)]).0;
    vec![
        ("rubbish", vec![0xff; 1000]),
        ("another form", Cbor::array(&[Cbor::text("ping")]).0),
        ("lists within lists", with(Cbor::nested(60_000))),
        ("endless lists within lists", Cbor::nested(64 * 1024).0),
        (
            "a kind that is a number",
            Cbor::map(&[("kind", Cbor::uint(7))]).0,
        ),
        (
            "a domain that is a list",
            Cbor::map(&[
                ("kind", Cbor::text("hello")),
                ("hello", Cbor::array(&[Cbor::uint(1)])),
            ])
            .0,
        ),
    ]
}

#[tokio::test]
async fn who_asks_what_cannot_be_read_loses_its_place() {
    let cases = unreadable();
    let site = Site::of(2 + cases.len()).await;
    let node = Node::start(&site.members[0], &config("127.0.0.1", None));
    let honest = honest_peer(&site, &node).await;
    for (member, (case, bytes)) in site.members[2..].iter().zip(cases) {
        let id = member.peer_id();
        let rogue = Rogue::call(
            member,
            node.handle.control_address(),
            polite(&site.members[0]),
        )
        .await;
        node.sees(&["node-1", member.node_name().as_str()]).await;
        let answer = rogue.says(&bytes).await;
        assert!(answer.is_empty(), "{case}: {answer:?}");
        let refused = node.refuses(|it| it.id == Some(id)).await;
        let reason = refused.reason.to_string();
        assert!(reason.contains("cannot be read"), "{case}: {reason}");
        rogue.cut_off().await;
        node.sees(&["node-1"]).await;
    }
    honest.stop().await;
}

#[tokio::test]
async fn what_is_cut_short_or_too_long_is_not_answered() {
    let site = Site::of(3).await;
    let node = Node::start(&site.members[0], &config("127.0.0.1", None));
    let honest = honest_peer(&site, &node).await;
    let rogue = Rogue::call(
        &site.members[2],
        node.handle.control_address(),
        polite(&site.members[0]),
    )
    .await;
    node.sees(&["node-1", "node-2"]).await;
    let long = Cbor::map(&[
        ("kind", Cbor::text("ping")),
        ("x", Cbor::bytes(&[7; 64 * 1024])),
    ]);
    let with = |value: Cbor| Cbor::map(&[("kind", Cbor::text("have")), ("wanted", value)]).0;
    let cases = [
        Vec::new(),
        long.0,
        with(Cbor::endless_bytes()),
        with(Cbor::endless_array()),
    ];
    for bytes in cases {
        assert!(rogue.says(&bytes).await.is_empty());
    }
    assert!(works(&node, &honest, &site).await);
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_in_words() {
    let site = Site::of(2).await;
    let node = Node::start(&site.members[0], &config("127.0.0.1", None));
    let rogue = Rogue::call(
        &site.members[1],
        node.handle.control_address(),
        polite(&site.members[0]),
    )
    .await;
    node.sees(&["node-1"]).await;
    let kind = |kind: &str| ("kind", Cbor::text(kind));
    let many = vec![Cbor::text("e:00"); 65];
    let foreign = hello("0000000000000000", 1, 7381);
    let cases = [
        (Cbor::map(&[kind("borrow")]), "unknown_question"),
        (Cbor::map(&[kind("manifest")]), "bad_question"),
        (Cbor::map(&[kind("hello")]), "bad_question"),
        (
            Cbor::map(&[kind("have"), ("wanted", Cbor::array(&many))]),
            "bad_question",
        ),
        (
            Cbor::map(&[kind("hello"), ("hello", foreign)]),
            "bad_question",
        ),
        (Cbor::map(&[kind("ping"), ("newer", Cbor::uint(1))]), "pong"),
    ];
    for (question, word) in cases {
        let answer = rogue.asks(&question).await;
        assert!(answer.contains(word), "{word}: {answer}");
    }
    node.sees(&["node-1"]).await;
}

/// A member that does nothing wrong.
async fn honest_peer(site: &Site, node: &Node) -> Node {
    let mut calls = config("127.0.0.1", None);
    let port = node.handle.control_address().port();
    calls.static_peers = vec![format!("127.0.0.1:{}", port - 1)];
    let honest = Node::start(&site.members[1], &calls);
    node.sees(&["node-1"]).await;
    honest.sees(&["node-0"]).await;
    honest
}

/// Whether the node answers its honest peer.
async fn works(node: &Node, honest: &Node, site: &Site) -> bool {
    let held = node.shelf.put(b"soup");
    let asked = honest.handle.ask_have(
        site.members[0].peer_id(),
        vec![Wanted::Content(held)],
        PATIENCE,
    );
    asked.await.is_ok_and(|answer| answer[0].is_some())
}
