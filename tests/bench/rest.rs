//! What a daemon costs while nothing happens, in a domain of four. Run by
//! `tests/bench/run`.

use std::time::{Duration, Instant};

use anyhow::Result;
use potluck_tests::{Blob, Cost, Lab, Nginx, circle, until};

const TIME: Duration = Duration::from_secs(30);

fn main() -> Result<()> {
    let lab = Lab::with_namespaces()?;
    let nginx = Nginx::start(&lab, &lab.host("origin")?)?;
    Blob::new(1, 24 << 20).write(nginx.root(), "file.bin")?;
    let mut circle = circle(&lab, &["a", "b", "c", "d"], &["profile = \"lan\""])?;
    let fresh = costs(&mut circle)?;
    print("fresh, four in a domain", &fresh.0, &fresh.1);
    for node in &circle {
        node.get(&nginx.url("file.bin"), "file.bin")?;
    }
    let worked = costs(&mut circle)?;
    print("after each got 24 MiB", &worked.0, &worked.1);
    Ok(())
}

type Pair = (Vec<Cost>, Vec<Cost>);

fn costs(circle: &mut [potluck_tests::Node]) -> Result<Pair> {
    let mut take = || -> Result<Vec<Cost>> {
        circle
            .iter_mut()
            .map(|node| Cost::of(node.daemon()?.pid()))
            .collect()
    };
    let before = take()?;
    let start = Instant::now();
    until(TIME * 2, "the end of the rest", || {
        Ok((start.elapsed() >= TIME).then_some(()))
    })?;
    Ok((before, take()?))
}

fn print(what: &str, before: &[Cost], after: &[Cost]) {
    println!("\n{what}, {} s\n", TIME.as_secs());
    println!("| node | resident MiB | wake-ups/s | cpu ms |");
    println!("|---|---|---|---|");
    for (number, (before, after)) in before.iter().zip(after).enumerate() {
        let spent = after.since(*before);
        println!(
            "| {number} | {:.1} | {:.1} | {} |",
            spent.resident as f64 / f64::from(1 << 20),
            spent.wakeups as f64 / TIME.as_secs_f64(),
            spent.cpu.as_millis()
        );
    }
}
