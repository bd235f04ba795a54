//! Servers of one name that do not agree.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use potluck_tests::{Blob, Lab, Node, ScriptedOrigin, Then, bytes_of};

use crate::answer::honest_of;
use crate::{PATIENCE, SIZE, until_why};

#[test]
fn servers_of_one_name_whose_tags_differ() {
    Lab::run(|lab| {
        for (turn, size) in [20_000, SIZE].into_iter().enumerate() {
            let blob = Blob::new(1, size);
            let content = blob.bytes().to_vec();
            let (open, calls) = (Arc::new(AtomicBool::new(false)), AtomicU32::new(0));
            let gate = Arc::clone(&open);
            let host = lab.host(&format!("origin{turn}"))?;
            let origin = ScriptedOrigin::start(&host, move |asked, out| {
                let is_whole = asked.method == "GET" && asked.range().is_none();
                while is_whole && !gate.load(Ordering::SeqCst) {
                    std::thread::park_timeout(Duration::from_millis(10));
                }
                let tag = calls.fetch_add(1, Ordering::SeqCst) % 2;
                honest_of(asked, &content, &format!("of-{tag}"), out)?;
                Ok(Then::Close)
            })?;
            let mut node = Node::new(lab, &lab.host(&format!("a{turn}"))?, &PATIENCE)?;
            node.start()?;
            let job = node.get_with(&origin.url("file"), "file.bin", &["--detach"])?;
            let id = job["id"].as_str().context("an id")?;
            until_why(&node, id, "do not agree on one version")?;
            open.store(true, Ordering::SeqCst);
            let done = node.await_job(id, &["acknowledged"], Duration::from_secs(20))?;
            blob.check(&node.downloaded("file.bin")?)?;
            let troubles = serde_json::json!(["changed", "inconsistent"]);
            ensure!(done["files"][0]["troubles"] == troubles, "{done}");
            let stats = node.json(&["stats"])?;
            for name in ["bytes_from_origin", "bytes_discarded"] {
                ensure!(bytes_of(&stats, name)? == bytes_of(&done, name)?, "{stats}");
            }
            ensure!(
                bytes_of(&stats, "bytes_from_origin")? == size as u64,
                "{stats}"
            );
        }
        Ok(())
    });
}
