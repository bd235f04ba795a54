//! Peers are of the same subnet: the right papers from elsewhere reach no protocol.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use potluck_tests::{Answer, Host, Lab, Node, Papers, call, until};
use serde_json::Value;

const PORTS: [(u16, &[u8]); 2] = [
    (Node::DATA_PORT, b"potluck-data/1"),
    (Node::CONTROL_PORT, b"potluck-control/1"),
];
const QUESTION: &[u8] = b"GET /v1/contents/\
    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef HTTP/1.1\r\n\
    Host: lab\r\nConnection: close\r\n\r\n";

/// Where the one beyond a router would be.
const FAR: &str = "10.88.0.5";

mod needs_namespaces {
    use super::*;

    #[test]
    fn a_member_from_another_subnet_is_refused_on_both_ports() {
        Lab::run_in_namespaces(|lab| {
            let (node, far) = near_and_far(lab, &[])?;
            let papers = Papers::member(&node.data_dir())?;
            for (port, alpn) in PORTS {
                let at = SocketAddr::new(node.host().address(), port);
                match call(&far, at, alpn, &papers, QUESTION) {
                    Ok(Answer { bytes, .. }) => ensure!(bytes.is_empty(), "it was answered"),
                    // Cut off before the handshake.
                    Err(error) => ensure!(format!("{error:#}").contains("reset"), "{error:#}"),
                }
            }
            for port in ["data", "control"] {
                let entry = rejected(&node, port)?;
                let reason = entry["reason"].as_str().context("a reason")?;
                ensure!(reason.contains("not on a subnet"), "{entry}");
                ensure!(entry["direction"] == "inbound", "{entry}");
            }
            Ok(())
        });
    }

    #[test]
    fn a_configured_peer_may_be_anywhere() {
        Lab::run_in_namespaces(|lab| {
            let peers = format!("peering.static_peers = [\"{FAR}:7381\"]");
            let (node, far) = near_and_far(lab, &[&peers])?;
            let papers = Papers::member(&node.data_dir())?;
            let (port, alpn) = PORTS[0];
            let at = SocketAddr::new(node.host().address(), port);
            let answer = call(&far, at, alpn, &papers, QUESTION)?;
            ensure!(answer.bytes.starts_with(b"HTTP/1.1 404"), "{answer:?}");
            Ok(())
        });
    }
}

/// A node in a domain, and a host of another subnet that reaches it.
fn near_and_far(lab: &Lab, settings: &[&str]) -> Result<(Node, Host)> {
    let mut node = Node::new(lab, &lab.host("node")?, settings)?;
    node.host()
        .ip(&["route", "add", "10.88.0.0/24", "dev", Host::INTERFACE])?;
    node.start()?;
    node.create_domain("lab")?;
    let far = lab.host("far")?;
    far.ip(&["address", "flush", "dev", Host::INTERFACE])?;
    let address = format!("{FAR}/24");
    far.ip(&["address", "add", &address, "dev", Host::INTERFACE])?;
    far.ip(&["route", "add", "10.77.0.0/24", "dev", Host::INTERFACE])?;
    Ok((node, far))
}

/// The refusal of the far one on a port.
fn rejected(node: &Node, port: &str) -> Result<Value> {
    until(Duration::from_secs(10), "the refusal to be shown", || {
        let list = node.json(&["peers", "--rejected"])?;
        let list = list.as_array().context("an array")?;
        let found = list.iter().find(|entry| {
            let address = entry["address"].as_str().unwrap_or_default();
            entry["port"] == port && address.starts_with(FAR)
        });
        Ok(found.cloned())
    })
}
