//! The port where new nodes ask to be let in, and members for their next certificate.
//!
//! It is open as long as the authority of this node's domain lives here: members renew
//! at any time, and a new node whose invitation has ended is told so and does not knock
//! at a closed door.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use libp2p::PeerId;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::canonical;
use crate::invite_store::Purpose;
use crate::join_desk::{Certified, JoinDesk, RevokedCheck, Served};
use crate::join_gate::JoinGate;
use crate::name::Name;
use crate::seek_answerer::{self, Welcoming};
use crate::seek_config::SeekConfig;

/// How often the files are looked at: a domain that another process makes here opens
/// the port within this time. It costs a few looks at file times; more often would
/// keep a machine at rest awake.
const LOOK: Duration = Duration::from_secs(5);
/// How long after a failed `bind` or `accept` the next is tried.
const RETRY: Duration = Duration::from_secs(2);

/// Where and for whom to listen.
#[derive(Clone)]
pub struct JoinServerConfig {
    /// The data directory with the authority and its invitations.
    pub data_dir: PathBuf,
    /// The TCP address to listen on; with port 0 the system picks one.
    pub listen: SocketAddr,
    /// Who gets no certificate any more.
    pub revoked: RevokedCheck,
    /// Where to answer those who look for this port; `None`: nowhere.
    pub seek: Option<SeekConfig>,
}

impl JoinServerConfig {
    /// For a domain that has revoked nobody, and with no answers to those who seek.
    #[must_use]
    pub fn new(data_dir: &Path, listen: SocketAddr) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            listen,
            revoked: Arc::new(|_| false),
            seek: None,
        }
    }
}

/// What happens at the join port. Events that nobody takes are dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinEvent {
    /// The port is open.
    Listening(SocketAddr),
    /// The port is closed: the authority lives here no longer.
    Closed,
    /// The port cannot be opened, or the files cannot be read; tried again.
    Trouble(String),
    /// A node has joined.
    Joined {
        /// Its name.
        name: Name,
        /// Its id.
        peer_id: PeerId,
        /// Where it called from.
        address: SocketAddr,
        /// When its certificate ends.
        expires: SystemTime,
        /// Whether it holds the authority now, too.
        authority: bool,
    },
    /// A member has a new certificate.
    Renewed {
        /// Its name.
        name: Name,
        /// Its id.
        peer_id: PeerId,
        /// Where it called from.
        address: SocketAddr,
        /// When its new certificate ends.
        expires: SystemTime,
    },
    /// A caller got nothing.
    Refused {
        /// Where it called from.
        address: SocketAddr,
        /// Why.
        reason: String,
    },
}

/// A running join port. It ends when its token is cancelled.
#[derive(Debug)]
pub struct JoinServer {
    task: JoinHandle<()>,
    address: watch::Receiver<Option<SocketAddr>>,
    look: Arc<Notify>,
}

struct JoinServerTask {
    config: JoinServerConfig,
    events: mpsc::Sender<JoinEvent>,
    address: watch::Sender<Option<SocketAddr>>,
    welcoming: watch::Sender<Option<Welcoming>>,
    look: Arc<Notify>,
    desk: JoinDesk,
    listener: Option<TcpListener>,
    gate: JoinGate,
    /// `None` of a caller that lost its place to others.
    connections: JoinSet<Option<(SocketAddr, Served)>>,
    next_bind: Instant,
    trouble: Option<String>,
}

impl JoinServer {
    /// Starts to watch `config.data_dir`, and to listen whenever it should.
    #[must_use]
    pub fn start(
        config: JoinServerConfig,
        stop: CancellationToken,
        events: mpsc::Sender<JoinEvent>,
    ) -> Self {
        let (address_sender, address) = watch::channel(None);
        let look = Arc::new(Notify::new());
        let now = Instant::now();
        let task = JoinServerTask {
            desk: JoinDesk::new(&config.data_dir, config.revoked.clone()),
            config,
            events,
            address: address_sender,
            welcoming: watch::Sender::new(None),
            look: Arc::clone(&look),
            listener: None,
            gate: JoinGate::new(now),
            connections: JoinSet::new(),
            next_bind: now,
            trouble: None,
        };
        Self {
            task: tokio::spawn(task.run(stop)),
            address,
            look,
        }
    }

    /// Looks at the files at once, after a change by this process.
    pub fn refresh(&self) {
        self.look.notify_one();
    }

    /// Where it listens now, and from now on.
    #[must_use]
    pub fn address(&self) -> watch::Receiver<Option<SocketAddr>> {
        self.address.clone()
    }

    /// Waits for the end. An error is a panic inside.
    pub async fn stopped(self) -> Result<(), tokio::task::JoinError> {
        self.task.await
    }
}

impl JoinServerTask {
    async fn run(mut self, stop: CancellationToken) {
        let mut next_look = Instant::now();
        let mut answerer = JoinSet::new();
        if let Some(config) = self.config.seek.clone() {
            let welcoming = self.welcoming.subscribe();
            answerer.spawn(seek_answerer::run(config, welcoming, stop.clone()));
        }
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(done) = self.connections.join_next() => self.on_served(done),
                () = self.look.notified() => next_look = Instant::now(),
                () = sleep_until(next_look) => {
                    self.on_look().await;
                    next_look = Instant::now() + LOOK;
                }
                accepted = accept(self.listener.as_ref(), self.gate.opens_at()) => {
                    self.on_accept(accepted);
                }
            }
        }
        self.close();
        self.connections.shutdown().await;
        answerer.shutdown().await;
    }

    /// Looks at the files and opens or closes the port accordingly.
    async fn on_look(&mut self) {
        self.open_or_close().await;
        let port = self.address.borrow().map(|address| address.port());
        let welcoming = port
            .zip(self.desk.lets_in())
            .map(|(port, fingerprint)| Welcoming { fingerprint, port });
        self.welcoming.send_if_modified(|old| {
            let changed = *old != welcoming;
            *old = welcoming;
            changed
        });
    }

    async fn open_or_close(&mut self) {
        let open = match self.desk.look().await {
            Ok(open) => open,
            Err(error) => {
                self.on_trouble(error.to_string());
                return self.close();
            }
        };
        if !open {
            return self.close();
        }
        if self.listener.is_some() || Instant::now() < self.next_bind {
            return;
        }
        match crate::listen(self.config.listen).and_then(|l| Ok((l.local_addr()?, l))) {
            Ok((address, listener)) => {
                info!(%address, "listening for nodes that join");
                self.trouble = None;
                self.listener = Some(listener);
                self.address.send_replace(Some(address));
                self.tell(JoinEvent::Listening(address));
            }
            Err(error) => {
                self.next_bind = Instant::now() + RETRY;
                self.on_trouble(format!("cannot listen on {}: {error}", self.config.listen));
            }
        }
    }

    fn close(&mut self) {
        if self.listener.take().is_some() {
            info!("no longer listening for nodes that join");
            self.address.send_replace(None);
            self.tell(JoinEvent::Closed);
        }
    }

    /// Tells of a trouble once, however long it lasts.
    fn on_trouble(&mut self, trouble: String) {
        if self.trouble.as_ref() != Some(&trouble) {
            warn!(reason = trouble, "the join port has trouble");
            self.tell(JoinEvent::Trouble(trouble.clone()));
            self.trouble = Some(trouble);
        }
    }

    fn on_accept(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        let now = Instant::now();
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: let some be closed.
                self.gate.shut(now + RETRY);
                return self.on_trouble(format!("cannot accept connections: {error}"));
            }
        };
        let Some(place) = self.gate.admit(address.ip(), now) else {
            return debug!(%address, "too many callers from one address");
        };
        let desk = self.desk.clone();
        self.connections.spawn(async move {
            let served = place.hold(desk.serve(stream)).await?;
            Some((address, served))
        });
    }

    fn on_served(&mut self, done: Result<Option<(SocketAddr, Served)>, tokio::task::JoinError>) {
        let (address, served) = match done {
            Ok(Some(done)) => done,
            Ok(None) => return debug!("others call: a caller at the join port was sent away"),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => return,
            },
        };
        self.tell(match served {
            Served::Joined(certified, purpose) => {
                let Certified {
                    name,
                    peer_id,
                    expires,
                } = certified;
                let authority = purpose == Purpose::Authority;
                info!(%address, %name, %peer_id, authority, "a node joined");
                JoinEvent::Joined {
                    name,
                    peer_id,
                    address,
                    expires,
                    authority,
                }
            }
            Served::Renewed(Certified {
                name,
                peer_id,
                expires,
            }) => {
                info!(%address, %name, %peer_id, "a member renewed its certificate");
                JoinEvent::Renewed {
                    name,
                    peer_id,
                    address,
                    expires,
                }
            }
            Served::Refused(reason) => {
                debug!(%address, reason, "a caller at the join port was refused");
                JoinEvent::Refused { address, reason }
            }
        });
    }

    fn tell(&self, event: JoinEvent) {
        if self.events.try_send(event).is_err() {
            debug!("nobody takes the events of the join port");
        }
    }
}

/// The next connection, when the pace allows it; never without a listener.
async fn accept(
    listener: Option<&TcpListener>,
    next: Instant,
) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => {
            sleep_until(next).await;
            let (stream, address) = listener.accept().await?;
            Ok((stream, canonical(address)))
        }
        None => std::future::pending().await,
    }
}
