//! Four jobs of different priorities that want the same line, each from an origin of its
//! own, so that what crosses the origin's link is what the job gets.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{Blob, Control, Host, Lab, Nginx, Node, until};

/// The jobs, by what they are called.
pub const CONTESTANTS: [&str; 4] = ["low", "normal a", "normal b", "foreground"];
const PRIORITIES: [&str; 4] = ["low", "normal", "normal", "foreground"];
/// Bytes of their files. Each job alone gets 4 MiB a second: nginx sends 1 MiB a second
/// over each of the four connections of a file.
pub const SIZES: [u64; 4] = [20 << 20, 16 << 20, 16 << 20, 12 << 20];
/// Bytes that a job gets before the next ones are made.
const START: u64 = 4 << 20;
const EVERY: Duration = Duration::from_millis(50);

/// What was seen on the wire.
#[derive(Debug, Default)]
pub struct Contest {
    /// Since the beginning, and the bytes that each origin had sent by then.
    pub samples: Vec<(Duration, [u64; 4])>,
    /// The number of the sample before a job was made.
    pub made: [usize; 4],
    /// The number of the sample after a job was seen to be over.
    pub over: [usize; 4],
}

impl Contest {
    /// Runs it: the low one begins; then two normal ones come; when both have got
    /// something, one of the foreground comes. Turns take a second.
    pub fn run(lab: &Lab) -> Result<Self> {
        let mut origins = Vec::new();
        for (number, size) in SIZES.iter().enumerate() {
            let host = lab.host(&format!("origin-{number}"))?;
            let nginx = Nginx::start(lab, &host)?;
            Blob::new(number as u64, *size as usize).write(nginx.root(), "file")?;
            origins.push((host, nginx));
        }
        let mut node = Node::new(lab, &lab.host("a")?, &["transfer.time_slice = \"1s\""])?;
        node.start()?;
        let mut jobs = Jobs {
            control: Control::connect(&node.socket())?,
            node: &node,
            origins: &origins,
            ids: Default::default(),
            begun: Instant::now(),
            seen: Self::default(),
        };
        jobs.make(0)?;
        jobs.watch(|seen| seen.sent(0) > START)?;
        jobs.make(1)?;
        jobs.make(2)?;
        jobs.watch(|seen| seen.sent(1) > START && seen.sent(2) > START)?;
        jobs.make(3)?;
        jobs.watch(|seen| seen.over.iter().all(|over| *over > 0))?;
        Ok(jobs.seen)
    }

    /// What a job had got when a sample was taken.
    pub fn bytes(&self, sample: usize, job: usize) -> u64 {
        self.samples.get(sample).map_or(0, |(_, sent)| sent[job])
    }

    fn sent(&self, job: usize) -> u64 {
        self.samples.last().map_or(0, |(_, sent)| sent[job])
    }
}

struct Jobs<'a> {
    control: Control,
    node: &'a Node,
    origins: &'a [(Host, Nginx)],
    ids: [Option<String>; 4],
    begun: Instant,
    seen: Contest,
}

impl Jobs<'_> {
    fn make(&mut self, job: usize) -> Result<()> {
        self.sample()?;
        self.seen.made[job] = self.seen.samples.len() - 1;
        let (_, nginx) = &self.origins[job];
        let path = self.node.downloads()?.join(job.to_string());
        let made = self.control.post(
            "/v1/jobs",
            &json!({
                "name": CONTESTANTS[job],
                "priority": PRIORITIES[job],
                "start": true,
                "detached": true,
                "files": [{ "url": nginx.url("slow/file"), "path": path }],
            }),
        )?;
        self.ids[job] = Some(made["id"].as_str().context("an id")?.to_owned());
        Ok(())
    }

    fn watch(&mut self, mut reached: impl FnMut(&Contest) -> bool) -> Result<()> {
        let mut last = Instant::now();
        until(Duration::from_secs(120), "the jobs", || {
            if last.elapsed() >= EVERY {
                last = Instant::now();
                self.sample()?;
            }
            Ok(reached(&self.seen).then_some(()))
        })
    }

    fn sample(&mut self) -> Result<()> {
        let mut sent = [0; 4];
        for (sent, (host, _)) in sent.iter_mut().zip(self.origins) {
            *sent = host.counters()?.payload_sent();
        }
        self.seen.samples.push((self.begun.elapsed(), sent));
        for (job, id) in self.ids.iter().enumerate() {
            let Some(id) = id.as_ref().filter(|_| self.seen.over[job] == 0) else {
                continue;
            };
            let shown = self.control.get(&format!("/v1/jobs/{id}"))?;
            anyhow::ensure!(shown["error"] == Value::Null, "{shown}");
            if shown["state"] == "acknowledged" {
                self.seen.over[job] = self.seen.samples.len() - 1;
            }
        }
        Ok(())
    }
}
