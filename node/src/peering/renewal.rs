//! The node's certificate is renewed while it runs, and the event log knows of it.

use potluck_discovery::{RenewalConfig, RenewalEvent, RenewalOptions, RenewalService, Renewed};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Peering, seek_config};
use crate::config::Settings;
use crate::events::EventLog;
use crate::timestamp::rfc3339;

/// How a certificate is renewed with these settings.
pub(crate) fn options(settings: &Settings) -> RenewalOptions {
    RenewalOptions {
        seek: seek_config(&settings.peering),
        ..RenewalOptions::default()
    }
}

/// Renews whenever it is time, until the node stops.
pub(super) fn run(
    settings: &Settings,
    mut peering: Peering,
    events: EventLog,
    stop: CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let (sender, mut told) = mpsc::channel(16);
    let config = RenewalConfig {
        data_dir: settings.data_dir.clone(),
        options: options(settings),
        // Without randomness nodes that joined together renew together; nothing breaks.
        seed: getrandom::u64().unwrap_or_default(),
    };
    let service = RenewalService::start(config, stop, sender);
    async move {
        loop {
            tokio::select! {
                event = told.recv() => match event {
                    Some(event) => {
                        record_event(&events, &event);
                        if matches!(event, RenewalEvent::Renewed { .. }) {
                            peering.membership_changed().await;
                        }
                    }
                    None => break,
                },
                Ok(()) = peering.changed() => service.refresh(),
            }
        }
        if let Err(error) = service.stopped().await {
            tracing::error!(%error, "renewing the certificate broke down");
        }
    }
}

/// Puts a renewal that was asked for into the event log.
pub(crate) fn record(events: &EventLog, renewed: &Renewed) {
    record_event(events, &RenewalEvent::of(renewed));
}

fn record_event(events: &EventLog, event: &RenewalEvent) {
    match event {
        RenewalEvent::Renewed { expires, by } => events.record(
            "certificate_renewed",
            None,
            json!({ "certificate_expires": rfc3339(*expires), "by": by }),
        ),
        RenewalEvent::Failed {
            reason,
            expires,
            next,
        } => events.record(
            "certificate_renewal_failed",
            None,
            json!({
                "reason": reason,
                "certificate_expires": rfc3339(*expires),
                "retry_at": rfc3339(*next),
            }),
        ),
    }
}
