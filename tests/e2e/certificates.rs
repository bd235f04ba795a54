//! Who has not the domain's papers reaches no protocol, on either port, whoever calls.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use potluck_tests::{Ambush, Lab, Node, Papers, call, call_in_plain_text, poll, until};
use serde_json::Value;

const DATA: (u16, &[u8]) = (Node::DATA_PORT, b"potluck-data/1");
const CONTROL: (u16, &[u8]) = (Node::CONTROL_PORT, b"potluck-control/1");

/// A well-formed question to the data port, for a content that nobody has.
const QUESTION: &str = "GET /v1/contents/\
    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef HTTP/1.1\r\n\
    Host: lab\r\nConnection: close\r\n\r\n";

type MakePapers = fn(&std::path::Path) -> Result<Papers>;

/// The papers that must be refused and a word of the reason that is shown.
const WRONG: [(&str, MakePapers, &str); 4] = [
    ("foreign", |dir| Papers::foreign(dir), ""),
    ("self-signed", |dir| Papers::self_signed(dir), ""),
    ("expired", |dir| Papers::expired(dir), "ended"),
    ("not yet valid", |dir| Papers::not_yet(dir), "not valid yet"),
];

#[test]
fn strangers_who_call() {
    Lab::run(|lab| {
        let (node, stranger) = (member(lab)?, lab.host("stranger")?);
        let dir = node.data_dir();

        // A member is answered: what follows is not refused for another reason.
        let at = |port| SocketAddr::new(node.host().address(), port);
        let answer = call(
            &stranger,
            at(DATA.0),
            DATA.1,
            &Papers::member(&dir)?,
            QUESTION.as_bytes(),
        )?;
        ensure!(answer.bytes.starts_with(b"HTTP/1.1 404"), "{answer:?}");

        let mut papers: Vec<(&str, Papers)> = vec![("missing", Papers::missing())];
        for (name, make, _) in WRONG {
            papers.push((name, make(&dir)?));
        }
        for (port, alpn) in [DATA, CONTROL] {
            for (name, papers) in &papers {
                let answer = call(&stranger, at(port), alpn, papers, QUESTION.as_bytes())?;
                ensure!(answer.bytes.is_empty(), "{name} on {port}: {answer:?}");
                ensure!(answer.end != "still open", "{name} on {port} was left open");
            }
            let answer = call_in_plain_text(&stranger, at(port), QUESTION.as_bytes())?;
            ensure!(
                !answer.bytes.starts_with(b"HTTP"),
                "plain text on {port}: {answer:?}"
            );
            ensure!(
                answer.end != "still open",
                "plain text on {port} was left open"
            );
        }

        let rejected = rejected(&node)?;
        for (_, _, word) in WRONG {
            ensure!(
                rejected.iter().any(|entry| reason(entry).contains(word)),
                "no {word}: {rejected:?}"
            );
        }
        let from = stranger.address().to_string();
        // On loopback a caller's address is 127.0.0.1 whoever calls.
        if lab.kind() == potluck_tests::LabKind::Namespaces {
            let ours = rejected
                .iter()
                .filter(|entry| text(entry, "address").starts_with(&from));
            // Five papers and plain text, twice.
            let reasons: std::collections::BTreeSet<_> = ours.map(reason).collect();
            ensure!(reasons.len() >= 5, "{reasons:?}");
        }
        let peers = node.json(&["peers"])?;
        ensure!(peers.as_array().is_some_and(Vec::is_empty), "{peers}");
        node.json(&["stats"])?;
        Ok(())
    });
}

#[test]
fn strangers_who_are_called() {
    Lab::run(|lab| {
        let mut node = member(lab)?;
        node.stop()?;
        let dir = node.data_dir();
        let mut ambushes = Vec::new();
        let mut peers = Vec::new();
        for (index, (name, make, word)) in WRONG.into_iter().enumerate() {
            let host = lab.host(&format!("s{index}"))?;
            let ambush = Ambush::new(&host, CONTROL.0, CONTROL.1, &make(&dir)?)?;
            peers.push(format!("\"{}:{}\"", host.address(), DATA.0));
            ambushes.push((name, host, ambush, word));
        }
        node.set(&format!("peering.static_peers = [{}]", peers.join(", ")));
        node.start()?;
        for (name, host, ambush, word) in &ambushes {
            let place = host.address().to_string();
            let entry = until(
                Duration::from_secs(30),
                &format!("the {name} one to be refused"),
                || {
                    let rejected = rejected(&node)?;
                    Ok(rejected
                        .into_iter()
                        .find(|entry| text(entry, "address").starts_with(&place)))
                },
            )?;
            ensure!(reason(&entry).contains(word), "{name}: {entry}");
            poll(Duration::from_secs(10), "the call", || {
                Ok(ambush.seen().calls > 0)
            })?;
            let seen = ambush.seen();
            ensure!(seen.bytes.is_empty(), "{name} was told {:?}", seen.bytes);
        }
        let peers = node.json(&["peers"])?;
        ensure!(peers.as_array().is_some_and(Vec::is_empty), "{peers}");
        Ok(())
    });
}

mod needs_openssl {
    use super::*;

    #[test]
    fn openssl_is_refused_without_a_certificate() {
        Lab::run(|lab| {
            let (node, stranger) = (member(lab)?, lab.host("stranger")?);
            for (port, alpn) in [DATA, CONTROL] {
                let mut command = stranger.command("timeout");
                command.args(["10", "openssl", "s_client", "-tls1_3", "-quiet", "-alpn"]);
                command.arg(std::str::from_utf8(alpn)?);
                command
                    .arg("-connect")
                    .arg(format!("{}:{port}", node.host().address()));
                let output = command.stdin(std::process::Stdio::null()).output()?;
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                ensure!(output.stdout.is_empty(), "{output:?}");
                ensure!(said.contains("alert certificate required"), "{said}");
            }
            ensure!(!rejected(&node)?.is_empty());
            Ok(())
        });
    }
}

/// A daemon that made a domain and is alone in it.
fn member(lab: &Lab) -> Result<Node> {
    let mut node = Node::new(lab, &lab.host("member")?, &[])?;
    node.knows(lab, &[])?;
    node.start()?;
    node.create_domain("lab")?;
    // The ports open when the daemon has noticed.
    let place = SocketAddr::new(node.host().address(), DATA.0);
    for port in [DATA.0, CONTROL.0] {
        let place = SocketAddr::new(place.ip(), port);
        poll(Duration::from_secs(10), "the daemon's ports", || {
            Ok(node
                .host()
                .inside(|| std::net::TcpStream::connect(place))?
                .is_ok())
        })?;
    }
    Ok(node)
}

fn rejected(node: &Node) -> Result<Vec<Value>> {
    let rejected = node.json(&["peers", "--rejected"])?;
    Ok(rejected.as_array().context("an array")?.clone())
}

fn reason(entry: &Value) -> &str {
    text(entry, "reason")
}

fn text<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry[key].as_str().unwrap_or_default()
}
