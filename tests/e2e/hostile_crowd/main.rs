//! A crowd with a liar among it: everybody has the right file, and what it cost the
//! origin is counted.

mod swarm_liar;

use anyhow::{Context, Result, ensure};
use potluck_tests::{Blob, Host, Lab, Nginx, Node, bytes_of, start_circle};
use serde_json::Value;
use swarm_liar::{Lie, SwarmLiar};

const SIZE: usize = 8 << 20;
const HONEST: [&str; 5] = ["ann", "ben", "cyd", "dan", "eve"];

mod needs_nginx {
    use super::*;

    #[test]
    fn who_signs_wrong_hashes_is_found_out_by_the_digest() {
        Lab::run(|lab| {
            let mut scene = Scene::new(lab, Lie::WrongSigner)?;
            let jobs = scene.get_all(true)?;
            ensure!(scene.liar.given() > 0, "it was not even asked");
            // Nobody fetches more than it would have alone.
            let sent = scene.copies()?;
            ensure!(sent <= 5.2, "{sent} copies: {jobs:?}");
            scene.somebody_rejects_the_liar()
        });
    }

    #[test]
    fn who_gives_other_bytes_than_were_signed_is_off_the_list() {
        Lab::run(|lab| {
            let mut scene = Scene::new(lab, Lie::WrongServer)?;
            let jobs = scene.get_all(false)?;
            ensure!(scene.liar.given() > 0, "it was not even asked");
            let sent = scene.copies()?;
            ensure!(sent <= 2.0, "{sent} copies: {jobs:?}");
            scene.somebody_rejects_the_liar()
        });
    }
}

struct Scene {
    honest: Vec<Node>,
    liar: SwarmLiar,
    blob: Blob,
    nginx: Nginx,
}

impl Scene {
    fn new(lab: &Lab, lie: Lie) -> Result<Self> {
        let nginx = Nginx::start(lab, &lab.host("origin")?)?;
        let blob = Blob::new(1, SIZE);
        blob.write(nginx.root(), "file.bin")?;
        let hosts = HONEST.map(|name| lab.host(name));
        let hosts: Vec<Host> = hosts.into_iter().collect::<Result<_>>()?;
        let settings = ["profile = \"lan\""];
        let nodes = hosts.iter().map(|host| Node::new(lab, host, &settings));
        let mut honest = nodes.collect::<Result<Vec<_>>>()?;
        start_circle(lab, &mut honest)?;
        let others: Vec<&Host> = hosts.iter().collect();
        let mut node = Node::new(lab, &lab.host("liar")?, &settings)?;
        node.knows(lab, &others)?;
        node.start()?;
        node.join(&honest[0].invite()?)?;
        node.stop()?;
        let liar = SwarmLiar::start(&node, &others, &blob, lie)?;
        for node in &honest {
            node.await_peers(HONEST.len())?;
        }
        Ok(Self {
            honest,
            liar,
            blob,
            nginx,
        })
    }

    /// All of the honest get the file at once; it is right everywhere, and adds up.
    fn get_all(&mut self, with_digest: bool) -> Result<Vec<Value>> {
        let url = self.nginx.url("file.bin");
        let checksum = format!("b3:{}", blake3::hash(self.blob.bytes()).to_hex());
        let options: &[&str] = if with_digest {
            &["--checksum", &checksum]
        } else {
            &[]
        };
        let jobs: Vec<Result<Value>> = std::thread::scope(|scope| {
            let getting = self.honest.iter().map(|node| {
                let url = &url;
                scope.spawn(move || node.get_with(url, "file.bin", options))
            });
            let getting: Vec<_> = getting.collect();
            let all = getting.into_iter().map(|it| it.join());
            all.map(|it| it.unwrap_or_else(|_| Err(anyhow::anyhow!("it panicked"))))
                .collect()
        });
        let jobs = jobs.into_iter().collect::<Result<Vec<_>>>()?;
        for (node, job) in self.honest.iter().zip(&jobs) {
            self.blob.check(&node.downloaded("file.bin")?)?;
            let sum = bytes_of(job, "bytes_from_peers")? + bytes_of(job, "bytes_from_origin")?;
            ensure!(sum == SIZE as u64, "{job}");
        }
        Ok(jobs)
    }

    fn copies(&self) -> Result<f64> {
        let copies = self.nginx.body_bytes_since(0)? as f64 / SIZE as f64;
        println!("{copies:.2} copies");
        Ok(copies)
    }

    fn somebody_rejects_the_liar(&self) -> Result<()> {
        let id = self.liar.id();
        let mut rejected = Vec::new();
        for node in &self.honest {
            let list = node.json(&["peers", "--rejected"])?;
            let entries = list.as_array().cloned().unwrap_or_default();
            rejected.extend(entries);
        }
        let of_liar = rejected.iter().find(|entry| entry["id"] == id);
        let of_liar = of_liar.context("nobody rejects the liar")?;
        println!("rejected: {of_liar}");
        // And nobody else.
        ensure!(
            rejected.iter().all(|entry| entry["id"] == id),
            "{rejected:?}"
        );
        Ok(())
    }
}
