//! Asking the subnet who lets in for a domain.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::beacon_socket::{own_socket, send};
use crate::domain_id::Fingerprint;
use crate::link::Link;
use crate::seek_config::SeekConfig;
use crate::seek_message::{QUESTION, Question};

/// When the question is sent, after the beginning: a datagram may be lost, and the
/// port there may be about to open.
const ASKED_AT: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(250),
    Duration::from_millis(1000),
    Duration::from_millis(2500),
    Duration::from_millis(4500),
];
/// How long after the last question answers are waited for.
const LAST_WAIT: Duration = Duration::from_millis(1500);
/// The most addresses that one search yields: an enemy on the subnet can make up many.
const MAX_FOUND: usize = 16;

/// One search. Answers come in until it is dropped.
pub(crate) struct Seeker {
    question: Vec<u8>,
    /// Each with the group to ask.
    sockets: Vec<(Arc<UdpSocket>, SocketAddr)>,
    answers: mpsc::Receiver<SocketAddr>,
    _listeners: JoinSet<()>,
    begun: Instant,
    asked: usize,
    found: BTreeSet<SocketAddr>,
}

impl Seeker {
    /// Opens the sockets; a link that does not work is left out. Must be called on the
    /// runtime.
    pub(crate) fn begin(config: &SeekConfig, fingerprint: Fingerprint) -> Self {
        let mut nonce = [0; 16];
        let places = match aws_lc_rs::rand::fill(&mut nonce) {
            Ok(()) => config.places().unwrap_or_default(),
            // Answers could be foretold; better to ask nobody.
            Err(_) => Vec::new(),
        };
        let question = Question { fingerprint, nonce };
        let (sender, answers) = mpsc::channel(MAX_FOUND);
        let mut listeners = JoinSet::new();
        let mut sockets = Vec::new();
        for (link, group) in places {
            match own_socket(&link) {
                Ok(socket) => {
                    let socket = Arc::new(socket);
                    listeners.spawn(listen(socket.clone(), link, question, sender.clone()));
                    sockets.push((socket, group));
                }
                Err(error) => {
                    tracing::debug!(link = link.name, %error, "cannot ask on this link");
                }
            }
        }
        Self {
            question: question.to_bytes(),
            sockets,
            answers,
            _listeners: listeners,
            begun: Instant::now(),
            asked: 0,
            found: BTreeSet::new(),
        }
    }

    /// The next address where somebody says that they let in, each once; `None` when
    /// the search is over. May be called again after it was dropped half way.
    async fn next(&mut self) -> Option<SocketAddr> {
        if self.sockets.is_empty() {
            return None;
        }
        while self.found.len() < MAX_FOUND {
            let wake = match ASKED_AT.get(self.asked) {
                Some(after) => self.begun + *after,
                None => self.begun + ASKED_AT[ASKED_AT.len() - 1] + LAST_WAIT,
            };
            tokio::select! {
                biased;
                answer = self.answers.recv() => {
                    let address = answer?;
                    if self.found.insert(address) {
                        return Some(address);
                    }
                }
                () = sleep_until(wake) => {
                    if self.asked == ASKED_AT.len() {
                        return None;
                    }
                    self.asked += 1;
                    self.ask();
                }
            }
        }
        None
    }

    /// The same without the addresses in `known`.
    pub(crate) async fn next_besides(&mut self, known: &[SocketAddr]) -> Option<SocketAddr> {
        loop {
            let address = self.next().await?;
            if !known.contains(&address) {
                return Some(address);
            }
        }
    }

    fn ask(&self) {
        for (socket, group) in &self.sockets {
            if let Err(error) = send(socket, &self.question, *group) {
                tracing::debug!(%error, "the question who lets in was not sent");
            }
        }
    }
}

async fn listen(
    socket: Arc<UdpSocket>,
    link: Link,
    question: Question,
    answers: mpsc::Sender<SocketAddr>,
) {
    let mut datagram = [0; QUESTION];
    loop {
        let (length, from) = match socket.recv_from(&mut datagram).await {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(link = link.name, %error, "no more answers from this link");
                return;
            }
        };
        if !link.is_on_link(from) {
            continue;
        }
        let Some(port) = question.port_in(&datagram[..length]) else {
            continue;
        };
        // With the scope, where the address has one.
        let mut address = from;
        address.set_port(port);
        if answers.send(address).await.is_err() {
            return;
        }
    }
}
