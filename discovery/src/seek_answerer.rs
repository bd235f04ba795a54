//! Answering the question who lets in, on a node that does.

use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::domain_id::Fingerprint;
use crate::link::Link;
use crate::seek_message::{QUESTION, Question};
use crate::seek_pace::SeekPace;
use crate::seek_socket::{self, SeekConfig};

/// How often the links are looked at.
const LINK_LOOK: Duration = Duration::from_secs(10);
/// The most datagrams read from one link in one second, beacons among them; the rest is
/// left to the system to drop.
const MAX_PER_SECOND: u32 = 2000;

/// Whom this node lets in, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Welcoming {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) port: u16,
}

/// Answers while there is something to answer, until `stop`.
pub(crate) async fn run(
    config: SeekConfig,
    welcoming: watch::Receiver<Option<Welcoming>>,
    stop: CancellationToken,
) {
    let answer_until_changed = async {
        let mut welcoming = welcoming;
        let mut links = Vec::new();
        let mut listeners = JoinSet::new();
        loop {
            let now = *welcoming.borrow_and_update();
            let wanted = match now {
                Some(_) => config.links().unwrap_or_default(),
                None => Vec::new(),
            };
            // A link whose sockets could not be opened is tried again.
            let ended = listeners.try_join_next().is_some();
            if wanted != links || ended {
                listeners.shutdown().await;
                let sender = welcoming.clone();
                for link in &wanted {
                    listeners.spawn(serve(link.clone(), config.group, sender.clone()));
                }
                links = wanted;
            }
            let changed = async {
                match now {
                    Some(_) => tokio::time::timeout(LINK_LOOK, welcoming.changed())
                        .await
                        .unwrap_or(Ok(())),
                    None => welcoming.changed().await,
                }
            };
            if changed.await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = answer_until_changed => {}
    }
}

async fn serve(link: Link, group: SocketAddrV4, welcoming: watch::Receiver<Option<Welcoming>>) {
    let opened =
        seek_socket::shared(&link, group).and_then(|shared| Ok((shared, seek_socket::own(&link)?)));
    match opened {
        Ok((shared, own)) => hear(&link, &shared, &own, &welcoming).await,
        Err(error) => {
            debug!(link = link.name, %error, "not to be found on this link by a join code");
        }
    }
}

async fn hear(
    link: &Link,
    shared: &UdpSocket,
    own: &UdpSocket,
    welcoming: &watch::Receiver<Option<Welcoming>>,
) {
    let mut pace = SeekPace::new();
    // One byte more than a question, to tell longer datagrams.
    let mut datagram = [0; QUESTION + 1];
    let (mut second, mut count) = (Instant::now(), 0);
    loop {
        let (length, from) = match shared.recv_from(&mut datagram).await {
            Ok(received) => received,
            Err(error) => {
                debug!(link = link.name, %error, "question not received");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let now = Instant::now();
        if now.duration_since(second) >= Duration::from_secs(1) {
            (second, count) = (now, 0);
        }
        count += 1;
        if count > MAX_PER_SECOND {
            tokio::time::sleep_until((second + Duration::from_secs(1)).into()).await;
        }
        let Some(question) = Question::parse(&datagram[..length]) else {
            continue;
        };
        let on_link = link.is_on_link(from);
        let Some(here) = *welcoming.borrow() else {
            continue;
        };
        if !on_link || here.fingerprint != question.fingerprint || !pace.take(now) {
            continue;
        }
        debug!(%from, "telling where nodes are let in");
        // A full buffer loses the answer, as a network may.
        let _ = own.try_send_to(&question.answer(here.port), from);
    }
}
