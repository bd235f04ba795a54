//! The life of a domain: inviting, joining and renewing as machines come and go.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use potluck_tests::{Lab, Node, until};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_code_without_addresses_is_enough_on_one_subnet() {
    Lab::run(|lab| {
        let (first, second) = two(lab)?;
        first.create_domain("lab")?;
        let invitation = first.json(&["domain", "invite", "--no-addresses"])?;
        let short = text(&invitation, "code")?;
        ensure!(short.len() < first.invite()?.len(), "{short}");
        // Read aloud and typed in small letters, with spaces instead of hyphens.
        let spoken = short.to_lowercase().replace('-', " ");
        let mut words = vec!["domain", "join"];
        words.extend(spoken.split(' '));
        second.ok(&words)?;
        second.await_peers(1).map(drop)
    });
}

#[test]
fn certificates_renew_themselves_and_on_demand() {
    Lab::run(|lab| {
        let (first, mut second) = two(lab)?;
        first.ok(&["domain", "create", "lab", "--certificate-lifetime", "60s"])?;
        second.join(&first.invite()?)?;
        let before = certificate_end(&second)?;
        await_event(&second, "certificate_renewed")?;
        await_event(&first, "certificate_renewed")?;
        let renewed = certificate_end(&second)?;
        ensure!(renewed > before, "{before} and then {renewed}");
        second.await_peers(1)?;

        // Without a daemon it works on the files.
        second.stop()?;
        until(LIMIT, "a certificate that ends a second later", || {
            let document = second.json(&["domain", "renew"])?;
            Ok((text(&document, "certificate_expires")? > renewed).then_some(()))
        })
    });
}

fn two(lab: &Lab) -> Result<(Node, Node)> {
    let (a, b) = (lab.host("a")?, lab.host("b")?);
    let mut first = Node::new(lab, &a, &[])?;
    first.knows(lab, &[&b])?;
    first.start()?;
    let mut second = Node::new(lab, &b, &[])?;
    second.knows(lab, &[&a])?;
    second.start()?;
    Ok((first, second))
}

fn await_event(node: &Node, kind: &str) -> Result<Value> {
    until(LIMIT, &format!("{kind} on {}", node.host().name()), || {
        let events = node.json_lines(&["events"])?;
        Ok(events.into_iter().find(|event| event["kind"] == kind))
    })
}

fn certificate_end(node: &Node) -> Result<String> {
    text(&node.json(&["domain", "show"])?, "certificate_expires")
}

fn text(document: &Value, key: &str) -> Result<String> {
    let text = document[key].as_str();
    Ok(text
        .with_context(|| format!("no {key} in {document}"))?
        .to_owned())
}
