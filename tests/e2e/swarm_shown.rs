//! What a swarm did for a file is told, and told the same everywhere.

mod needs_nginx {
    use std::process::Stdio;
    use std::time::Duration;

    use anyhow::{Context, Result, ensure};
    use potluck_tests::{Blob, Lab, Nginx, Node, bytes_of, circle};
    use serde_json::Value;

    const SIZE: u64 = 8 << 20;
    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn jobs_and_counters_say_what_the_swarm_did_also_after_a_restart() {
        Lab::run(|lab| {
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            let blob = Blob::new(1, SIZE as usize);
            blob.write(nginx.root(), "file.bin")?;
            let url = nginx.url("slow/file.bin");
            // Each audits a third of what the others gave.
            let settings = ["profile = \"lan\"", "peering.audit_share = \"100%\""];
            let mut nodes = circle(lab, &["a", "b", "c"], &settings)?;
            let mut gets = Vec::new();
            for node in &nodes {
                let path = node.downloaded("file.bin")?;
                node.downloads()?;
                let mut get = node.command(&["get", &url, "-o", &path.to_string_lossy()]);
                gets.push(get.stdout(Stdio::piped()).spawn()?);
            }
            for (node, get) in nodes.iter().zip(gets) {
                let output = get.wait_with_output()?;
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                ensure!(output.status.success(), "{said}");
                let last = said.lines().last().unwrap_or_default();
                ensure!(last.contains("; with 2 other members"), "{said}");
                blob.check(&node.downloaded("file.bin")?)?;
            }
            let mut audited = 0;
            for node in &nodes {
                audited += told_the_same(node)?;
            }
            ensure!(audited > 0, "nothing was audited");
            let before = job(&nodes[0])?;
            nodes[0].stop()?;
            nodes[0].start()?;
            let after = job(&nodes[0])?;
            ensure!(after["swarm"] == before["swarm"], "{before} {after}");
            told_the_same(&nodes[0]).map(drop)
        });
    }

    #[test]
    fn where_there_was_no_swarm_nothing_is_said_of_it() {
        Lab::run(|lab| {
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            let blob = Blob::new(2, SIZE as usize / 8);
            blob.write(nginx.root(), "file.bin")?;
            let nodes = circle(lab, &["a", "b"], &["profile = \"lan\""])?;
            let alone = nodes[0].get(&nginx.url("file.bin"), "file.bin")?;
            ensure!(alone["swarm"].is_null(), "{alone}");
            ensure!(alone["files"][0]["swarm"].is_null(), "{alone}");
            let id = alone["id"].as_str().context("an id")?;
            let shown = nodes[0].ok(&["job", "show", id])?;
            ensure!(!shown.contains("swarm"), "{shown}");
            Ok(())
        });
    }

    /// The only job of a node, once it is over.
    fn job(node: &Node) -> Result<Value> {
        let list = node.json(&["job", "list", "--all"])?;
        let id = list[0]["id"].as_str().context("a job")?;
        let job = node.await_job(id, &["acknowledged"], LIMIT)?;
        ensure!(list[0]["swarm"] == job["swarm"], "{list} {job}");
        Ok(job)
    }

    /// Bytes that a node audited, by all that it says.
    fn told_the_same(node: &Node) -> Result<u64> {
        let job = job(node)?;
        let swarm = &job["swarm"];
        ensure!(job["files"][0]["swarm"] == *swarm, "{job}");
        ensure!(bytes_of(swarm, "members")? == 2, "{job}");
        ensure!(bytes_of(swarm, "liars_exposed")? == 0, "{job}");
        let audited = bytes_of(swarm, "bytes_audited")?;
        ensure!((bytes_of(swarm, "audits")? > 0) == (audited > 0), "{job}");
        ensure!(bytes_of(&job, "bytes_discarded")? >= audited, "{job}");
        let sources = ["bytes_from_peers", "bytes_from_origin", "bytes_from_cache"];
        let mut sum = 0;
        for source in sources {
            sum += bytes_of(&job, source)?;
        }
        ensure!(sum == SIZE, "{job}");
        let stats = node.json(&["stats"])?;
        for counter in ["bytes_audited", "claims_taken_over"] {
            ensure!(stats[counter] == swarm[counter], "{stats} {job}");
        }
        let id = job["id"].as_str().context("an id")?;
        let shown = node.ok(&["job", "show", id])?;
        ensure!(shown.contains("\nswarm "), "{shown}");
        Ok(audited)
    }
}
