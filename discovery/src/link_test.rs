//! Whether multicast works on this machine's links, tried out: what goes out to the
//! beacon's group must come back, because every socket that joined the group on this
//! machine gets a copy. A firewall here that drops what goes out or what comes in
//! drops the copy as well. What happens between the machines shows only when another
//! one is heard.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::Config;
use crate::beacon_socket::{BeaconSocket, Groups};
use crate::link::{Link, LinkChoice, links};

/// What begins a test datagram: to every node that hears it, it is no beacon.
const MAGIC: [u8; 4] = *b"PLT\x01";
/// How often a datagram is sent, since one may be lost among others, and how long
/// each time its copy may take.
const TRIES: usize = 3;
const WAIT: Duration = Duration::from_millis(200);
/// Datagrams of others that may come before the copy.
const QUEUE: usize = 64;

/// What a test of one link came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkTest {
    /// The name of the interface.
    pub link: String,
    /// This machine's address on it.
    pub address: IpAddr,
    /// What happened.
    pub outcome: LinkOutcome,
}

/// What became of a test datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkOutcome {
    /// It went out and its copy was heard.
    Heard,
    /// It went out, as far as the system says, and its copy was not heard.
    NotHeard,
    /// The system refused to send it; what it said.
    NotSent(String),
    /// The link cannot be listened on; what the system said.
    Unusable(String),
}

/// Tries the links that a node with this configuration uses. Takes less than a second.
/// No links are tried where the configuration has no beacon.
///
/// # Errors
/// When the interfaces cannot be listed or the system gives no random numbers.
pub async fn test_links(config: &Config) -> io::Result<Vec<LinkTest>> {
    let groups = Groups::of(config);
    let choice = LinkChoice {
        listen: config.listen.ip(),
        names: config.interfaces.clone(),
    };
    let links = choice.for_beacons(&links()?);
    let mut tests = JoinSet::new();
    for link in links {
        let Some(group) = groups.on(&link) else {
            continue;
        };
        let mut datagram = [0; 20];
        datagram[..MAGIC.len()].copy_from_slice(&MAGIC);
        getrandom::fill(&mut datagram[MAGIC.len()..]).map_err(io::Error::other)?;
        tests.spawn(async move {
            LinkTest {
                link: link.name.clone(),
                address: link.address,
                outcome: test(link, group, &datagram).await,
            }
        });
    }
    let mut done = tests.join_all().await;
    done.sort_by(|a, b| (&a.link, a.address).cmp(&(&b.link, b.address)));
    Ok(done)
}

async fn test(link: Link, group: SocketAddr, datagram: &[u8]) -> LinkOutcome {
    let socket = match BeaconSocket::open(link, group) {
        Ok(socket) => socket,
        Err(error) => return LinkOutcome::Unusable(error.to_string()),
    };
    let (heard, mut incoming) = mpsc::channel(QUEUE);
    let listening = socket.listen(heard, |_, _| true);
    let trying = async {
        for _ in 0..TRIES {
            if let Err(error) = socket.broadcast(datagram) {
                return LinkOutcome::NotSent(error.to_string());
            }
            let copy = async {
                while let Some(other) = incoming.recv().await {
                    if other.bytes == datagram {
                        return;
                    }
                }
                std::future::pending().await
            };
            if timeout(WAIT, copy).await.is_ok() {
                return LinkOutcome::Heard;
            }
        }
        LinkOutcome::NotHeard
    };
    tokio::select! {
        outcome = trying => outcome,
        () = listening => LinkOutcome::NotHeard,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV4;

    use super::*;

    fn config(listen: &str, beacon: Option<SocketAddrV4>) -> Config {
        Config {
            beacon,
            ..Config::for_listen(listen.parse().unwrap())
        }
    }

    #[tokio::test]
    async fn loopback_hears_itself() {
        let group = "239.255.73.81:7393".parse().unwrap();
        let tests = test_links(&config("127.0.0.1:7381", Some(group))).await;
        let tests = tests.unwrap();
        assert_eq!(tests.len(), 1);
        assert_eq!(tests[0].outcome, LinkOutcome::Heard);
    }

    #[tokio::test]
    async fn nothing_is_tried_without_a_beacon() {
        let tests = test_links(&config("127.0.0.1:7381", None)).await.unwrap();
        assert_eq!(tests, []);
    }
}
