//! The way for the rest of the program to ask about peers and to ask peers.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libp2p::PeerId;
use potluck_content::{ContentId, Manifest};
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};

use potluck_near::ClockOffset;

use crate::beacon_stats::{BeaconCounters, BeaconStats};
use crate::knock::Knocked;
use crate::neighbourhood::Neighbourhood;
use crate::{DiscoveryEvent, Holding, PeerFault, PeerInfo, Rejected, Standing, Wanted};

/// A peer takes a second to find that a port is closed.
const KNOCK_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a manifest may take: half a megabyte at most, read from a disk that may
/// be busy.
const MANIFEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A handle on the discovery of a running node. Clones are cheap.
#[derive(Clone)]
pub struct DiscoveryHandle {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) peers: watch::Receiver<Arc<[PeerInfo]>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) near: Neighbourhood,
    pub(crate) standing: Standing,
    pub(crate) local_id: PeerId,
    pub(crate) control_address: SocketAddr,
}

/// Why a question to a peer has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The peer is not on the list (any more).
    #[error("it is no peer of this node")]
    NotAPeer,
    /// No answer came in time.
    #[error("it did not answer in time")]
    TimedOut,
    /// The connection ended before the answer.
    #[error("its connection ended")]
    Disconnected,
    /// The peer answered that it does not hold the content.
    #[error("it does not hold the content")]
    NotHeld,
    /// The peer answered that it will not answer.
    #[error("it refused: {0}")]
    Refused(String),
    /// The answer was wrong; the peer has lost its place for it.
    #[error("it answered wrongly: {0}")]
    WrongAnswer(String),
    /// The question is larger than the protocol allows.
    #[error("the question is longer than the protocol allows")]
    TooMuch,
    /// Discovery has ended, or too many questions are under way.
    #[error("this node cannot ask now")]
    Unavailable,
}

pub(crate) enum Command {
    Have {
        peer: PeerId,
        wanted: Vec<Wanted>,
        reply: oneshot::Sender<Result<Vec<Option<Holding>>, AskError>>,
    },
    Manifest {
        peer: PeerId,
        content: ContentId,
        reply: oneshot::Sender<Result<Manifest, AskError>>,
    },
    Knock {
        peer: PeerId,
        reply: oneshot::Sender<Result<Knocked, AskError>>,
    },
    Swarm {
        peer: PeerId,
        message: Vec<u8>,
        reply: oneshot::Sender<Result<Vec<u8>, AskError>>,
    },
    Fault {
        peer: PeerId,
        fault: PeerFault,
    },
}

pub(crate) struct Shared {
    pub(crate) rejected: Mutex<crate::rejected_list::RejectedList>,
    pub(crate) events: broadcast::Sender<DiscoveryEvent>,
    pub(crate) need_peers: Notify,
    pub(crate) beacon: BeaconCounters,
    pub(crate) clock: Mutex<Option<ClockOffset>>,
}

impl DiscoveryHandle {
    /// The peer list.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.peers.borrow().to_vec()
    }

    /// Follows the peer list: the latest one at any time.
    #[must_use]
    pub fn watch_peers(&self) -> watch::Receiver<Arc<[PeerInfo]>> {
        self.peers.clone()
    }

    /// Who was refused lately, the latest first.
    #[must_use]
    pub fn rejected(&self) -> Vec<Rejected> {
        let list = self.shared.rejected.lock();
        list.unwrap_or_else(PoisonError::into_inner).latest()
    }

    /// Asks a peer what it holds; the answer has the order of the question.
    ///
    /// # Errors
    /// When no right answer came within `timeout`.
    pub async fn ask_have(
        &self,
        peer: PeerId,
        wanted: Vec<Wanted>,
        timeout: Duration,
    ) -> Result<Vec<Option<Holding>>, AskError> {
        if wanted.len() > crate::MAX_WANTED {
            return Err(AskError::TooMuch);
        }
        let (reply, answer) = oneshot::channel();
        let command = Command::Have {
            peer,
            wanted,
            reply,
        };
        self.ask(command, timeout, answer).await
    }

    /// Asks a peer for a manifest and proves it.
    ///
    /// # Errors
    /// When no right answer came within ten seconds.
    pub async fn manifest(&self, peer: PeerId, content: ContentId) -> Result<Manifest, AskError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Manifest {
            peer,
            content,
            reply,
        };
        self.ask(command, MANIFEST_TIMEOUT, answer).await
    }

    /// Lets a peer call this node's ports and say which it reached.
    ///
    /// # Errors
    /// When no right answer came within three seconds; an older peer refuses.
    pub async fn knock(&self, peer: PeerId) -> Result<Knocked, AskError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Knock { peer, reply };
        self.ask(command, KNOCK_TIMEOUT, answer).await
    }

    /// Tells a peer something about swarms, which its [`SwarmDesk`](crate::SwarmDesk)
    /// answers. `message` has [`MAX_SWARM_MESSAGE`](crate::MAX_SWARM_MESSAGE) bytes at
    /// most, the answer [`MAX_SWARM_ANSWER`](crate::MAX_SWARM_ANSWER).
    ///
    /// # Errors
    /// When no right answer came within `timeout`; a peer without a desk refuses. The
    /// message may have arrived all the same, or twice.
    pub async fn ask_swarm(
        &self,
        peer: PeerId,
        message: Vec<u8>,
        timeout: Duration,
    ) -> Result<Vec<u8>, AskError> {
        if message.len() > crate::MAX_SWARM_MESSAGE {
            return Err(AskError::TooMuch);
        }
        let (reply, answer) = oneshot::channel();
        let command = Command::Swarm {
            peer,
            message,
            reply,
        };
        self.ask(command, timeout, answer).await
    }

    /// Takes a peer off the list for what it did: its connection is closed, the
    /// reason is shown among the rejected, and it is not called for a while.
    pub fn report_fault(&self, peer: PeerId, fault: PeerFault) {
        if self
            .commands
            .try_send(Command::Fault { peer, fault })
            .is_err()
        {
            tracing::warn!(%peer, "a fault could not be reported: discovery is busy or has ended");
        }
    }

    /// Notes somebody who was refused elsewhere, on the data port.
    pub fn note_rejection(&self, rejected: Rejected) {
        self.shared.note_rejection(rejected);
    }

    /// Says that more peers would be of use now. A PROBE is sent when the list has
    /// room, unless the last one was only just sent.
    pub fn need_peers(&self) {
        self.shared.need_peers.notify_one();
    }

    /// What became of the datagrams on the subnet.
    #[must_use]
    pub fn beacon_stats(&self) -> BeaconStats {
        self.shared.beacon.read()
    }

    /// What this node shows and asks at its ports; a renewed membership is told to it.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing.clone()
    }

    /// How this machine's clock stands to those of the nodes that were heard in the last
    /// minutes, whether they are peers or not; `None` while nobody is heard.
    #[must_use]
    pub fn clock_offset(&self) -> Option<ClockOffset> {
        *self
            .shared
            .clock
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The identity of this node.
    #[must_use]
    pub const fn local_id(&self) -> PeerId {
        self.local_id
    }

    /// Whether who calls from there may be a peer: it is on a subnet of this node, on
    /// this machine, or was configured as a peer.
    #[must_use]
    pub fn admits(&self, address: SocketAddr) -> bool {
        self.near.admits(address)
    }

    /// Where this node takes control connections.
    #[must_use]
    pub const fn control_address(&self) -> SocketAddr {
        self.control_address
    }

    /// Follows what happens to the peer list. Who reads too slowly loses the oldest.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<DiscoveryEvent> {
        self.shared.events.subscribe()
    }

    async fn ask<T>(
        &self,
        command: Command,
        timeout: Duration,
        answer: oneshot::Receiver<Result<T, AskError>>,
    ) -> Result<T, AskError> {
        let asked = async {
            self.commands
                .send(command)
                .await
                .map_err(|_| AskError::Unavailable)?;
            answer.await.map_err(|_| AskError::Unavailable)?
        };
        tokio::time::timeout(timeout, asked)
            .await
            .unwrap_or(Err(AskError::TimedOut))
    }
}

impl Shared {
    pub(crate) fn set_clock(&self, offset: Option<ClockOffset>) {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = offset;
    }

    pub(crate) fn note_rejection(&self, rejected: Rejected) {
        let list = self.rejected.lock();
        let noted = list.unwrap_or_else(PoisonError::into_inner).note(rejected);
        // Nobody listening is no failure.
        let _ = self.events.send(DiscoveryEvent::PeerRejected(noted));
    }
}
