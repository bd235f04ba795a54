//! How long it takes from the start of `potluck get` until the first piece from a peer
//! is verified, and until a small file is there, with the peer list warm. Beside it,
//! `curl` for the same file. When the piece is there the daemon's own log says: run by
//! `tests/bench/run`, which makes it say so.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use potluck_tests::{Blob, Lab, Nginx, bytes_of, circle};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const FILES: u64 = 50;
const SIZE: usize = 64 << 10;
/// What the engine logs, at level debug.
const FIRST: &str = "the first piece is verified and held";

fn main() -> Result<()> {
    let lab = Lab::with_namespaces()?;
    let nginx = Nginx::start(&lab, &lab.host("origin")?)?;
    let mut circle = circle(&lab, &["a", "b"], &["profile = \"lan\""])?;
    let (mut curl, mut get, mut nothing) = (Vec::new(), Vec::new(), Vec::new());
    let mut first = Vec::new();
    let log = circle[1].daemon()?.log().to_owned();
    let (a, b) = (&circle[0], &circle[1]);
    for number in 0..FILES {
        let name = format!("{number}.bin");
        Blob::new(number, SIZE).write(nginx.root(), &name)?;
        a.get(&nginx.url(&name), &name)?;

        let start = Instant::now();
        let mut command = b.host().command("curl");
        command
            .args(["-sf", "-o", "/dev/null", "--cacert"])
            .arg(nginx.ca());
        ensure!(command.arg(nginx.https_url(&name)).status()?.success());
        curl.push(start.elapsed());

        let began = SystemTime::now();
        let start = Instant::now();
        let job = b.get(&nginx.url(&name), &name)?;
        get.push(start.elapsed());
        first.push(first_piece(&log)?.duration_since(began)?);
        ensure!(bytes_of(&job, "bytes_from_peers")? == SIZE as u64, "{job}");

        let start = Instant::now();
        b.ok(&["stats"])?;
        nothing.push(start.elapsed());
    }
    println!("{FILES} files of {} KiB, one after the other\n", SIZE >> 10);
    println!("| command | median | 9 of 10 within |");
    println!("|---|---|---|");
    print("curl over TLS 1.3 from nginx", &mut curl);
    print(
        "potluck get, until the first piece from a peer is verified",
        &mut first,
    );
    print("potluck get, until the file is in its place", &mut get);
    print("potluck stats: what the program alone takes", &mut nothing);
    Ok(())
}

/// When the last first piece was there.
fn first_piece(log: &Path) -> Result<SystemTime> {
    let log = std::fs::read_to_string(log)?;
    let line = log.lines().rfind(|line| line.contains(FIRST));
    let line = line.with_context(|| format!("the daemon does not log {FIRST:?}"))?;
    let time = line.split_whitespace().next().unwrap_or_default();
    let time = OffsetDateTime::parse(time, &Rfc3339).with_context(|| line.to_owned())?;
    Ok(time.into())
}

fn print(name: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "| {name} | {:.1} ms | {:.1} ms |",
        ms(times[times.len() / 2]),
        ms(times[times.len() * 9 / 10])
    );
}
