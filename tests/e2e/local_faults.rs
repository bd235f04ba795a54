//! What can be wrong on the node's own machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use potluck_tests::{BadOrigin, Blob, Lab, Misdeed, Node};

#[test]
fn a_destination_that_is_not_there() {
    Lab::run(|lab| {
        let (origin, node) = one_of_each(lab)?;
        let path = lab.dir().join("nowhere/file.bin");
        let outcome = node.run(&["get", &origin.url("f"), "-o", &path.to_string_lossy()])?;
        ensure!(!outcome.status.success(), "{outcome:?}");
        ensure!(outcome.stderr.contains("nowhere"), "{}", outcome.stderr);
        ensure!(!lab.dir().join("nowhere").exists());
        Ok(())
    });
}

#[test]
fn a_destination_that_may_not_be_written() {
    Lab::run(|lab| {
        let (origin, node) = one_of_each(lab)?;
        let dir = lab.subdir("locked")?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o555))?;
        let path = dir.join("file.bin");
        let args = ["get", &origin.url("f"), "-o", &path.to_string_lossy()];
        let output = node.command_without_rights(&args).output()?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success(), "{output:?}");
        ensure!(stderr.contains("locked"), "{stderr}");
        ensure!(fs::read_dir(&dir)?.next().is_none());
        Ok(())
    });
}

#[test]
fn a_second_daemon_on_the_same_data() {
    Lab::run(|lab| {
        let mut node = Node::new(lab, &lab.host("a")?, &[])?;
        node.start()?;
        // Another socket and other ports, so that only the data directory is shared.
        let socket = lab.dir().join("second.sock");
        let second = ["--socket", &socket.to_string_lossy(), "node"];
        let outcome = node.run(&second)?;
        ensure!(!outcome.status.success(), "{outcome:?}");
        let dir = node.data_dir();
        ensure!(
            outcome.stderr.contains(&*dir.to_string_lossy()),
            "{}",
            outcome.stderr
        );
        // The first one goes on.
        node.json(&["stats"])?;
        node.stop()?;
        node.start()
    });
}

#[test]
fn every_mistake_in_the_configuration_is_named() {
    Lab::run(|lab| {
        let node = Node::new(lab, &lab.host("a")?, &[])?;
        let text =
            "profile = \"fast\"\n\n[peering]\nmax_cleints = 3\nmax_bandwidth_served = \"a lot\"\n";
        fs::write(node.config(), text)?;
        for command in [vec!["config", "check"], vec!["node"]] {
            let outcome = node.run(&command)?;
            ensure!(!outcome.status.success(), "{command:?}: {outcome:?}");
            let said = &outcome.stderr;
            ensure!(said.contains("potluck.toml"), "no file: {said}");
            for (line, word) in [(1, "fast"), (4, "max_cleints"), (5, "a lot")] {
                let found = said
                    .lines()
                    .any(|text| text.contains(word) && text.contains(&line.to_string()));
                ensure!(found, "no line {line} about {word}: {said}");
            }
            ensure!(
                said.contains("bits") && said.contains("lan"),
                "no choices: {said}"
            );
            ensure!(said.contains("max_clients"), "no choices: {said}");
        }
        Ok(())
    });
}

#[test]
fn no_daemon_is_a_status_of_its_own() {
    Lab::run(|lab| {
        let node = Node::new(lab, &lab.host("a")?, &[])?;
        let outcome = node.run(&["job", "create"])?;
        ensure!(outcome.code()? == 4, "{outcome:?}");
        let outcome = node.run(&["job", "--no-such-option"])?;
        ensure!(outcome.code()? == 2, "{outcome:?}");
        Ok(())
    });
}

mod needs_namespaces {
    use super::*;

    #[test]
    fn the_destination_s_disk_is_full() {
        Lab::run_in_namespaces(|lab| {
            let small = lab.subdir("small")?;
            let (origin, node) = one_of_each(lab)?;
            let path = small.join("file.bin");
            let args = ["get", &origin.url("f"), "-o", &path.to_string_lossy()];
            // The command, then what it left behind.
            let output = on_a_small_disk(&node, &small, &args, "ls -A \"$0\" | sed s/^/left:/")?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let left = String::from_utf8_lossy(&output.stdout).into_owned();
            ensure!(output.status.code() != Some(0), "{output:?}");
            ensure!(said.contains("space") || said.contains("full"), "{said}");
            ensure!(!left.contains("left:"), "{left}");
            Ok(())
        });
    }

    #[test]
    fn the_cache_s_disk_is_full() {
        Lab::run_in_namespaces(|lab| {
            let (origin, node) = one_of_each(lab)?;
            fs::create_dir_all(node.data_dir())?;
            let path = node.downloaded("file.bin")?;
            let args = ["get", &origin.url("f"), "-o", &path.to_string_lossy()];
            let output = on_a_small_disk(&node, &node.data_dir(), &args, "true")?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(output.status.code() != Some(0), "{output:?}");
            ensure!(said.contains("space") || said.contains("full"), "{said}");
            ensure!(!path.exists(), "half a file");
            Ok(())
        });
    }

    /// Runs potluck with a disk of 2 MiB mounted on `dir`, in a mount namespace of its
    /// own, then the shell's command `after`.
    fn on_a_small_disk(
        node: &Node,
        dir: &std::path::Path,
        args: &[&str],
        after: &str,
    ) -> Result<std::process::Output> {
        let script = format!(
            "mount -t tmpfs -o size=2m tmpfs \"$0\" || exit 99; \"$@\"; status=$?; {after}; exit $status"
        );
        let inner = node.command(args);
        let mut command = Command::new("unshare");
        command.args(["--mount", "bash", "-c", &script]).arg(dir);
        command.arg(inner.get_program()).args(inner.get_args());
        for (key, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        command.output().context("unshare")
    }
}

fn one_of_each(lab: &Lab) -> Result<(BadOrigin, Node)> {
    let origin = BadOrigin::start(&lab.host("origin")?, Blob::new(1, 4 << 20), Misdeed::NoHead)?;
    let patience = [
        "transfer.retry_delay = \"5s\"",
        "transfer.no_progress_timeout = \"60s\"",
    ];
    let node = Node::new(lab, &lab.host("a")?, &patience)?;
    Ok((origin, node))
}
