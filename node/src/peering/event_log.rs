//! What happens among peers and new members, put into the event log.

use std::net::IpAddr;
use std::time::Instant;

use potluck_discovery::{ClockTrouble, DiscoveryEvent, JoinEvent, PortKind, Rejected};
use serde_json::json;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use crate::events::EventLog;
use crate::refusal_log::RefusalLog;
use crate::timestamp::rfc3339;

/// Puts what happens to the peer list into the event log.
pub(super) async fn log_peers(
    mut heard: broadcast::Receiver<DiscoveryEvent>,
    events: EventLog,
    stop: CancellationToken,
) {
    let mut refusals = RefusalLog::new(Instant::now());
    loop {
        let event = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            event = heard.recv() => event,
        };
        match event {
            Ok(event) => log_peer(&event, &events, &mut refusals),
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "events of the peer list were lost");
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

fn log_peer(event: &DiscoveryEvent, events: &EventLog, refusals: &mut RefusalLog<IpAddr>) {
    match event {
        DiscoveryEvent::PeerAdded(peer) => events.record(
            "peer_added",
            None,
            json!({
                "id": peer.id.to_string(),
                "name": peer.name,
                "address": peer.address.to_string(),
                "certificate_expires": rfc3339(peer.certificate_expires),
            }),
        ),
        DiscoveryEvent::PeerRemoved { peer, departure } => events.record(
            "peer_removed",
            None,
            json!({
                "id": peer.id.to_string(),
                "name": peer.name,
                "address": peer.address.to_string(),
                "reason": departure.to_string(),
            }),
        ),
        DiscoveryEvent::PeerMoved { peer, from } => events.record(
            "peer_moved",
            None,
            json!({
                "id": peer.id.to_string(),
                "name": peer.name,
                "address": peer.address.to_string(),
                "from": from.to_string(),
            }),
        ),
        DiscoveryEvent::PeerRejected(rejected) => log_rejection(rejected, events, refusals),
        // Who was revoked is recorded with or without peers.
        DiscoveryEvent::NodeRevoked { .. } => {}
        DiscoveryEvent::ClockDiffers { trouble, name } => {
            let (whose, id, name, milliseconds) = match trouble {
                ClockTrouble::Ours(offset) => ("ours", None, None, *offset),
                ClockTrouble::Theirs(peer, offset) => {
                    ("theirs", Some(peer.to_string()), Some(name), *offset)
                }
            };
            let fields = json!({
                "whose": whose,
                "id": id,
                "name": name,
                "seconds": milliseconds / 1000,
            });
            events.record("clock_differs", None, fields);
        }
    }
}

fn log_rejection(rejected: &Rejected, events: &EventLog, refusals: &mut RefusalLog<IpAddr>) {
    let reason = rejected.reason.to_string();
    let Some(count) = refusals.note(rejected.address.ip(), &reason, Instant::now()) else {
        return;
    };
    events.record(
        "peer_rejected",
        None,
        json!({
            "id": rejected.id.map(|id| id.to_string()),
            "name": rejected.name,
            "address": rejected.address.to_string(),
            "port": match rejected.port {
                PortKind::Control => "control",
                PortKind::Data => "data",
            },
            "reason": reason,
            "count": count,
        }),
    );
}

/// Puts what happens at the join port into the event log.
pub(super) async fn log_joins(mut joins: mpsc::Receiver<JoinEvent>, events: EventLog) {
    let mut refusals = RefusalLog::new(Instant::now());
    while let Some(event) = joins.recv().await {
        match event {
            JoinEvent::Listening(address) => events.record(
                "domain_open",
                None,
                json!({ "address": address.to_string() }),
            ),
            JoinEvent::Closed => events.record("domain_closed", None, json!({})),
            JoinEvent::Trouble(reason) => {
                events.record("domain_trouble", None, json!({ "reason": reason }));
            }
            JoinEvent::Joined {
                name,
                peer_id,
                address,
                expires,
                authority,
            } => events.record(
                "domain_joined",
                None,
                json!({
                    "id": peer_id.to_string(),
                    "name": name.to_string(),
                    "address": address.to_string(),
                    "certificate_expires": rfc3339(expires),
                    "authority": authority,
                }),
            ),
            JoinEvent::Renewed {
                name,
                peer_id,
                address,
                expires,
            } => events.record(
                "domain_renewed",
                None,
                json!({
                    "id": peer_id.to_string(),
                    "name": name.to_string(),
                    "address": address.to_string(),
                    "certificate_expires": rfc3339(expires),
                }),
            ),
            JoinEvent::Refused { address, reason } => {
                if let Some(count) = refusals.note(address.ip(), &reason, Instant::now()) {
                    let address = address.to_string();
                    let fields = json!({ "address": address, "reason": reason, "count": count });
                    events.record("domain_refused", None, fields);
                }
            }
        }
    }
}
