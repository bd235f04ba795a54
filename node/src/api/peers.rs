//! The peer list and the counters.

use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Shared};
use potluck_discovery::{Direction, PeerInfo, PortKind, Rejected};
use serde::Deserialize;

use super::problem::Problem;
use super::{PeerDocument, RejectedDocument, State, StatsDocument};
use crate::jobs::Caller;
use crate::timestamp::rfc3339;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatsQuery {
    /// Seconds back from now.
    since: Option<u64>,
}

pub(super) async fn list(_: Caller, Shared(state): Shared<State>) -> Json<Vec<PeerDocument>> {
    let peers = state
        .peering
        .discovery()
        .map(|discovery| discovery.peers())
        .unwrap_or_default();
    Json(
        peers
            .iter()
            .map(|peer| peer_document(&state, peer))
            .collect(),
    )
}

pub(super) async fn rejected(
    _: Caller,
    Shared(state): Shared<State>,
) -> Json<Vec<RejectedDocument>> {
    let rejected = state
        .peering
        .discovery()
        .map(|discovery| discovery.rejected())
        .unwrap_or_default();
    Json(rejected.iter().map(rejected_document).collect())
}

pub(super) async fn stats(
    _: Caller,
    Shared(state): Shared<State>,
    query: Result<Query<StatsQuery>, QueryRejection>,
) -> Result<Json<StatsDocument>, Problem> {
    let Query(query) = query?;
    let since = query
        .since
        .and_then(|seconds| SystemTime::now().checked_sub(Duration::from_secs(seconds)));
    let discovery = state.peering.discovery();
    let peers = discovery
        .as_ref()
        .map_or(0, |discovery| discovery.peers().len());
    state.count_served();
    let stats = StatsDocument::of(&state.stats, since, peers as u64);
    let beacon = discovery.map(|discovery| discovery.beacon_stats());
    Ok(Json(stats.with_beacon(beacon)))
}

fn peer_document(state: &State, peer: &PeerInfo) -> PeerDocument {
    let traffic = state.engine.traffic().of(&peer.id);
    PeerDocument {
        id: peer.id.to_string(),
        name: peer.name.clone(),
        address: peer.address.to_string(),
        state: "connected".to_owned(),
        since: rfc3339(peer.since),
        certificate_expires: rfc3339(peer.certificate_expires),
        bytes_from: traffic.from,
        bytes_to: traffic.to,
    }
}

fn rejected_document(rejected: &Rejected) -> RejectedDocument {
    RejectedDocument {
        id: rejected.id.map(|id| id.to_string()),
        name: rejected.name.clone(),
        address: rejected.address.to_string(),
        port: match rejected.port {
            PortKind::Control => "control",
            PortKind::Data => "data",
        }
        .to_owned(),
        direction: match rejected.direction {
            Direction::Inbound => "inbound",
            Direction::Outbound => "outbound",
        }
        .to_owned(),
        reason: rejected.reason.to_string(),
        at: rfc3339(rejected.at),
        count: rejected.count,
    }
}
