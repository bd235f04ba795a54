//! The life of a domain: inviting, joining and renewing as machines come and go.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use potluck_tests::{Host, Lab, Node, until};
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

#[test]
fn a_second_holder_takes_over_from_the_first() {
    Lab::run(|lab| {
        let (mut first, second) = two(lab)?;
        first.create_domain("lab")?;
        let outcome = first.run(&["domain", "invite", "--authority"])?;
        ensure!(outcome.stderr.contains("CAREFUL"), "{outcome:?}");
        second.join(outcome.stdout.trim())?;
        let held = second.json(&["domain", "show"])?;
        ensure!(held["authority"] == true, "{held}");
        ensure!(
            held["authority_others"] == serde_json::json!([peer_id(&first)?]),
            "{held}"
        );

        let mut third = Node::new(lab, &lab.host("c")?, &[])?;
        third.knows(lab, &[second.host()])?;
        third.start()?;
        third.join(&first.invite()?)?;
        first.stop()?;
        // Where it joined nobody answers; it asks around and finds the other one.
        let before = certificate_end(&third)?;
        until(LIMIT, "a certificate from the second holder", || {
            let renewed = third.json(&["domain", "renew"])?;
            Ok((text(&renewed, "certificate_expires")? > before).then_some(()))
        })?;
        let renewal = await_event(&third, "certificate_renewed")?;
        let by = text(&renewal["fields"], "by")?;
        ensure!(by.starts_with(&second.host().address().to_string()), "{by}");
        let mut fourth = Node::new(lab, &lab.host("d")?, &[])?;
        fourth.start()?;
        fourth.join(&second.invite()?)
    });
}

#[test]
fn a_locked_authority_says_what_to_do() {
    Lab::run(|lab| {
        let (mut first, second) = two(lab)?;
        let secret = lab.dir().join("secret");
        fs::write(&secret, "open sesame\n")?;
        let secret = secret.to_str().context("a path in UTF-8")?.to_owned();
        first.ok(&["domain", "create", "lab", "--passphrase-file", &secret])?;
        let code = first.invite()?;
        // A daemon that starts anew does not know the passphrase.
        first.stop()?;
        first.start()?;
        let shown = first.json(&["domain", "show"])?;
        ensure!(shown["authority_key"] == "locked", "{shown}");
        for command in [&["domain", "invite"][..], &["domain", "renew"][..]] {
            let refused = first.run(command)?;
            ensure!(!refused.status.success(), "{refused:?}");
            ensure!(
                refused.stderr.contains("potluck domain unlock"),
                "{refused:?}"
            );
        }
        let refused = second.run(&["domain", "join", &code])?;
        ensure!(refused.stderr.contains("locked"), "{refused:?}");

        let wrong = lab.dir().join("wrong");
        fs::write(&wrong, "open barley\n")?;
        let wrong = wrong.to_str().context("a path in UTF-8")?.to_owned();
        let refused = first.run(&["domain", "unlock", "--passphrase-file", &wrong])?;
        ensure!(!refused.status.success(), "{refused:?}");
        first.ok(&["domain", "unlock", "--passphrase-file", &secret])?;
        second.join(&code)?;
        first.ok(&["domain", "lock"])?;
        let refused = second.run(&["domain", "renew"])?;
        ensure!(refused.stderr.contains("locked"), "{refused:?}");

        // Without a daemon the command asks for itself.
        first.stop()?;
        let refused = first.run(&["domain", "invite"])?;
        ensure!(refused.stderr.contains("locked"), "{refused:?}");
        first.ok(&["domain", "invite", "--passphrase-file", &secret])?;
        first.ok(&[
            "domain",
            "passphrase",
            "--remove",
            "--passphrase-file",
            &secret,
        ])?;
        first.ok(&["domain", "invite"]).map(drop)
    });
}

#[test]
fn who_leaves_is_gone_at_once_and_keeps_its_cache() {
    Lab::run(|lab| {
        let (first, second) = two(lab)?;
        first.create_domain("lab")?;
        second.join(&first.invite()?)?;
        second.await_peers(1)?;
        first.await_peers(1)?;
        let seed = lab.dir().join("seed");
        fs::write(&seed, vec![7; 300_000])?;
        second.ok(&["cache", "add", seed.to_str().context("a path in UTF-8")?])?;

        let left = second.json(&["domain", "leave"])?;
        ensure!(left["member"] == false, "{left}");
        let events = second.json_lines(&["events"])?;
        let cleared = events.iter().find(|event| event["kind"] == "peers_cleared");
        let cleared = cleared.context("no word of the cleared list")?;
        ensure!(cleared["fields"]["count"] == 1, "{cleared}");
        // It said goodbye: the other need not find out.
        first.await_peers(0)?;
        second.await_peers(0)?;
        let contents = second.json(&["cache", "list"])?;
        ensure!(
            contents.as_array().is_some_and(|list| list.len() == 1),
            "{contents}"
        );
        let refused = first.run(&["domain", "leave"])?;
        ensure!(refused.stderr.contains("--force"), "{refused:?}");
        let before = peer_id(&first)?;
        first.ok(&["domain", "leave", "--force"])?;
        first.create_domain("anew")?;
        ensure!(peer_id(&first)? != before, "a new domain, a new key");
        Ok(())
    });
}

#[test]
fn an_authority_that_no_network_reaches_signs_files() {
    Lab::run(|lab| {
        let (member, joining) = two(lab)?;
        // The authority is on a machine that never runs a daemon.
        let vault = Node::new(lab, &lab.host("vault")?, &[])?;
        vault.create_domain("lab")?;
        let path = |name: &str| lab.dir().join(name).display().to_string();
        let (request, answer) = (path("request"), path("answer"));
        for node in [&member, &joining] {
            let asked = node.json(&["domain", "request", "-o", &request])?;
            // Nobody signs unseen.
            let refused = vault.run(&["domain", "sign", &request, "-o", &answer])?;
            ensure!(refused.code()? == 2, "{refused:?}");
            ensure!(
                refused.stderr.contains(&text(&asked, "peer_id")?),
                "{refused:?}"
            );
            let signed = vault.json(&["domain", "sign", &request, "-o", &answer, "--yes"])?;
            ensure!(signed["peer_id"] == asked["peer_id"], "{signed}");
            let joined = node.json(&["domain", "join", "--answer", &answer])?;
            ensure!(joined["peer_id"] == asked["peer_id"], "{joined}");
            ensure!(joined["authority"] == false, "{joined}");
        }
        member.await_peers(1)?;
        joining.await_peers(1)?;
        let refused = member.run(&["domain", "join", "--answer", &answer])?;
        ensure!(refused.stderr.contains("another node"), "{refused:?}");

        // A renewal goes the same way, and the daemon takes it at once.
        let before = certificate_end(&joining)?;
        until(LIMIT, "a certificate that ends a second later", || {
            joining.ok(&["domain", "request", "-o", &request])?;
            vault.ok(&["domain", "sign", &request, "-o", &answer, "--yes"])?;
            joining.ok(&["domain", "join", "--answer", &answer])?;
            Ok((certificate_end(&joining)? > before).then_some(()))
        })?;
        joining.await_peers(1).map(drop)
    });
}

mod needs_namespaces {
    use super::*;

    #[test]
    fn who_lets_in_is_found_by_ipv6_alone() {
        Lab::run_in_namespaces(|lab| {
            let settings = ["peering.listen = \"[::]:7381\"", "peering.beacon = \"\""];
            let mut nodes = Vec::new();
            for name in ["a", "b"] {
                let host = lab.host(name)?;
                enable_ipv6(&host)?;
                let mut node = Node::new(lab, &host, &settings)?;
                node.start()?;
                nodes.push(node);
            }
            let [first, second] = &nodes[..] else {
                unreachable!("two were made");
            };
            first.create_domain("lab")?;
            let invitation = first.json(&["domain", "invite", "--no-addresses"])?;
            second.join(&text(&invitation, "code")?)?;
            let joined = await_event(first, "domain_joined")?;
            let from = text(&joined["fields"], "address")?;
            ensure!(from.starts_with("[fe80:"), "{from}");
            // And once more at the address that it remembers, scope and all.
            second.ok(&["domain", "renew"]).map(drop)
        });
    }

    /// Gives a host a link-local address that it may use at once.
    fn enable_ipv6(host: &Host) -> Result<()> {
        let script = "cd /proc/sys/net/ipv6/conf && \
            for conf in all default eth0; do echo 0 > $conf/accept_dad; done && \
            for conf in all default eth0; do echo 0 > $conf/disable_ipv6; done";
        let status = host.command("sh").args(["-c", script]).status()?;
        ensure!(status.success(), "IPv6 on {}: {status}", host.name());
        until(LIMIT, "a link-local address", || {
            let table = host.inside(|| fs::read_to_string("/proc/thread-self/net/if_inet6"))?;
            let table = table?;
            // The fifth column has no flag but "permanent" once the address may be used.
            let usable = |line: &str| {
                line.starts_with("fe80") && line.split_whitespace().nth(4) == Some("80")
            };
            Ok(table.lines().any(usable).then_some(()))
        })
    }
}

mod needs_openssl {
    use super::*;

    #[test]
    fn openssl_reads_a_protected_key() {
        Lab::run(|lab| {
            let first = Node::new(lab, &lab.host("a")?, &[])?;
            let secret = lab.dir().join("secret");
            fs::write(&secret, "open sesame\n")?;
            let secret = secret.to_str().context("a path in UTF-8")?;
            first.ok(&["domain", "create", "lab", "--passphrase-file", secret])?;
            let key = first.data_dir().join("authority/ca.key");
            let read = |passphrase: &str| {
                std::process::Command::new("openssl")
                    .args(["pkey", "-noout", "-text", "-passin"])
                    .arg(format!("pass:{passphrase}"))
                    .arg("-in")
                    .arg(&key)
                    .output()
                    .context("openssl")
            };
            let right = read("open sesame")?;
            ensure!(right.status.success(), "{right:?}");
            ensure!(String::from_utf8_lossy(&right.stdout).contains("ED25519"));
            ensure!(!read("open barley")?.status.success());
            Ok(())
        });
    }
}

fn peer_id(node: &Node) -> Result<String> {
    text(&node.json(&["domain", "show"])?, "peer_id")
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
