//! How long it takes from the start of `potluck get` until a small file from a peer is
//! there, with the peer list warm: more than the time to the first verified byte, by
//! the start and end of the program and the placing of the file. Beside it, `curl` for
//! the same file. Run by `tests/bench/run`.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use potluck_tests::{Blob, Lab, Nginx, bytes_of, circle};

const FILES: u64 = 50;
const SIZE: usize = 64 << 10;

fn main() -> Result<()> {
    let lab = Lab::with_namespaces()?;
    let nginx = Nginx::start(&lab, &lab.host("origin")?)?;
    let circle = circle(&lab, &["a", "b"], &["profile = \"lan\""])?;
    let (a, b) = (&circle[0], &circle[1]);
    let (mut curl, mut get, mut nothing) = (Vec::new(), Vec::new(), Vec::new());
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

        let start = Instant::now();
        let job = b.get(&nginx.url(&name), &name)?;
        get.push(start.elapsed());
        ensure!(bytes_of(&job, "bytes_from_peers")? == SIZE as u64, "{job}");

        let start = Instant::now();
        b.ok(&["stats"])?;
        nothing.push(start.elapsed());
    }
    println!("{FILES} files of {} KiB, one after the other\n", SIZE >> 10);
    println!("| command | median | 9 of 10 within |");
    println!("|---|---|---|");
    print("curl over TLS 1.3 from nginx", &mut curl);
    print("potluck get, from a peer, verified and placed", &mut get);
    print("potluck stats: what the program alone takes", &mut nothing);
    Ok(())
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
