//! Answering the question who lets in, on a node that does.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::beacon_socket::{own_socket, send, shared_socket};
use crate::domain_id::Fingerprint;
use crate::link::Link;
use crate::seek_config::SeekConfig;
use crate::seek_message::{QUESTION, Question};
use crate::seek_pace::SeekPace;

/// How often the links are looked at.
const LINK_LOOK: Duration = Duration::from_secs(10);
/// Datagrams read from one link in one slice of time, beacons among them; the rest of
/// the slice is left to the system, so that a flood costs no more than that.
const PER_SLICE: u32 = 200;
const SLICE: Duration = Duration::from_millis(10);

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
        let mut places = Vec::new();
        let mut listeners = JoinSet::new();
        loop {
            let now = *welcoming.borrow_and_update();
            let wanted = match now {
                Some(_) => config.places().unwrap_or_default(),
                None => Vec::new(),
            };
            // A link whose sockets could not be opened is tried again.
            let ended = listeners.try_join_next().is_some();
            if wanted != places || ended {
                listeners.shutdown().await;
                let sender = welcoming.clone();
                for (link, group) in &wanted {
                    listeners.spawn(serve(link.clone(), *group, sender.clone()));
                }
                places = wanted;
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

async fn serve(link: Link, group: SocketAddr, welcoming: watch::Receiver<Option<Welcoming>>) {
    let opened = shared_socket(&link, group).and_then(|shared| Ok((shared, own_socket(&link)?)));
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
    let (mut slice, mut count) = (Instant::now(), 0);
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
        count += 1;
        if count >= PER_SLICE {
            tokio::time::sleep_until((slice + SLICE).into()).await;
            (slice, count) = (Instant::now(), 0);
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
        if let Err(error) = send(own, &question.answer(here.port), from) {
            debug!(%from, %error, "not told");
        }
    }
}
