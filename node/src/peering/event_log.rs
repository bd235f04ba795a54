//! What happens among peers and new members, put into the event log.

use std::net::IpAddr;
use std::time::Instant;

use potluck_content::hex;
use potluck_discovery::{ClockTrouble, DiscoveryEvent, Fingerprint, JoinEvent, PortKind, Rejected};
use potluck_transfer::Exposure;
use serde_json::{Value, json};
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

/// Puts members that were caught lying into the event log, with the proofs.
pub(super) async fn log_exposures(
    mut exposures: broadcast::Receiver<Exposure>,
    events: EventLog,
    stop: CancellationToken,
) {
    loop {
        let exposure = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            exposure = exposures.recv() => exposure,
        };
        match exposure {
            Ok(exposure) => events.record("member_exposed", None, proof(&exposure)),
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "members that were exposed are not in the event log");
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// All that it takes to check the signature, but for the certificate itself.
fn proof(exposure: &Exposure) -> Value {
    let signed = &exposure.signed;
    let statement = &signed.statement;
    let certificate = signed.signer.chain.first();
    json!({
        "id": signed.signer.id.to_string(),
        "certificate": certificate.map(|certificate| Fingerprint::of(certificate).to_string()),
        "entity": statement.entity.to_string(),
        "size": statement.size,
        "piece": statement.index.0,
        "signed": hex(statement.value.as_bytes()),
        "origin": hex(exposure.truth.as_bytes()),
        "scheme": signed.signature.scheme,
        "signature": hex(&signed.signature.bytes),
    })
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use potluck_content::{ChainingValue, EntityKey, PieceIndex, Statement};
    use potluck_discovery::{DomainOptions, Revocations, Standing};
    use potluck_transfer::Vouching;

    use super::*;

    #[tokio::test]
    async fn who_lied_can_be_shown_it() {
        let dir = tempfile::tempdir().unwrap();
        let options = DomainOptions::new("demo".parse().unwrap());
        potluck_discovery::create_domain(dir.path(), &options).unwrap();
        let membership = potluck_discovery::show(dir.path()).unwrap().membership;
        let membership = membership.unwrap();
        let revocations = Revocations::in_memory(&membership);
        let standing = Standing::new(&membership, revocations).unwrap();
        let statement = Statement {
            entity: EntityKey::from_bytes([1; 32]),
            size: 5 << 20,
            index: PieceIndex(3),
            value: ChainingValue::from_bytes([2; 32]),
        };
        let vouching = Vouching::new(Arc::new(standing.clone()));
        let signed = vouching.sign(statement).unwrap();
        let (sender, exposures) = broadcast::channel(1);
        let truth = ChainingValue::from_bytes([3; 32]);
        sender.send(Exposure { signed, truth }).unwrap();
        drop(sender);
        let (events, _writer) = EventLog::open(&dir.path().join("events")).unwrap();
        log_exposures(exposures, events.clone(), CancellationToken::new()).await;

        let logged = events.read(|event| event.kind == "member_exposed").unwrap();
        let [event] = logged.as_slice() else {
            panic!("{logged:?}");
        };
        let said = |key: &str| event.fields[key].as_str().unwrap().to_owned();
        assert_eq!(said("id"), standing.peer_id().to_string());
        assert_eq!(said("entity"), statement.entity.to_string());
        assert_eq!(
            (&event.fields["size"], &event.fields["piece"]),
            (&json!(5 << 20), &json!(3))
        );
        assert_eq!(
            (said("signed"), said("origin")),
            ("02".repeat(32), "03".repeat(32))
        );
        let certificates = standing.certificates();
        assert_eq!(
            said("certificate"),
            Fingerprint::of(&certificates[0]).to_string()
        );
        // With the certificate anybody can check it.
        let member = standing.prove_member(&certificates, SystemTime::now());
        let signature = said("signature");
        let signature: Vec<u8> = (0..signature.len() / 2)
            .map(|at| u8::from_str_radix(&signature[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        let signature = potluck_discovery::MemberSignature {
            scheme: u16::try_from(event.fields["scheme"].as_u64().unwrap()).unwrap(),
            bytes: signature,
        };
        member
            .unwrap()
            .verify(&statement.message(), &signature)
            .unwrap();
    }
}
