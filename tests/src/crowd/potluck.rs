//! Potluck on every host: daemons of one domain that know each other, and `potluck get`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use super::crew::{Crew, Members};
use super::{Scene, Serving, Site, Sources};
use crate::{Node, bytes_of, start_circle};

/// A node on each host.
#[derive(Debug)]
pub(super) struct Potluck {
    nodes: Vec<Node>,
    gets: Members,
}

impl Potluck {
    /// Starts the daemons and waits until each lists all others.
    pub(super) fn new(site: &Site<'_>, scene: &Scene) -> Result<Self> {
        let files = site.load().files().len().max(200);
        let mut settings = vec![format!("transfer.max_files_per_job = {files}")];
        if !scene.audits {
            settings.push("peering.audit_share = 0".to_owned());
        }
        if scene.serving == Serving::Lan {
            settings.push("profile = \"lan\"".to_owned());
        }
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let mut nodes = Vec::new();
        for host in site.hosts() {
            nodes.push(Node::new(site.lab(), host, &settings)?);
        }
        start_circle(site.lab(), &mut nodes)?;
        Ok(Self {
            nodes,
            gets: Members::new(site, "get")?,
        })
    }

    /// The finished job, as `get --json` printed it.
    fn job(&self, host: usize) -> Result<Value> {
        let text = self.gets.output(host);
        let document = text.find('{').map_or("", |start| &text[start..]);
        let mut documents = serde_json::Deserializer::from_str(document).into_iter();
        let job = documents
            .next()
            .with_context(|| format!("no job: {text}"))?;
        job.with_context(|| text.clone())
    }
}

impl Crew for Potluck {
    fn begin(&mut self, site: &Site<'_>, host: usize) -> Result<()> {
        let node = &self.nodes[host];
        let mut command = node.command(&["--json", "get", "-d"]);
        command.arg(node.downloads()?);
        command.args(site.load().paths().map(|path| site.nginx().url(&path)));
        self.gets.start(host, command)
    }

    fn is_done(&mut self, host: usize) -> Result<bool> {
        self.gets.has_ended(host)
    }

    fn kill(&mut self, host: usize) -> Result<()> {
        self.nodes[host].kill()?;
        self.gets.kill(host);
        Ok(())
    }

    fn output(&self, _site: &Site<'_>, host: usize) -> PathBuf {
        self.nodes[host].dir().join("downloads")
    }

    fn pids(&mut self) -> Vec<u32> {
        let daemons = self.nodes.iter_mut();
        daemons
            .filter_map(|node| Some(node.daemon().ok()?.pid()))
            .collect()
    }

    fn sources(&self, hosts: &[usize]) -> Result<Option<Sources>> {
        let mut sum = Sources::default();
        for host in hosts {
            let job = self.job(*host)?;
            sum.peers += bytes_of(&job, "bytes_from_peers")?;
            sum.origin += bytes_of(&job, "bytes_from_origin")?;
            sum.cache += bytes_of(&job, "bytes_from_cache")?;
            sum.discarded += bytes_of(&job, "bytes_discarded")?;
        }
        Ok(Some(sum))
    }
}
