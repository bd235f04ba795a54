//! Who has not the domain's papers reaches no protocol, on either port, whoever calls.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use potluck_tests::{
    Ambush, Lab, LabKind, Mistake, Node, Papers, call, call_in_plain_text, mistakes, poll,
};
use serde_json::Value;

const DATA: (u16, &[u8]) = (Node::DATA_PORT, b"potluck-data/1");
const CONTROL: (u16, &[u8]) = (Node::CONTROL_PORT, b"potluck-control/1");

/// A well-formed question to the data port, for a content that nobody has.
const QUESTION: &str = "GET /v1/contents/\
    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef HTTP/1.1\r\n\
    Host: lab\r\nConnection: close\r\n\r\n";

#[test]
fn strangers_who_call() {
    Lab::run(|lab| {
        let (node, stranger) = (member(lab)?, lab.host("stranger")?);
        let dir = node.data_dir();

        // A member is answered: what follows is not refused for another reason.
        let at = |port| SocketAddr::new(node.host().address(), port);
        let papers = Papers::member(&dir)?;
        let answer = call(&stranger, at(DATA.0), DATA.1, &papers, QUESTION.as_bytes())?;
        ensure!(answer.bytes.starts_with(b"HTTP/1.1 404"), "{answer:?}");

        let mut wrong = mistakes(&dir)?;
        wrong.push(revoked(&node)?);
        wrong.push(Mistake {
            name: "missing",
            reason: "showed no certificate",
            papers: Papers::missing(),
        });
        for (port, alpn) in [DATA, CONTROL] {
            for Mistake { name, papers, .. } in &wrong {
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

        // On loopback a caller's address is 127.0.0.1 whoever calls.
        let from = match lab.kind() {
            LabKind::Namespaces => stranger.address().to_string(),
            LabKind::Loopback => "127.".to_owned(),
        };
        let reasons = wrong.iter().map(|it| it.reason);
        for word in reasons.chain(["does not speak TLS"]) {
            for port in ["data", "control"] {
                let what = format!("the refusal on the {port} port: {word}");
                poll(Duration::from_secs(5), &what, || {
                    Ok(rejected(&node)?.iter().any(|entry| {
                        text(entry, "address").starts_with(&from)
                            && text(entry, "port") == port
                            && reason(entry).contains(word)
                    }))
                })
                .with_context(|| format!("{:#?}", rejected(&node)))?;
            }
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
        let mut wrong = mistakes(&node.data_dir())?;
        wrong.push(revoked(&node)?);
        node.stop()?;
        let stranger = lab.host("stranger")?;
        let mut ambushes = Vec::new();
        let mut peers = Vec::new();
        for (index, wrong) in (0..).zip(wrong) {
            // A node's control port is its data port and one.
            let port = 8000 + 2 * index;
            let ambush = Ambush::new(&stranger, port + 1, CONTROL.1, &wrong.papers)?;
            peers.push(format!("\"{}:{port}\"", stranger.address()));
            ambushes.push((wrong, ambush));
        }
        node.set(&format!("peering.static_peers = [{}]", peers.join(", ")));
        node.start()?;
        for (Mistake { name, reason, .. }, ambush) in &ambushes {
            let place = ambush.address().to_string();
            let what = format!("the refusal of the one {name}: {reason}");
            poll(Duration::from_secs(30), &what, || {
                let fits = |entry: &Value| {
                    text(entry, "address") == place && text(entry, "reason").contains(reason)
                };
                Ok(rejected(&node)?.iter().any(fits))
            })
            .with_context(|| format!("{:#?}", rejected(&node)))?;
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

/// A member's papers, after the member was revoked.
fn revoked(node: &Node) -> Result<Mistake> {
    let papers = Papers::member(&node.data_dir())?;
    let id = papers.peer_id()?.to_string();
    node.ok(&["domain", "revoke", &id, "--reason", "lost"])?;
    Ok(Mistake {
        name: "revoked",
        reason: "was revoked",
        papers,
    })
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
