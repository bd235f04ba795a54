//! Interfaces that come and go, addresses that change, and IPv6: the peers stay or come
//! back, and bytes flow between them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use potluck_tests::{Blob, Host, Lab, Node, bytes_of, circle, start_circle, until};
use serde_json::Value;

const SIZE: usize = 300_000;
/// How long a change may take to be noticed by everybody.
const LIMIT: Duration = Duration::from_secs(30);
/// Everything but the beacon of IPv4.
const ONLY_IPV6: [&str; 2] = ["peering.listen = \"[::]:7381\"", "peering.beacon = \"\""];

mod needs_namespaces {
    use super::*;

    #[test]
    fn a_changed_address_is_followed() {
        Lab::run_in_namespaces(|lab| {
            let nodes = circle(lab, &["one", "two"], &[])?;
            let moving = nodes[1].host();
            moving.ip(&["address", "add", "10.77.0.99/24", "dev", Host::INTERFACE])?;
            moving.ip(&["address", "del", "10.77.0.11/24", "dev", Host::INTERFACE])?;
            // Where the first address goes, the second of its subnet may go as well.
            let _ = moving.ip(&["address", "add", "10.77.0.99/24", "dev", Host::INTERFACE]);
            await_address(&nodes[0], |address| address == "10.77.0.99:7381")?;
            nodes[1].await_peers(1)?;
            from_peer(lab, &nodes[1], &nodes[0])?;
            // It never was off the list.
            ensure!(events(&nodes[0], "peer_removed")? == 0, "it was removed");
            ensure!(events(&nodes[0], "peer_moved")? == 1, "it did not move");
            Ok(())
        });
    }

    #[test]
    fn an_interface_that_went_down_and_came_back_is_used_again() {
        Lab::run_in_namespaces(|lab| {
            let nodes = circle(lab, &["one", "two"], &["peering.peer_timeout = \"4s\""])?;
            let host = nodes[1].host();
            host.ip(&["link", "set", Host::INTERFACE, "down"])?;
            nodes[0].await_peers(0)?;
            nodes[1].await_peers(0)?;
            host.ip(&["link", "set", Host::INTERFACE, "up"])?;
            nodes[0].await_peers(1)?;
            nodes[1].await_peers(1)?;
            from_peer(lab, &nodes[0], &nodes[1])
        });
    }

    #[test]
    fn a_second_interface_takes_over() {
        Lab::run_in_namespaces(|lab| {
            let nodes = circle(lab, &["one", "two"], &[])?;
            for (node, last) in nodes.iter().zip([10, 11]) {
                let address = format!("10.88.0.{last}/24");
                node.host().add_interface()?;
                node.host()
                    .ip(&["address", "add", &address, "dev", Host::SECOND])?;
            }
            let host = nodes[1].host();
            host.ip(&["address", "flush", "dev", Host::INTERFACE])?;
            host.ip(&["link", "set", Host::INTERFACE, "down"])?;
            await_address(&nodes[0], |address| address == "10.88.0.11:7381")?;
            nodes[1].await_peers(1)?;
            from_peer(lab, &nodes[1], &nodes[0])
        });
    }

    #[test]
    fn hosts_with_ipv6_only_are_peers() {
        Lab::run_in_namespaces(|lab| {
            let mut nodes = Vec::new();
            for name in ["one", "two"] {
                let host = lab.host(name)?;
                host.enable_ipv6()?;
                nodes.push(Node::new(lab, &host, &ONLY_IPV6)?);
            }
            start_circle(lab, &mut nodes)?;
            // They came together by link-local addresses. Now IPv4 goes.
            for node in &nodes {
                await_address(node, |address| address.starts_with("[fe80:"))?;
                node.host()
                    .ip(&["-4", "address", "flush", "dev", Host::INTERFACE])?;
            }
            from_peer(lab, &nodes[0], &nodes[1])?;
            for node in &mut nodes {
                node.stop()?;
                node.start()?;
            }
            nodes[0].await_peers(1)?;
            from_peer(lab, &nodes[1], &nodes[0])
        });
    }

    #[test]
    fn of_two_families_the_other_one_takes_over() {
        Lab::run_in_namespaces(|lab| {
            let mut nodes = Vec::new();
            for name in ["one", "two"] {
                let host = lab.host(name)?;
                host.enable_ipv6()?;
                nodes.push(Node::new(lab, &host, &ONLY_IPV6[..1])?);
            }
            start_circle(lab, &mut nodes)?;
            ensure!(nodes[0].await_peers(1)?.len() == 1, "it is one peer");
            let host = nodes[1].host();
            host.ip(&["-4", "address", "flush", "dev", Host::INTERFACE])?;
            await_address(&nodes[0], |address| address.starts_with("[fe80:"))?;
            nodes[1].await_peers(1)?;
            from_peer(lab, &nodes[0], &nodes[1])
        });
    }
}

/// Waits until the only peer of a node is at an address.
fn await_address(node: &Node, fits: impl Fn(&str) -> bool) -> Result<()> {
    let mut last = Value::Null;
    until(LIMIT, "the peer to be at its address", || {
        last = node.json(&["peers"])?;
        let address = last[0]["address"].as_str();
        Ok(address.is_some_and(&fits).then_some(()))
    })
    .with_context(|| format!("the list was {last}"))
}

/// Gives one node a file and lets the other take it. The origin, on the taker's own
/// loopback, tells of the file and has none of its bytes.
fn from_peer(lab: &Lab, taker: &Node, giver: &Node) -> Result<()> {
    // Each gives its own file: what was taken is in the taker's cache.
    let blob = Blob::new(giver.host().name().bytes().map(u64::from).sum(), SIZE);
    let seed = blob.write(&lab.subdir("seed")?, "file.bin")?;
    giver.ok(&["cache", "add", seed.to_str().context("a path")?])?;
    let url = origin_without_bytes(taker.host())?;
    let checksum = format!("b3:{}", blob.hash());
    let job = taker.get_with(&url, "file.bin", &["--checksum", &checksum])?;
    ensure!(bytes_of(&job, "bytes_from_peers")? == SIZE as u64, "{job}");
    blob.check(&taker.downloaded("file.bin")?)
}

fn origin_without_bytes(host: &Host) -> Result<String> {
    let listener = host.inside(|| TcpListener::bind("127.0.0.1:0"))??;
    let url = format!("http://{}/file.bin", listener.local_addr()?);
    // It ends with the test's process.
    host.spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.and_then(|mut stream| answer(&mut stream));
        }
    })?;
    Ok(url)
}

fn answer(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut line = String::new();
    let mut reader = BufReader::new(stream.try_clone()?);
    reader.read_line(&mut line)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let answer = match line.starts_with("HEAD") {
        true => format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\nETag: \"one\"\r\n\
             Accept-Ranges: bytes\r\nConnection: close\r\n\r\n"
        ),
        false => "HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
    };
    stream.write_all(answer.as_bytes())
}

/// How many events of a kind there were.
fn events(node: &Node, kind: &str) -> Result<usize> {
    let events = node.json_lines(&["events"])?;
    Ok(events.iter().filter(|event| event["kind"] == kind).count())
}
