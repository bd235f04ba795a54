//! Whether others can call this node: some peers try it and tell.

use potluck_discovery::{DiscoveryHandle, Knocked, PeerInfo};
use tokio::task::JoinSet;

use super::finding::Finding;
use crate::config::Peering;

const CHECK: &str = "reachability";
/// A firewall lets everybody in or nobody, mostly.
const ASKED: usize = 3;

pub(super) async fn examine(settings: &Peering, discovery: &DiscoveryHandle) -> Vec<Finding> {
    let mut knocks = JoinSet::new();
    for peer in discovery.peers().into_iter().take(ASKED) {
        let discovery = discovery.clone();
        knocks.spawn(async move {
            let knocked = discovery.knock(peer.id).await;
            (peer, knocked)
        });
    }
    let mut reached = 0;
    let mut findings = Vec::new();
    for (peer, knocked) in knocks.join_all().await {
        match knocked {
            Ok(knocked) => match closed_ports(settings, knocked) {
                ports if ports.is_empty() => reached += 1,
                ports => findings.push(unreachable(&peer, &ports)),
            },
            // It is older, busy or gone: that says nothing of this node.
            Err(error) => tracing::debug!(peer = %peer.id, %error, "no knock"),
        }
    }
    if reached > 0 {
        let finding = format!("{reached} peers called this node's ports and got through");
        findings.insert(0, Finding::ok(CHECK, finding));
    } else if findings.is_empty() {
        findings.push(Finding::skipped(
            CHECK,
            "no peer could try this node's ports",
        ));
    }
    findings
}

fn closed_ports(settings: &Peering, knocked: Knocked) -> Vec<u16> {
    let data = settings.listen.port();
    let mut closed = Vec::new();
    if settings.serve && !knocked.data {
        closed.push(data);
    }
    if knocked.control == Some(false) {
        closed.push(data.saturating_add(1));
    }
    closed
}

fn unreachable(peer: &PeerInfo, ports: &[u16]) -> Finding {
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    let ports = ports.join(" and ");
    Finding::failed(
        CHECK,
        format!(
            "{} ({}) cannot reach this node on tcp {ports}",
            peer.name,
            peer.address.ip()
        ),
        &format!("let tcp {ports} in in this machine's firewall"),
    )
}
