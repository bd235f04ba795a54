//! `potluck demo`: an origin and four nodes on this machine share a real file.
//!
//! Nothing in it is made up: the nodes are those of the daemon, each with a data
//! directory, ports and a certificate of its own, in a domain that is made and joined
//! as anywhere. Only the origin's uplink is slowed down, so that there is something
//! to see. Everything lives in one temporary directory and ends with the command.

mod origin;
mod picture;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use potluck_content::ContentId;
use potluck_discovery::{DomainOptions, InviteOptions, JoinOptions, Name};
use potluck_plan::{JobState, Priority};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Settings, Sources};
use crate::jobs::{Caller, JobDocument, JobQuery, JobWatch, NewFile, NewJob};
use crate::node::Node;
use crate::peering::join_address;
use origin::Origin;
use picture::{Picture, Share, mib};

/// The file: 64 MiB of random bytes.
const SIZE: usize = 64 << 20;
/// The origin's uplink in bytes a second: about 200 Mbit/s.
const UPLINK: u64 = 24 << 20;
/// The nodes.
const NAMES: [&str; 4] = ["north", "east", "south", "west"];
/// How often the picture is drawn: on a terminal, and as lines.
const FRAME: Duration = Duration::from_millis(60);
const SLOW_FRAME: Duration = Duration::from_millis(500);
/// How long the nodes may take to find each other, and a file to come.
const FIND_LIMIT: Duration = Duration::from_secs(10);
const FETCH_LIMIT: Duration = Duration::from_secs(60);

/// A running node of the demo.
struct Guest {
    name: &'static str,
    node: Node,
    file: PathBuf,
}

/// Runs the demo. With `json` the result is one JSON document instead of a picture.
///
/// # Errors
/// When something that should work does not, and on Ctrl-C.
pub async fn run(json: bool) -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("potluck-demo-").tempdir()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut guests = Vec::new();
    let shown = tokio::select! {
        shown = Box::pin(show(dir.path(), &mut guests, json)) => shown,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
        _ = hang_up.recv() => Err(anyhow::anyhow!("the terminal is gone")),
    };
    for guest in guests {
        guest.node.stop().await;
    }
    let kept = dir.path().to_owned();
    dir.close()
        .with_context(|| format!("cannot remove {}", kept.display()))?;
    shown
}

async fn show(dir: &Path, guests: &mut Vec<Guest>, json: bool) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut picture = (!json).then(Picture::new);
    let say = |picture: &mut Option<Picture>, text: &str| match picture {
        Some(picture) => picture.say(text),
        None => Ok(()),
    };
    let content = random_bytes().await?;
    let id = ContentId::of(&content);
    let origin = Origin::start(content, UPLINK).await?;
    say(
        &mut picture,
        &format!(
            "One origin, four nodes of one domain, one file of {:.0} MiB ({}…)",
            mib(SIZE as u64),
            &id.to_string()[..11]
        ),
    )?;
    invite_guests(dir, guests).await?;
    meet(guests).await?;

    say(
        &mut picture,
        "\nAll want it at the same moment. Each asks the origin (o) for the pieces that it has\n\
         the claim on, and the others (p) for the rest:",
    )?;
    fetch(guests, &origin, picture.as_mut()).await?;

    let mut shares = Vec::new();
    for guest in guests.iter() {
        let file = guest.file.clone();
        let found = tokio::task::spawn_blocking(move || std::fs::read(file)).await??;
        if ContentId::of(&found) != id {
            bail!("the file of {} is not the origin's", guest.name);
        }
        shares.push(last_share(guest).await?);
    }
    let sent = origin.sent();
    #[expect(clippy::cast_precision_loss, reason = "shown with two decimals")]
    let copies = sent as f64 / SIZE as f64;
    let seconds = began.elapsed().as_secs_f64();
    if json {
        let nodes: Vec<_> = shares
            .iter()
            .map(|share| {
                json!({
                    "name": share.name,
                    "bytes_total": share.size,
                    "bytes_from_origin": share.from_origin,
                    "bytes_from_peers": share.from_peers,
                    "swarm": share.swarm,
                })
            })
            .collect();
        let document = json!({
            "content_id": id.to_string(),
            "nodes": nodes,
            "origin_bytes_sent": sent,
            "origin_requests": origin.requests(),
            "origin_copies": copies,
            "seconds": seconds,
        });
        println!("{}", serde_json::to_string_pretty(&document)?);
    } else {
        println!(
            "\nEvery file matches its BLAKE3 hash; it took {seconds:.1} s.\n\
             4 nodes got {:.0} MiB each, and the origin sent {copies:.2} copies.",
            mib(SIZE as u64)
        );
    }
    Ok(())
}

async fn random_bytes() -> anyhow::Result<Bytes> {
    let filled = tokio::task::spawn_blocking(|| {
        let mut bytes = vec![0; SIZE];
        getrandom::fill(&mut bytes).map(|()| Bytes::from(bytes))
    });
    filled.await?.context("the system gave no random bytes")
}

/// Starts four nodes: the first makes a domain, the others join it.
async fn invite_guests(dir: &Path, guests: &mut Vec<Guest>) -> anyhow::Result<()> {
    let beacon = free_ports(1)?;
    let mut code = None;
    for name in NAMES {
        let settings = settings(&dir.join(name), name, beacon)?;
        let data_dir = settings.data_dir.clone();
        let node_name: Name = name.parse()?;
        match &code {
            None => {
                let listen = join_address(settings.peering.listen);
                code = Some(
                    tokio::task::spawn_blocking(move || found(&data_dir, node_name, listen))
                        .await??,
                );
            }
            Some(code) => {
                let options = JoinOptions::new(node_name);
                Box::pin(potluck_discovery::join(&data_dir, code, &options))
                    .await
                    .with_context(|| format!("{name} cannot join"))?;
            }
        }
        let file = dir.join(name).join("image.bin");
        let node = Box::pin(Node::start(settings))
            .await
            .with_context(|| format!("{name} does not start"))?;
        guests.push(Guest { name, node, file });
    }
    Ok(())
}

/// Makes the domain and an invitation for the others.
fn found(
    data_dir: &Path,
    node_name: Name,
    listen: SocketAddr,
) -> anyhow::Result<potluck_discovery::JoinCode> {
    let options = DomainOptions {
        node_name,
        ..DomainOptions::new("demo".parse()?)
    };
    potluck_discovery::create_domain(data_dir, &options)?;
    let options = InviteOptions {
        uses: u32::try_from(NAMES.len())?,
        addresses: vec![listen],
        ..InviteOptions::default()
    };
    Ok(potluck_discovery::invite(data_dir, &options)?)
}

/// What a node of the demo is told: the profile for a fast LAN, on loopback, with no
/// regard to how this machine is configured.
fn settings(dir: &Path, name: &str, beacon: u16) -> anyhow::Result<Settings> {
    std::fs::create_dir_all(dir)?;
    let nothing = dir.join("empty.toml");
    std::fs::write(&nothing, "")?;
    let nothing = nothing.display().to_string();
    let text = |path: PathBuf| path.display().to_string();
    let values = [
        ("profile", "lan".to_owned()),
        ("data_dir", text(dir.join("data"))),
        ("control.socket", text(dir.join("socket"))),
        (
            "peering.listen",
            format!("{}:{}", Ipv4Addr::LOCALHOST, free_ports(3)?),
        ),
        ("peering.beacon", format!("239.255.73.81:{beacon}")),
        ("peering.node_name", name.to_owned()),
    ];
    let flags = values
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value, key.to_owned()));
    let sources = Sources {
        file: Some(PathBuf::from(&nothing)),
        flags: flags.collect(),
        environment: BTreeMap::from([("POTLUCK_POLICY".to_owned(), nothing)]),
        root: false,
    };
    Ok(sources.load()?.settings)
}

/// The first of some neighbouring ports that are free now.
fn free_ports(count: u16) -> anyhow::Result<u16> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    for _ in 0..100 {
        let first = bind(0)?.local_addr()?.port();
        let Some(last) = first.checked_add(count) else {
            continue;
        };
        // All at once, so that they are free together.
        let held: std::io::Result<Vec<_>> = (first..last).map(bind).collect();
        if held.is_ok() {
            return Ok(first);
        }
    }
    bail!(
        "no {count} neighbouring ports are free on {}",
        Ipv4Addr::LOCALHOST
    )
}

/// Waits until everybody knows everybody.
async fn meet(guests: &[Guest]) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let met = guests.iter().all(|guest| {
            let discovery = guest.node.state().peering.discovery();
            discovery.is_some_and(|discovery| discovery.peers().len() == guests.len() - 1)
        });
        if met {
            return Ok(());
        }
        if began.elapsed() > FIND_LIMIT {
            bail!("the nodes do not find each other on the loopback interface");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Lets all nodes get the file at the same time, and draws how it comes.
async fn fetch(
    guests: &[Guest],
    origin: &Origin,
    mut picture: Option<&mut Picture>,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let begun = guests.iter().map(|guest| begin(guest, origin));
    let watches: Vec<JobWatch> = futures::future::try_join_all(begun).await?;
    let frame = match &picture {
        Some(picture) if !picture.is_live() => SLOW_FRAME,
        _ => FRAME,
    };
    loop {
        let documents: Vec<_> = watches.iter().map(|watch| watch.borrow().clone()).collect();
        let shares: Vec<Share> = guests
            .iter()
            .zip(&documents)
            .map(|(guest, job)| share(guest, job))
            .collect();
        let over = shares.iter().all(|share| share.done);
        if let Some(picture) = &mut picture {
            picture.draw(&shares)?;
        }
        if over {
            return Ok(());
        }
        if let Some(failed) = documents.iter().find(|job| job.state == JobState::Error) {
            let why = failed
                .error
                .as_ref()
                .map_or("no reason", |error| &error.message);
            bail!("a download failed: {why}");
        }
        if began.elapsed() > FETCH_LIMIT {
            bail!("a download takes too long");
        }
        tokio::time::sleep(frame).await;
    }
}

async fn begin(guest: &Guest, origin: &Origin) -> anyhow::Result<JobWatch> {
    let by = Caller {
        uid: rustix::process::geteuid().as_raw(),
    };
    let job = NewJob {
        name: "demo".to_owned(),
        priority: Priority::Foreground,
        use_peers: Some(true),
        files: vec![NewFile {
            url: origin.url(),
            path: guest.file.clone(),
            ..NewFile::default()
        }],
        start: true,
        detached: true,
        ..NewJob::default()
    };
    let jobs = &guest.node.state().jobs;
    let job = jobs.create(by, job).await?;
    Ok(jobs.watch(by, job.id.clone()).await?)
}

async fn last_share(guest: &Guest) -> anyhow::Result<Share> {
    let by = Caller {
        uid: rustix::process::geteuid().as_raw(),
    };
    let jobs = guest
        .node
        .state()
        .jobs
        .list(by, JobQuery::everything())
        .await?;
    let job = jobs.jobs.first().context("the job is gone")?;
    Ok(share(guest, job))
}

fn share(guest: &Guest, job: &JobDocument) -> Share {
    Share {
        name: guest.name.to_owned(),
        size: SIZE as u64,
        from_origin: job.accounting.origin,
        from_peers: job.accounting.peers,
        swarm: job.swarm.unwrap_or_default(),
        done: job.state == JobState::Acknowledged,
    }
}
