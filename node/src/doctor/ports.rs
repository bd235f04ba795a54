//! Whether this node's ports are open, as far as this machine alone can tell.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::finding::Finding;
use crate::api::State;
use crate::peering::{control_address, join_address};

const CHECK: &str = "ports";
/// On the same machine a connection takes microseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// Calls each port that should be open, by this machine's own addresses.
pub(super) async fn examine(state: &State) -> Vec<Finding> {
    let settings = &state.settings.peering;
    if !settings.enabled || state.peering.membership().is_none() {
        return vec![Finding::skipped(CHECK, "none is open without a domain")];
    }
    let mut ports = vec![("control", control_address(settings.listen))];
    if settings.serve {
        ports.insert(0, ("data", settings.listen));
    }
    if state.peering.join_address().is_some() {
        ports.push(("join", join_address(settings.listen)));
    }
    let mut findings = Vec::new();
    let mut open = Vec::new();
    for (name, listen) in ports {
        match call_all(listen).await {
            Ok(()) => open.push(format!("{name} {}", listen.port())),
            Err(finding) => findings.push(Finding::failed(
                CHECK,
                format!("{name} port: {finding}"),
                &format!(
                    "let tcp {} in; if the port is not open, see the daemon's log",
                    listen.port()
                ),
            )),
        }
    }
    if !open.is_empty() {
        let open = format!("open on this machine: {}", open.join(", "));
        findings.push(Finding::ok(CHECK, open));
    }
    findings
}

async fn call_all(listen: SocketAddr) -> Result<(), String> {
    for address in potluck_discovery::join_addresses(listen) {
        call(address).await?;
    }
    Ok(())
}

/// Calls one address; says in words why nobody answers.
pub(super) async fn call(address: SocketAddr) -> Result<(), String> {
    match timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("{address}: {error}")),
        Err(_) => Err(format!(
            "{address} does not answer: a firewall drops the call"
        )),
    }
}
