//! What a newcomer runs first.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use potluck_tests::{Lab, Node};

#[test]
fn alone_it_works_without_set_up_and_says_how_many_copies_the_origin_sent() {
    Lab::run(|lab| {
        let node = Node::new(lab, &lab.host("a")?, &[])?;
        let temporary = lab.subdir("tmp")?;
        let start = Instant::now();
        let output = node.command(&["demo"]).env("TMPDIR", &temporary).output()?;
        let took = start.elapsed();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{output:?}");
        let last = said.lines().last().unwrap_or_default();
        ensure!(
            last.contains("origin") && last.contains("cop"),
            "the last line is {last:?}"
        );
        // Each byte once, and one in a hundred again to see whether the others tell the truth.
        let copies = last.split_whitespace().rev().nth(1).unwrap_or_default();
        let copies: f64 = copies.parse().with_context(|| last.to_owned())?;
        ensure!((1.0..=1.05).contains(&copies), "{said}");
        // The build that tests use is not the fast one.
        ensure!(took < Duration::from_secs(30), "{took:?}");
        ensure!(
            std::fs::read_dir(&temporary)?.next().is_none(),
            "left behind in {temporary:?}"
        );
        ensure!(
            !node.data_dir().exists(),
            "the user's own data directory was touched"
        );
        Ok(())
    });
}
