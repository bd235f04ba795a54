//! A file has its name only once its bytes are on the disk, seen in what the system is asked.

use std::fs;

use anyhow::{Context, ensure};
use potluck_tests::{Blob, Lab, Nginx, Node, text};

const SIZE: usize = 300_000;
/// What makes bytes and names durable, and what gives names.
const TRACED: &str = "trace=fsync,fdatasync,syncfs,rename,renameat,renameat2,link,linkat";

mod needs_nginx_strace {
    use super::*;

    #[test]
    fn bytes_are_synced_before_they_have_their_name() {
        Lab::run(|lab| {
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            let blob = Blob::new(1, SIZE);
            blob.write(nginx.root(), "file")?;
            let mut node = Node::new(lab, &lab.host("a")?, &[])?;
            let trace = lab.dir().join("trace");
            node.run_under(&[
                "strace",
                "-f",
                "-y",
                "-qq",
                "-o",
                text(&trace)?,
                "-e",
                TRACED,
            ]);
            // No daemon answers: the program does it all itself.
            node.get(&nginx.url("file"), "named")?;
            let file = node.downloaded("named")?;
            blob.check(&file)?;
            let directory = file.parent().context("its directory")?;
            let trace = fs::read_to_string(&trace)?;
            let place = |what: &str, fits: &dyn Fn(&str) -> bool| {
                let mut lines = trace.lines().enumerate();
                let found = lines.find(|(_, line)| fits(line));
                found
                    .map(|(at, _)| at)
                    .with_context(|| format!("{what}: {trace}"))
            };
            let is_sync = |line: &str| line.contains("sync(") || line.contains("syncfs(");
            let (directory, file) = (text(directory)?, text(&file)?);
            let inside = format!("<{directory}/");
            let synced = place("a sync of the bytes", &|line| {
                is_sync(line) && line.contains(&inside)
            })?;
            let named = place("the name", &|line| {
                !is_sync(line) && line.contains(&format!("\"{file}\""))
            })?;
            let mut kept = trace.lines().skip(named);
            ensure!(synced < named, "named before it was synced: {trace}");
            ensure!(
                kept.any(|line| is_sync(line) && line.contains(&format!("<{directory}>"))),
                "the name is not synced: {trace}"
            );
            Ok(())
        });
    }
}
