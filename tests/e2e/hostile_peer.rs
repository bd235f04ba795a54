//! A member that lies: the file is right, the liar is off the list, and what it cost
//! is counted.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use potluck_tests::{Blob, Lab, Liar, Lie, Nginx, Node, bytes_of, poll, start_circle, until};
use serde_json::Value;

const SIZE: usize = 8 << 20;
// The origin waits for the peers: whoever lies must be asked, also on a busy machine.
const SETTINGS: [&str; 2] = ["profile = \"lan\"", "peering.origin_delay = \"20s\""];

mod needs_nginx {
    use super::*;

    #[test]
    fn wrong_bytes_from_the_only_peer() {
        Lab::run(|lab| {
            let scene = Scene::new(lab, Lie::WrongBytes)?;
            let job = scene.get(&[])?;
            ensure!(scene.liar.sent() > 0, "it was not even asked: {job}");
            ensure!(bytes_of(&job, "bytes_discarded")? > 0, "{job}");
            ensure!(bytes_of(&job, "bytes_from_origin")? > 0, "{job}");
            scene.liar_is_off_the_list()
        });
    }

    #[test]
    fn wrong_bytes_beside_an_honest_peer() {
        Lab::run(|lab| {
            let scene = Scene::new(lab, Lie::WrongBytes)?;
            scene.honest.get(&scene.url, "file.bin")?;
            let job = scene.get(&[])?;
            ensure!(bytes_of(&job, "bytes_from_peers")? > 0, "{job}");
            if scene.liar.sent() > 0 {
                ensure!(bytes_of(&job, "bytes_discarded")? > 0, "{job}");
                scene.liar_is_off_the_list()?;
            }
            Ok(())
        });
    }

    #[test]
    fn a_peer_that_breaks_off() {
        Lab::run(|lab| {
            let scene = Scene::new(lab, Lie::BreaksOff)?;
            scene.get(&[]).map(drop)
        });
    }

    #[test]
    fn a_peer_that_never_answers() {
        Lab::run(|lab| {
            let scene = Scene::new(lab, Lie::Silent)?;
            let start = Instant::now();
            let job = scene.get(&["--priority", "foreground"])?;
            ensure!(bytes_of(&job, "bytes_from_origin")? == SIZE as u64, "{job}");
            ensure!(
                start.elapsed() < Duration::from_secs(30),
                "{:?}",
                start.elapsed()
            );
            Ok(())
        });
    }

    #[test]
    fn a_data_port_with_other_papers() {
        Lab::run(|lab| {
            let scene = Scene::new(lab, Lie::OtherPapers)?;
            let job = scene.get(&[])?;
            ensure!(bytes_of(&job, "bytes_from_origin")? == SIZE as u64, "{job}");
            ensure!(scene.liar.sent() == 0);
            scene.liar_is_off_the_list()
        });
    }
}

struct Scene {
    honest: Node,
    taker: Node,
    liar: Liar,
    url: String,
    blob: Blob,
    _nginx: Nginx,
}

impl Scene {
    /// An origin with a file, two honest members that do not have it, and a liar that
    /// says so.
    fn new(lab: &Lab, lie: Lie) -> Result<Self> {
        let nginx = Nginx::start(lab, &lab.host("origin")?)?;
        let blob = Blob::new(1, SIZE);
        blob.write(nginx.root(), "file.bin")?;
        let url = nginx.url("file.bin");
        let (a, b, c) = (lab.host("honest")?, lab.host("taker")?, lab.host("liar")?);
        let mut circle = vec![
            Node::new(lab, &a, &SETTINGS)?,
            Node::new(lab, &b, &SETTINGS)?,
        ];
        start_circle(lab, &mut circle)?;
        let mut node = Node::new(lab, &c, &SETTINGS)?;
        node.knows(lab, &[&a, &b])?;
        node.start()?;
        node.join(&circle[0].invite()?)?;
        node.stop()?;
        let liar = Liar::start(&node, &[&a, &b], &blob, lie)?;
        for node in &circle {
            node.await_peers(2)?;
        }
        let taker = circle.remove(1);
        let honest = circle.remove(0);
        Ok(Self {
            honest,
            taker,
            liar,
            url,
            blob,
            _nginx: nginx,
        })
    }

    /// The taker gets the file, which must be right and add up.
    fn get(&self, options: &[&str]) -> Result<Value> {
        let job = self.taker.get_with(&self.url, "file.bin", options)?;
        self.blob.check(&self.taker.downloaded("file.bin")?)?;
        let sum = bytes_of(&job, "bytes_from_peers")? + bytes_of(&job, "bytes_from_origin")?;
        ensure!(sum == SIZE as u64, "{job}");
        Ok(job)
    }

    fn liar_is_off_the_list(&self) -> Result<()> {
        let is_here = |list: Value| {
            let entries = list.as_array().cloned().unwrap_or_default();
            entries
                .into_iter()
                .find(|entry| entry["id"] == self.liar.id())
        };
        poll(
            Duration::from_secs(5),
            "the liar to be off the list",
            || Ok(is_here(self.taker.json(&["peers"])?).is_none()),
        )?;
        let entry = until(
            Duration::from_secs(5),
            "the liar among the rejected",
            || Ok(is_here(self.taker.json(&["peers", "--rejected"])?)),
        )?;
        ensure!(
            entry["reason"]
                .as_str()
                .is_some_and(|reason| !reason.is_empty()),
            "{entry}"
        );
        println!("rejected: {entry}");
        Ok(())
    }
}
