//! Who else is there, and what is between.

use std::time::{Duration, SystemTime};

use potluck_discovery::{BeaconStats, DiscoveryHandle, PeerInfo, RejectReason, Rejected};
use tokio::task::JoinSet;

use super::finding::Finding;
use super::ports;
use crate::api::State;

/// Refusals that are longer ago are history.
const RECENT: Duration = Duration::from_secs(15 * 60);
/// How many peers are called, and how many refusals told.
const MANY: usize = 16;

pub(super) async fn examine(
    state: &State,
    discovery: &DiscoveryHandle,
    now: SystemTime,
) -> Vec<Finding> {
    let peers = discovery.peers();
    let mut findings = Vec::new();
    let sealed = state
        .peering
        .membership()
        .is_none_or(|membership| membership.beacon_key().is_some());
    if !sealed {
        findings.push(Finding::skipped(
            "beacons",
            "without domain.beacon_key_file there are none: peers are those of peering.static_peers",
        ));
    } else if state.settings.peering.beacon.is_some() {
        findings.extend(beacons(&discovery.beacon_stats(), peers.len()));
    }
    findings.extend(listed(&peers).await);
    let refused = discovery.rejected();
    let recent = refused
        .iter()
        .filter(|refused| now.duration_since(refused.at).is_ok_and(|ago| ago < RECENT));
    findings.extend(recent.take(MANY).map(refusal));
    findings
}

/// What the beacons of others say.
fn beacons(heard: &BeaconStats, peers: usize) -> Vec<Finding> {
    const CHECK: &str = "beacons";
    let mut findings = Vec::new();
    if heard.accepted > 0 {
        let others = heard.population.saturating_sub(1);
        findings.push(Finding::ok(
            CHECK,
            format!("{others} other nodes of the domain are heard"),
        ));
    } else if peers == 0 {
        findings.push(Finding::warning(
            CHECK,
            "no other node of the domain is heard",
            "it may be alone; else multicast is blocked between the machines (Wi-Fi isolation, a switch, their firewalls): run potluck doctor there, or name peers in peering.static_peers",
        ));
    } else {
        findings.push(Finding::warning(
            CHECK,
            "no beacon of another node is heard; the peers were found in another way",
            "see whether a firewall or a switch drops multicast",
        ));
    }
    if heard.foreign > 0 {
        findings.push(Finding::warning(
            CHECK,
            format!(
                "another domain is on this subnet: {} of its beacons were heard and cannot be read",
                heard.foreign
            ),
            "machines that should be found must join this domain: potluck domain show on both",
        ));
    }
    if heard.off_link > 0 {
        findings.push(Finding::warning(
            CHECK,
            format!(
                "{} beacons came from addresses that are not of the subnet",
                heard.off_link
            ),
            "see whether the machines have addresses and netmasks of one subnet",
        ));
    }
    findings
}

/// Calls the data port of each peer.
async fn listed(peers: &[PeerInfo]) -> Vec<Finding> {
    const CHECK: &str = "peers";
    if peers.is_empty() {
        return vec![Finding::warning(
            CHECK,
            "no peer is on the list",
            "see the lines above and below",
        )];
    }
    let mut calls = JoinSet::new();
    for peer in peers.iter().take(MANY) {
        let (name, address) = (peer.name.clone(), peer.address);
        calls.spawn(async move { ports::call(address).await.map_err(|why| (name, why)) });
    }
    let failed: Vec<Finding> = calls
        .join_all()
        .await
        .into_iter()
        .filter_map(Result::err)
        .map(|(name, why)| {
            Finding::failed(
                CHECK,
                format!("{name} is a peer, but its data port cannot be reached: {why}"),
                "let its data port in on that machine (potluck doctor there)",
            )
        })
        .collect();
    let mut findings = vec![Finding::ok(CHECK, format!("{} on the list", peers.len()))];
    findings.extend(failed);
    findings
}

fn refusal(refused: &Rejected) -> Finding {
    let who = match &refused.name {
        Some(name) => format!("{} ({name})", refused.address.ip()),
        None => refused.address.ip().to_string(),
    };
    let advice = match refused.reason {
        RejectReason::Expired | RejectReason::NotYetValid => {
            "renew it there (potluck domain renew), and compare the clocks"
        }
        RejectReason::UnknownIssuer | RejectReason::WrongDomain => {
            "it is of another domain: potluck domain show on both"
        }
        RejectReason::Revoked => "it was revoked: it may join again as a new node",
        RejectReason::NoCertificate | RejectReason::NotTls | RejectReason::WrongProtocol => {
            "something else than a node calls this port"
        }
        _ => "run potluck doctor there",
    };
    let finding = format!("{who}: {} ({} times)", refused.reason, refused.count);
    Finding::warning("refused", finding, advice)
}
