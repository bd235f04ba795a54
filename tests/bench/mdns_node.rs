//! A node that finds others by libp2p's own mDNS, with its defaults, and does nothing
//! else. It prints when it found the first one and when it found all.

use std::collections::BTreeSet;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use futures::StreamExt as _;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::swarm::SwarmEvent;
use libp2p::{PeerId, Swarm, Transport as _, identity};
use libp2p_mdns::{Config, Event, tokio::Behaviour};

/// Runs until it is killed. Finds `others` nodes.
pub(crate) fn run(others: usize) -> Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(find(others))
}

async fn find(others: usize) -> Result<()> {
    let me = PeerId::from(identity::Keypair::generate_ed25519().public());
    // What it announces is where it listens; nobody connects.
    let tcp = libp2p_tcp::tokio::Transport::default();
    let transport = tcp.and_then(|_, _| async {
        Err::<(PeerId, StreamMuxerBox), _>(io::Error::other("nobody is to connect"))
    });
    let mdns = Behaviour::new(Config::default(), me)?;
    let config = libp2p::swarm::Config::with_tokio_executor();
    let mut swarm = Swarm::new(transport.boxed(), mdns, me, config);
    swarm.listen_on("/ip4/0.0.0.0/tcp/7382".parse().context("an address")?)?;
    let mut found = BTreeSet::new();
    while let Some(event) = swarm.next().await {
        let SwarmEvent::Behaviour(Event::Discovered(peers)) = event else {
            continue;
        };
        if found.is_empty() {
            print("first")?;
        }
        let before = found.len();
        found.extend(peers.into_iter().map(|(peer, _)| peer));
        if before < others && found.len() >= others {
            print("all")?;
        }
    }
    Ok(())
}

fn print(what: &str) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    println!("{what} {}", now.as_micros());
    Ok(())
}
