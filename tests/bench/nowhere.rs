//! The data path alone: one peer to one peer over an unlimited veth, every piece
//! verified and thrown away, beside `curl` from nginx over TLS 1.3 to nowhere on the
//! same veth. Run by `tests/bench/run`.
//!
//! It starts itself again for each end: the serving one reads a file as the daemon
//! does, the taking one asks for runs of pieces and checks each against the manifest.

use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use potluck_content::{ContentHasher, ContentId, EntityKey, Manifest, PieceIndex};
use potluck_discovery::{DomainOptions, Membership, Revocations, Standing, create_domain};
use potluck_plan::{GovernorConfig, Rate};
use potluck_tests::{Cost, Host, Lab, Nginx, Process, big_file, children_cpu, until};
use potluck_transfer::{
    BufferPool, DomainTrust, PeerAddress, PeerClient, PeerServer, PeerServerConfig, Rates,
    Readable, Shelf, TakenPieces, TrafficCounts, Trust,
};

const GIB: f64 = (1 << 30) as f64;
const ROUNDS: usize = 5;
const PORT: u16 = 7381;
/// One request asks for so many bytes, as the engine's do.
const RUN: u64 = 64 << 20;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("serve") => serve(
            &path(args.next())?,
            &path(args.next())?,
            &args.next().context("an address")?,
        ),
        Some("take") => take(
            &path(args.next())?,
            &path(args.next())?,
            &args.next().context("an address")?,
        ),
        _ => compare(),
    }
}

fn path(word: Option<String>) -> Result<PathBuf> {
    word.map(PathBuf::from).context("a path")
}

fn compare() -> Result<()> {
    let lab = Lab::with_namespaces()?;
    let (a, b) = (lab.host("a")?, lab.host("b")?);
    let nginx = Nginx::start(&lab, &a)?;
    let size = big_file(nginx.root(), "big.bin")?;
    let file = nginx.root().join("big.bin");
    let domain = lab.subdir("domain")?;
    create_domain(&domain, &DomainOptions::new("bench".parse()?))?;
    let place = SocketAddr::new(a.address(), PORT).to_string();

    let own = std::env::current_exe()?;
    let mut server = a.command(&own);
    server.arg("serve").arg(&domain).arg(&file).arg(&place);
    let server = Process::start(server, &lab.dir().join("serve.log"))?;
    until(Duration::from_secs(60), "the serving end", || {
        Ok(server.output().contains("ready").then_some(()))
    })?;

    let mut rows: [(&str, Vec<(f64, f64)>); 2] = [
        ("curl, nginx, TLS 1.3", Vec::new()),
        ("potluck, mutual TLS 1.3, verified", Vec::new()),
    ];
    for _ in 0..ROUNDS {
        let url = nginx.https_url("big.bin");
        let curl = |b: &Host| {
            let mut command = b.command("curl");
            command
                .args(["-sf", "--tlsv1.3", "-o", "/dev/null", "--cacert"])
                .arg(nginx.ca())
                .arg(&url);
            command
        };
        rows[0].1.push(measure(curl(&b), nginx.pid())?);
        let mut taker = b.command(&own);
        taker.arg("take").arg(&domain).arg(&file).arg(&place);
        rows[1].1.push(measure(taker, server.pid())?);
    }

    println!(
        "{} MiB to nowhere, {ROUNDS} rounds, median; processor seconds of both ends\n",
        size >> 20
    );
    println!("| way | GiB/s | cpu s/GiB |");
    println!("|---|---|---|");
    let gib = size as f64 / GIB;
    let mut medians = Vec::new();
    for (name, runs) in &rows {
        let wall = median(runs.iter().map(|run| run.0));
        let cpu = median(runs.iter().map(|run| run.1));
        println!("| {name} | {:.2} | {:.2} |", gib / wall, cpu / gib);
        medians.push((wall, cpu));
    }
    println!(
        "\nthroughput {:.2} of curl's, processor {:.2} times curl's",
        medians[0].0 / medians[1].0,
        medians[1].1 / medians[0].1
    );
    Ok(())
}

/// Seconds that the command took, and processor seconds of it and of the server. The
/// taking end prints its own time, without reading the manifest.
fn measure(mut command: std::process::Command, server: u32) -> Result<(f64, f64)> {
    let before = (Cost::of(server)?, children_cpu()?);
    let start = Instant::now();
    let output = command.output()?;
    let mut wall = start.elapsed().as_secs_f64();
    ensure!(output.status.success(), "{output:?}");
    let mut cpu = (children_cpu()?.saturating_sub(before.1)).as_secs_f64();
    if let Some((inner_wall, inner_cpu)) = String::from_utf8(output.stdout)?.trim().split_once(' ')
    {
        (wall, cpu) = (inner_wall.parse()?, inner_cpu.parse()?);
    }
    Ok((
        wall,
        cpu + Cost::of(server)?.since(before.0).cpu.as_secs_f64(),
    ))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn trust(domain: &Path) -> Result<(Arc<dyn Trust>, Membership)> {
    let membership = Membership::load(domain)?.context("a membership")?;
    let standing = Standing::new(&membership, Revocations::in_memory(&membership))?;
    Ok((
        Arc::new(DomainTrust::noting(standing, |rejected| {
            eprintln!("{rejected:?}")
        })),
        membership,
    ))
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?)
}

struct OneFile(ContentId, Arc<Bytes>);

struct Bytes(std::fs::File, u64);

impl Shelf for OneFile {
    fn take(&self, content: &ContentId) -> Option<Arc<dyn Readable>> {
        (*content == self.0).then(|| self.1.clone() as Arc<dyn Readable>)
    }

    fn take_pieces(&self, _: &EntityKey, _: std::ops::Range<u32>) -> Option<TakenPieces> {
        None
    }
}

impl Readable for Bytes {
    fn size(&self) -> u64 {
        self.1
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
}

fn manifest(file: &Path) -> Result<Manifest> {
    let mut file = std::fs::File::open(file)?;
    let mut hasher = ContentHasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&buffer[..read])?;
    }
}

fn serve(domain: &Path, file: &Path, place: &str) -> Result<()> {
    let manifest = manifest(file)?;
    let shelf = OneFile(
        manifest.id(),
        Arc::new(Bytes(std::fs::File::open(file)?, manifest.size())),
    );
    let (trust, _) = trust(domain)?;
    runtime()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(place).await?;
        let config = GovernorConfig {
            served: Rate::Unlimited,
            ..GovernorConfig::default()
        };
        let _server = PeerServer::start(
            PeerServerConfig::default(),
            listener,
            trust,
            Arc::new(shelf),
            Rates::new(config),
            TrafficCounts::default(),
        )?;
        println!("ready");
        // Until the lab ends this process.
        std::future::pending::<Result<()>>().await
    })
}

fn take(domain: &Path, file: &Path, place: &str) -> Result<()> {
    let manifest = manifest(file)?;
    let (trust, membership) = trust(domain)?;
    let peer = PeerAddress {
        id: membership.peer_id(),
        address: place.parse()?,
    };
    let runtime = runtime()?;
    let (start, before) = (Instant::now(), Cost::of(std::process::id())?);
    runtime.block_on(runtime.spawn(async move {
        let client = PeerClient::new(trust, TrafficCounts::default());
        let layout = *manifest.layout();
        let pool = BufferPool::new(4);
        let mut index = 0;
        while index < layout.pieces() {
            let from = layout.span(PieceIndex(index)).start;
            let to = (from + RUN).min(manifest.size());
            let mut body = client
                .get(peer, &manifest.id(), manifest.size(), from..to)
                .await?;
            while body.remaining() > 0 {
                let mut buffer = pool.get(layout.len_of(PieceIndex(index)));
                let mut filled = 0;
                while filled < buffer.bytes_mut().len() {
                    let read = body.read(&mut buffer.bytes_mut()[filled..]).await?;
                    ensure!(read > 0, "it ended early");
                    filled += read;
                }
                manifest.verify(PieceIndex(index), buffer.freeze())?;
                index += 1;
            }
        }
        Ok(())
    }))??;
    let cpu = Cost::of(std::process::id())?.since(before).cpu;
    println!("{} {}", start.elapsed().as_secs_f64(), cpu.as_secs_f64());
    Ok(())
}
