//! `potluck doctor` names what is wrong, in one line.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use potluck_tests::{Lab, Node, circle, until};
use serde_json::Value;

/// The line of the check `name` whose finding has all the `words`.
fn line<'a>(report: &'a Value, name: &str, words: &[&str]) -> Result<&'a Value> {
    let findings = report["findings"].as_array().context("findings")?;
    let text = |finding: &Value| finding["finding"].as_str().unwrap_or_default().to_owned();
    findings
        .iter()
        .find(|finding| {
            finding["check"] == name && words.iter().all(|word| text(finding).contains(word))
        })
        .with_context(|| format!("no line on {name} with {words:?}: {report:#}"))
}

/// What `potluck doctor --json` prints, and whether it calls the node healthy.
fn doctor(node: &Node) -> Result<Value> {
    let outcome = node.run(&["--json", "doctor"])?;
    let report: Value = serde_json::from_str(&outcome.stdout)
        .with_context(|| format!("{}{}", outcome.stdout, outcome.stderr))?;
    let healthy = report["healthy"].as_bool().context("healthy")?;
    ensure!(healthy == (outcome.code()? == 0), "{report:#}");
    Ok(report)
}

fn is_failed(line: &Value) -> Result<()> {
    ensure!(line["health"] == "failed", "{line}");
    ensure!(line["advice"].is_string(), "{line}");
    Ok(())
}

#[test]
fn a_node_in_no_domain() {
    Lab::run(|lab| {
        let mut node = Node::new(lab, &lab.host("a")?, &[])?;
        // Without a daemon as well as with one.
        is_failed(line(&doctor(&node)?, "certificate", &["in no domain"])?)?;
        node.start()?;
        is_failed(line(&doctor(&node)?, "certificate", &["in no domain"])?)
    });
}

#[test]
fn two_nodes_that_are_well() {
    Lab::run(|lab| {
        let circle = circle(lab, &["a", "b"], &[])?;
        for node in &circle {
            let report = doctor(node)?;
            ensure!(report["healthy"] == true, "{report:#}");
            ensure!(line(&report, "peers", &["1 on the list"])?["health"] == "ok");
            ensure!(line(&report, "ports", &["data 7381", "control 7382"])?["health"] == "ok");
            ensure!(line(&report, "certificate", &["lab"])?["health"] == "ok");
            ensure!(line(&report, "reachability", &["got through"])?["health"] == "ok");
            ensure!(line(&report, "clock", &[])?["health"] == "ok");
        }
        Ok(())
    });
}

mod needs_nft_namespaces {
    use super::*;

    /// Adds a rule to the firewall of a node's host.
    fn block(node: &Node, hook: &str, what: &str) -> Result<()> {
        let rules = format!(
            "add table inet lab; \
             add chain inet lab {hook} {{ type filter hook {hook} priority 0; }}; \
             add rule inet lab {hook} {what} drop"
        );
        let output = node.host().command("nft").arg(&rules).output()?;
        ensure!(
            output.status.success(),
            "nft {rules}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    #[test]
    fn multicast_that_does_not_come_in() {
        Lab::run(|lab| {
            let circle = circle(lab, &["a", "b"], &[])?;
            block(&circle[0], "input", "udp dport 7383")?;
            let report = doctor(&circle[0])?;
            is_failed(line(&report, "multicast", &["was not heard back"])?)?;
            let other = doctor(&circle[1])?;
            ensure!(line(&other, "multicast", &["comes in"])?["health"] == "ok");
            Ok(())
        });
    }

    #[test]
    fn multicast_that_does_not_go_out() {
        Lab::run(|lab| {
            let circle = circle(lab, &["a", "b"], &[])?;
            block(&circle[0], "output", "udp dport 7383")?;
            is_failed(line(
                &doctor(&circle[0])?,
                "multicast",
                &["does not go out"],
            )?)
        });
    }

    #[test]
    fn a_data_port_that_is_blocked() {
        Lab::run(|lab| {
            let circle = circle(lab, &["a", "b"], &[])?;
            block(&circle[0], "input", "tcp dport 7381")?;
            is_failed(line(&doctor(&circle[0])?, "ports", &["data port"])?)?;
            let other = doctor(&circle[1])?;
            let address = format!("{}:7381", circle[0].host().address());
            is_failed(line(&other, "peers", &["cannot be reached", &address])?)
        });
    }

    #[test]
    fn a_data_port_that_is_blocked_from_outside_only() {
        Lab::run(|lab| {
            let circle = circle(lab, &["a", "b"], &[])?;
            block(&circle[0], "input", "iifname eth0 tcp dport 7381")?;
            let report = doctor(&circle[0])?;
            ensure!(line(&report, "ports", &["data 7381"])?["health"] == "ok");
            is_failed(line(&report, "reachability", &["cannot reach", "7381"])?)?;
            let other = doctor(&circle[1])?;
            ensure!(line(&other, "reachability", &["got through"])?["health"] == "ok");
            Ok(())
        });
    }

    #[test]
    fn another_domain_on_the_same_subnet() {
        Lab::run(|lab| {
            let node = &circle(lab, &["a", "b"], &[])?[0];
            let _others = circle(lab, &["c", "d"], &[])?;
            // Their first beacons were sent before they found each other.
            let report = doctor(node)?;
            ensure!(line(&report, "beacons", &["another domain"])?["health"] == "warning");
            Ok(())
        });
    }
}

mod needs_faketime_namespaces {
    use super::*;

    #[test]
    fn a_clock_that_is_behind_or_ahead() {
        Lab::run(|lab| {
            // Not the first one: it holds the authority and would renew its certificate.
            let mut circle = circle(lab, &["a", "b", "c"], &[])?;
            for (offset, check, words) in [
                ("-2y", "clock", "before this program was made"),
                ("-90m", "clock", "before this node's certificate was made"),
                ("-30m", "clock", "more than a minute away"),
                ("+30m", "clock", "more than a minute away"),
                ("+2y", "certificate", "it has ended"),
            ] {
                circle[1].stop()?;
                circle[1].set_clock(offset);
                circle[1].start()?;
                // A node is heard every half minute at least.
                let mut report = Value::Null;
                let found = until(Duration::from_secs(60), offset, || {
                    report = doctor(&circle[1])?;
                    Ok(line(&report, check, &[words]).ok().cloned())
                });
                is_failed(&found.with_context(|| format!("{report:#}"))?)?;
            }
            // The others can tell that it is not theirs.
            let report = doctor(&circle[0])?;
            ensure!(line(&report, "clock", &["others were not"])?["health"] == "warning");
            Ok(())
        });
    }
}
