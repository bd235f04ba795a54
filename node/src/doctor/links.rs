//! Whether multicast goes out and comes in on each interface.

use potluck_discovery::{Config, LinkOutcome, LinkTest, test_links};

use super::finding::Finding;
use crate::config::Peering;

const CHECK: &str = "multicast";

/// Sends a datagram to the beacon's group on each interface and listens for it.
pub(super) async fn examine(settings: &Peering) -> Vec<Finding> {
    let Some(port) = port(settings) else {
        return vec![Finding::skipped(
            CHECK,
            "peering.beacon is empty: peers are found by peering.static_peers only",
        )];
    };
    let config = Config {
        interfaces: settings.interfaces.clone(),
        beacon: settings.beacon,
        beacon6: settings.beacon6,
        ..Config::for_listen(settings.listen)
    };
    match test_links(&config).await {
        Err(error) => vec![Finding::failed(
            CHECK,
            format!("the interfaces cannot be looked at: {error}"),
            "see whether this program may list them",
        )],
        Ok(tests) if tests.is_empty() => vec![Finding::failed(
            CHECK,
            "there is no interface to find peers on",
            "plug one in, or mend peering.listen and peering.interfaces",
        )],
        Ok(tests) => tests.iter().map(|test| finding(test, port)).collect(),
    }
}

/// The port of the beacon, where there is one.
fn port(settings: &Peering) -> Option<u16> {
    let v6 = settings.beacon6.filter(|_| settings.listen.is_ipv6());
    let v4 = settings.beacon.map(|group| group.port());
    v4.or(v6.map(|group| group.port()))
}

fn finding(test: &LinkTest, port: u16) -> Finding {
    let place = format!("{} ({})", test.link, test.address);
    match &test.outcome {
        LinkOutcome::Heard => Finding::ok(CHECK, format!("{place}: goes out and comes in")),
        LinkOutcome::NotSent(error) => Finding::failed(
            CHECK,
            format!("{place}: does not go out: {error}"),
            &format!("let udp {port} out in this machine's firewall"),
        ),
        LinkOutcome::NotHeard => Finding::failed(
            CHECK,
            format!("{place}: went out and was not heard back"),
            &format!("let udp {port} out and in in this machine's firewall"),
        ),
        LinkOutcome::Unusable(error) => Finding::failed(
            CHECK,
            format!("{place}: cannot be listened on: {error}"),
            "see whether the interface can multicast",
        ),
    }
}
