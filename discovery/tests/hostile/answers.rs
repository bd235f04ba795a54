//! Answers that no honest node would give.

use potluck_content::{ContentId, Manifest};
use potluck_discovery::{AskError, Wanted};

use crate::cbor::Cbor;
use crate::rogue::{Rogue, hello, polite_but, pong};
use crate::support::{Node, PATIENCE, Site, config};

const LEN: usize = 3 * 256 * 1024;

/// What a peer answers to `have`, which costs it its place.
fn wrong_holdings() -> Vec<(&'static str, Vec<u8>)> {
    let id = ContentId::of(b"soup");
    let holding = |content: &[u8], size: u64, bitfield: Option<&[u8]>| {
        let mut fields = vec![
            ("content", Cbor::bytes(content)),
            ("size", Cbor::uint(size)),
        ];
        fields.extend(bitfield.map(|bits| ("bitfield", Cbor::bytes(bits))));
        Cbor::map(&fields)
    };
    let have = |items: &[Cbor]| Cbor::map(&[("have", Cbor::array(items))]).0;
    let right = holding(id.as_bytes(), LEN as u64, None);
    vec![
        ("rubbish", vec![0xc1; 300]),
        ("nested", Cbor::map(&[("x", Cbor::nested(500_000))]).0),
        ("too many", have(&vec![right.clone(); 65])),
        ("none", have(&[])),
        ("the answer to another question", pong()),
        ("a short id", have(&[holding(&[1; 31], 5, None)])),
        (
            "an absurd size",
            have(&[holding(id.as_bytes(), u64::MAX, None)]),
        ),
        (
            "an absurd bitfield",
            have(&[holding(id.as_bytes(), LEN as u64, Some(&[0xff; 500_000]))]),
        ),
        (
            "bits beyond the end",
            have(&[holding(id.as_bytes(), LEN as u64, Some(&[0xff]))]),
        ),
    ]
}

/// What a peer answers to `manifest`, which costs it its place.
fn wrong_manifests() -> Vec<(&'static str, Vec<u8>)> {
    let manifest = |size: u64, values: &[u8]| {
        let form = Cbor::map(&[("size", Cbor::uint(size)), ("values", Cbor::bytes(values))]);
        Cbor::map(&[("manifest", form)]).0
    };
    let other = Manifest::of(&vec![8; LEN]).unwrap();
    let values: Vec<u8> = other
        .values()
        .iter()
        .flat_map(|it| *it.as_bytes())
        .collect();
    vec![
        ("another content's", manifest(LEN as u64, &values)),
        ("another size", manifest(u64::MAX, &values)),
        ("too few values", manifest(LEN as u64, &values[..64])),
        ("half a value", manifest(LEN as u64, &values[..50])),
        ("far too many values", manifest(LEN as u64, &[7; 900_000])),
        ("rubbish", vec![0xc1; 300]),
    ]
}

#[tokio::test]
async fn a_wrong_answer_about_holdings_costs_the_place() {
    let cases = wrong_holdings();
    let site = Site::of(1 + cases.len()).await;
    let node = Node::start(&site.members[0], &config("127.0.0.1", None));
    for (member, (case, bytes)) in site.members[1..].iter().zip(cases) {
        let address = node.handle.control_address();
        let rogue = Rogue::call(member, address, polite_but(&site.members[0], "have", bytes)).await;
        node.sees(&[member.node_name().as_str()]).await;
        let wanted = vec![Wanted::Content(ContentId::of(b"soup"))];
        let answer = node
            .handle
            .ask_have(member.peer_id(), wanted, PATIENCE)
            .await;
        is_at_fault(&node, rogue, case, member.peer_id(), answer.err()).await;
    }
}

#[tokio::test]
async fn a_wrong_manifest_costs_the_place() {
    let cases = wrong_manifests();
    let site = Site::of(1 + cases.len()).await;
    let node = Node::start(&site.members[0], &config("127.0.0.1", None));
    let wanted = ContentId::of(&vec![7; LEN]);
    for (member, (case, bytes)) in site.members[1..].iter().zip(cases) {
        let address = node.handle.control_address();
        let rogue = Rogue::call(
            member,
            address,
            polite_but(&site.members[0], "manifest", bytes),
        )
        .await;
        node.sees(&[member.node_name().as_str()]).await;
        let answer = node.handle.manifest(member.peer_id(), wanted).await;
        is_at_fault(&node, rogue, case, member.peer_id(), answer.err()).await;
    }
}

#[tokio::test]
async fn what_is_cut_short_or_too_long_is_no_answer() {
    let site = Site::of(2).await;
    let node = Node::start(&site.members[0], &config("127.0.0.1", None));
    let member = &site.members[1];
    let long = Cbor::map(&[("x", Cbor::bytes(&vec![7; 3 << 20]))]);
    for bytes in [Vec::new(), long.0, Cbor::endless_bytes().0] {
        let address = node.handle.control_address();
        let rogue = Rogue::call(member, address, polite_but(&site.members[0], "have", bytes)).await;
        node.sees(&["node-1"]).await;
        let wanted = vec![Wanted::Content(ContentId::of(b"soup"))];
        let answer = node
            .handle
            .ask_have(member.peer_id(), wanted, PATIENCE)
            .await;
        assert!(answer.is_err(), "{answer:?}");
        drop(rogue);
        node.sees(&[]).await;
    }
}

#[tokio::test]
async fn who_introduces_itself_wrongly_is_no_peer() {
    let domain = |node: &Site| node.members[0].domain_id().to_string();
    let site = Site::of(4).await;
    let node = Node::start(&site.members[0], &config("127.0.0.1", None));
    let cases = [
        hello("0000000000000000", 1, 7381),
        hello(&domain(&site), 1, 0),
        Cbor::map(&[("domain", Cbor::text(&domain(&site)))]),
    ];
    for (member, form) in site.members[1..].iter().zip(cases) {
        let answer = Cbor::map(&[("hello", form)]).0;
        let address = node.handle.control_address();
        let rogue = Rogue::call(
            member,
            address,
            polite_but(&site.members[0], "hello", answer),
        )
        .await;
        let id = member.peer_id();
        node.refuses(|it| it.id == Some(id)).await;
        rogue.cut_off().await;
        node.sees(&[]).await;
    }
}

#[tokio::test]
async fn a_generation_from_the_end_of_time_does_no_harm() {
    let site = Site::of(2).await;
    let node = Node::start(&site.members[0], &config("127.0.0.1", None));
    let domain = site.members[0].domain_id().to_string();
    let latest = Cbor::map(&[("hello", hello(&domain, u64::MAX, 7381))]).0;
    let address = node.handle.control_address();
    let member = &site.members[1];
    let rogue = Rogue::call(
        member,
        address,
        polite_but(&site.members[0], "hello", latest),
    )
    .await;
    let peers = node.sees(&["node-1"]).await;
    assert_eq!(peers[0].generation, u64::MAX);
    drop(rogue);
    node.sees(&[]).await;
    // Its next run is a peer all the same.
    let mut calls = config("127.0.0.1", None);
    calls.static_peers = vec![format!("127.0.0.1:{}", address.port() - 1)];
    let honest = Node::start(member, &calls);
    node.sees(&["node-1"]).await;
    honest.stop().await;
}

async fn is_at_fault(
    node: &Node,
    rogue: Rogue,
    case: &str,
    id: potluck_discovery::PeerId,
    error: Option<AskError>,
) {
    assert!(error.is_some(), "{case} was believed");
    let refused = node.refuses(|it| it.id == Some(id)).await;
    let reason = refused.reason.to_string();
    assert!(reason.starts_with("wrong answer: "), "{case}: {reason}");
    assert!(reason.len() < 200, "{case}: {reason}");
    rogue.cut_off().await;
    node.sees(&[]).await;
}
