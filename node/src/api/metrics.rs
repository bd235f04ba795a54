//! The counters as Prometheus text (exposition format 0.0.4).

use std::fmt::Write as _;

use axum::extract::State as Shared;
use axum::http::header;
use axum::response::IntoResponse;

use super::problem::{Problem, blocking};
use super::{State, StatsDocument};

pub(super) async fn show(Shared(state): Shared<State>) -> Result<impl IntoResponse, Problem> {
    let text = blocking(move || Ok(render(&state))).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text))
}

fn render(state: &State) -> String {
    let discovery = state.peering.discovery();
    let peers = discovery
        .as_ref()
        .map_or(0, |discovery| discovery.peers().len());
    state.count_served();
    let stats = StatsDocument::of(&state.stats, None, peers as u64);
    let usage = state.cache.usage();
    let limits = state.cache.limits();
    let mut text = String::new();
    let mut metric = |name: &str, kind: &str, help: &str, samples: &[(&str, u64)]| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    };
    metric(
        "potluck_received_bytes_total",
        "counter",
        "Bytes that jobs got, by source.",
        &[
            ("{source=\"peers\"}", stats.bytes_from_peers),
            ("{source=\"origin\"}", stats.bytes_from_origin),
            ("{source=\"cache\"}", stats.bytes_from_cache),
            ("{source=\"discarded\"}", stats.bytes_discarded),
        ],
    );
    metric(
        "potluck_served_bytes_total",
        "counter",
        "Bytes given to peers.",
        &[("", stats.bytes_served)],
    );
    metric(
        "potluck_manifest_bytes_total",
        "counter",
        "Bytes of manifests that lie beside files.",
        &[("", stats.bytes_of_manifests)],
    );
    metric(
        "potluck_audited_bytes_total",
        "counter",
        "Of the discarded bytes, those of origins that pieces of members were compared with.",
        &[("", stats.bytes_audited)],
    );
    metric(
        "potluck_claims_taken_over_total",
        "counter",
        "Pieces asked of origins in the place of a late member of the swarm.",
        &[("", stats.claims_taken_over)],
    );
    metric(
        "potluck_jobs_completed_total",
        "counter",
        "Downloads that were completed.",
        &[("", stats.jobs_completed)],
    );
    metric(
        "potluck_files_handed_over_total",
        "counter",
        "Finished files that their owners' processes wrote, by how they got them.",
        &[
            ("{as=\"descriptor\"}", state.handed_over.descriptors()),
            ("{as=\"bytes\"}", state.handed_over.bytes()),
        ],
    );
    metric(
        "potluck_peers",
        "gauge",
        "Peers on the list.",
        &[("", stats.peers)],
    );
    if let Some(beacon) = discovery.map(|discovery| discovery.beacon_stats()) {
        metric(
            "potluck_beacon_datagrams_total",
            "counter",
            "Datagrams on the subnet, by what became of them.",
            &[
                ("{outcome=\"sent\"}", beacon.sent),
                ("{outcome=\"accepted\"}", beacon.accepted),
                ("{outcome=\"malformed\"}", beacon.malformed),
                ("{outcome=\"foreign\"}", beacon.foreign),
                ("{outcome=\"flooded\"}", beacon.flooded),
                ("{outcome=\"stale\"}", beacon.stale),
                ("{outcome=\"replayed\"}", beacon.replayed),
                ("{outcome=\"off_link\"}", beacon.off_link),
            ],
        );
        metric(
            "potluck_nodes_heard",
            "gauge",
            "Nodes heard on the subnet, this one included.",
            &[("", beacon.population)],
        );
    }
    metric(
        "potluck_cache_bytes",
        "gauge",
        "Bytes in the cache.",
        &[("", usage.bytes)],
    );
    metric(
        "potluck_cache_limit_bytes",
        "gauge",
        "Its limit.",
        &[("", limits.max_size)],
    );
    metric(
        "potluck_cache_contents",
        "gauge",
        "Contents in the cache.",
        &[("", usage.contents)],
    );
    text
}
