//! The task that owns the control swarm and the peer table.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::StreamExt as _;
use libp2p::request_response::OutboundRequestId;
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{PeerId, Swarm};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::beacon_task::{Heard, Wishes};
use crate::control_handshake::Handshake;
use crate::control_message::Hello;
use crate::control_swarm::ControlBehaviour;
use crate::control_transport::multiaddr;
use crate::handle::{Command, Shared};
use crate::link::Link;
use crate::neighbourhood::Neighbourhood;
use crate::swarm_answers::{Answered, Waiting};
use crate::swarm_connection::Connection;
use crate::swarm_questions::Asked;
use crate::swarm_revocations::Spreading;
use crate::{
    Departure, DiscoveryEvent, Holdings, PeerInfo, RejectReason, RevocationList, Standing,
    SwarmDesk,
};
use potluck_near::PeerTable;
use potluck_near::Setback;
use potluck_near::{DialTarget, TableAction};

/// How often connections are looked after: pings, ends of certificates.
const TICK: Duration = Duration::from_secs(1);
/// How often hosts of configured peers that are not connected are looked up.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(30);
/// A peer that said nothing for this long is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// A peer that is said to have gone has this long to show that it has not.
const CHECK_TIME: Duration = Duration::from_secs(2);
/// Closing all connections takes no longer than this.
const STOP_TIME: Duration = Duration::from_secs(1);

pub(crate) struct SwarmTask {
    pub(crate) swarm: Swarm<ControlBehaviour>,
    pub(crate) handshake: Handshake,
    pub(crate) table: PeerTable,
    pub(crate) me: PeerId,
    /// How this node introduces itself.
    pub(crate) hello: Hello,
    pub(crate) standing: Standing,
    pub(crate) listen: IpAddr,
    /// A peer that is silent for so long, however often it is asked, goes.
    pub(crate) peer_timeout: Duration,
    pub(crate) links: watch::Receiver<Arc<[Link]>>,
    pub(crate) near: Neighbourhood,
    pub(crate) holdings: Arc<dyn Holdings>,
    pub(crate) swarms: Option<Arc<dyn SwarmDesk>>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) heard: mpsc::Receiver<Heard>,
    pub(crate) wishes: watch::Sender<Wishes>,
    pub(crate) peers: watch::Sender<Arc<[PeerInfo]>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) state: SwarmState,
    /// The revocations that were acted upon.
    pub(crate) revoked: Arc<RevocationList>,
    /// This node holds the authority and joins lists that differ.
    pub(crate) brings_together: bool,
}

/// What changes while the task runs.
#[derive(Default)]
pub(crate) struct SwarmState {
    pub(crate) dials: BTreeMap<ConnectionId, (DialTarget, SocketAddr)>,
    pub(crate) connections: BTreeMap<ConnectionId, Connection>,
    pub(crate) asked: BTreeMap<OutboundRequestId, Asked>,
    /// Questions of peers that are being answered on the blocking pool.
    pub(crate) answering: JoinSet<Answered>,
    /// Ports of peers that are being called for them.
    pub(crate) knocking: JoinSet<Answered>,
    pub(crate) waiting: VecDeque<Waiting>,
    resolving: JoinSet<(usize, Vec<SocketAddr>)>,
    /// When each peer was heard last on its connection.
    pub(crate) alive: BTreeMap<PeerId, Instant>,
    /// When each peer was called last for a connection with newer certificates.
    pub(crate) replaced: BTreeMap<PeerId, Instant>,
    pub(crate) spreading: Spreading,
    /// Peers that must answer before a time.
    pub(crate) checks: BTreeMap<PeerId, Instant>,
}

impl SwarmTask {
    /// Runs until `stop`; then all connections are closed.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut resolve = tokio::time::interval(RESOLVE_INTERVAL);
        resolve.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut revocations = self.standing.revocations().watch();
        let mut standing = self.standing.changes();
        // What came since the task was made.
        revocations.mark_changed();
        loop {
            let wake = self.table.poll_timeout().map(Instant::from_std);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = tick.tick() => self.on_tick(),
                _ = resolve.tick() => self.resolve(),
                () = until(wake) => self.table.handle_timeout(now()),
                Ok(()) = revocations.changed() => {
                    let list = Arc::clone(&revocations.borrow_and_update());
                    self.on_revocations(&list);
                }
                () = standing.next() => self.on_standing(),
                Some(taken) = self.state.spreading.taking.join_next() => match taken {
                    Ok(taken) => self.on_taken(taken),
                    Err(error) => if error.is_panic() {
                        std::panic::resume_unwind(error.into_panic());
                    },
                },
                Some(answered) = self.state.answering.join_next() => match answered {
                    Ok(answered) => self.on_answered(answered),
                    Err(error) => if error.is_panic() {
                        std::panic::resume_unwind(error.into_panic());
                    },
                },
                Some(Ok(answered)) = self.state.knocking.join_next() => self.on_answered(answered),
                Some(command) = self.commands.recv() => self.on_command(command),
                Ok(()) = self.links.changed() => self.table.handle_links_changed(),
                Some(heard) = self.heard.recv() => self.on_heard(heard),
                Some(Ok((index, addresses))) = self.state.resolving.join_next() => {
                    self.on_resolved(index, &addresses);
                }
                // Last: the network could keep the task busy with nothing else.
                event = self.swarm.select_next_some() => self.on_event(event),
            }
            self.carry_out();
        }
        self.wind_down().await;
    }

    fn on_heard(&mut self, heard: Heard) {
        match heard {
            Heard::Node(sighting) => self.table.handle_sighting(&sighting, now()),
            Heard::Goodbye { peer, generation } => self.table.handle_goodbye(&peer, generation),
        }
    }

    fn on_tick(&mut self) {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let mut ended = Vec::new();
        let mut silent = Vec::new();
        for (id, connection) in &self.state.connections {
            let peer = connection.peer;
            if wall >= connection.ends {
                ended.push(*id);
            } else if connection.is_over(now) {
                self.swarm.close_connection(*id);
            } else if !connection.in_vain {
                let alive = self.state.alive.get(&peer).copied();
                let silence = now - alive.unwrap_or(connection.since);
                if silence >= PING_INTERVAL.min(self.peer_timeout / 2) {
                    silent.push((peer, silence));
                }
            }
        }
        for id in ended {
            self.end_of_certificate(id, wall);
        }
        self.replace_ending(now, wall);
        self.ask_for_list_again(now);
        for (peer, silence) in silent {
            if silence >= self.peer_timeout {
                self.table.handle_check_failed(peer, now.into_std());
            } else if !self.is_pinged(&peer) {
                self.ping(peer);
            }
        }
        let overdue = self.state.checks.iter().filter(|(_, until)| **until <= now);
        for peer in overdue.map(|(peer, _)| *peer).collect::<Vec<_>>() {
            self.state.checks.remove(&peer);
            self.table.handle_check_failed(peer, now.into_std());
        }
        self.table.handle_timeout(now.into_std());
    }

    fn end_of_certificate(&mut self, id: ConnectionId, wall: SystemTime) {
        let Some(connection) = self.state.connections.get(&id) else {
            return;
        };
        if !connection.is_in_use() {
            self.swarm.close_connection(id);
            return;
        }
        let (peer, theirs) = (connection.peer, wall >= connection.expires);
        if theirs {
            let (remote, direction) = (connection.remote, connection.direction);
            let name = Some(connection.name.clone());
            let reason = RejectReason::Expired;
            self.note_rejection(remote, Some(peer), name, reason, direction);
        }
        self.dismiss(peer, Departure::CertificateEnded, Setback::Unreachable);
        self.swarm.close_connection(id);
    }

    /// Ends everything with a peer, for a reason of ours.
    pub(crate) fn dismiss(&mut self, peer: PeerId, departure: Departure, setback: Setback) {
        self.table.handle_dismissal(peer, departure, setback, now());
    }

    fn resolve(&mut self) {
        for (index, host, port) in self.table.statics_to_resolve() {
            self.state.resolving.spawn(async move {
                let found = tokio::net::lookup_host((host.as_str(), port)).await;
                let addresses = match found {
                    Ok(addresses) => addresses.collect(),
                    Err(error) => {
                        tracing::debug!(host, %error, "static peer cannot be resolved");
                        Vec::new()
                    }
                };
                (index, addresses)
            });
        }
    }

    fn on_resolved(&mut self, index: usize, addresses: &[SocketAddr]) {
        let mut all = addresses.iter();
        let fitting = all.find(|address| address.is_ipv4() == self.listen.is_ipv4());
        let Some(address) = fitting.or(addresses.first()) else {
            return;
        };
        let ips = addresses.iter().map(|address| address.ip()).collect();
        self.near.set_static(index, ips);
        self.table.handle_resolved(index, *address, now());
    }

    /// Does what the table decided, and tells the beacon what it needs to know.
    fn carry_out(&mut self) {
        let mut changed = false;
        while let Some(action) = self.table.poll_action() {
            match action {
                TableAction::Dial { target, address } => self.dial(target, address),
                TableAction::Close(peer) => {
                    self.close(peer);
                }
                TableAction::Check(peer) => {
                    let until = Instant::now() + CHECK_TIME;
                    self.state.checks.entry(peer).or_insert(until);
                    if !self.is_pinged(&peer) {
                        self.ping(peer);
                    }
                }
                TableAction::Renewed => changed = true,
                TableAction::Added(info) => {
                    changed = true;
                    tracing::info!(peer = %info.id, name = info.name, address = %info.address, "peer added");
                    self.announce(DiscoveryEvent::PeerAdded(info));
                }
                TableAction::Moved(peer, from) => {
                    changed = true;
                    tracing::info!(peer = %peer.id, name = peer.name, %from, address = %peer.address, "peer moved");
                    self.announce(DiscoveryEvent::PeerMoved { peer, from });
                }
                TableAction::Removed(peer, departure) => {
                    changed = true;
                    tracing::info!(peer = %peer.id, name = peer.name, %departure, "peer removed");
                    self.announce(DiscoveryEvent::PeerRemoved { peer, departure });
                }
            }
        }
        if changed {
            let list: Arc<[PeerInfo]> = self.table.listed().cloned().collect();
            self.peers.send_replace(list);
        }
        if self.table.take_changed() {
            let wishes = Wishes {
                need: self.table.need(),
                has_room: self.table.has_room(),
            };
            self.wishes.send_if_modified(|old| {
                let differs = *old != wishes;
                if differs {
                    *old = wishes;
                }
                differs
            });
        }
    }

    /// Closes all connections with a peer, but for those that tell it of its revocation.
    fn close(&mut self, peer: PeerId) {
        let connections = self.state.connections.values();
        if !connections
            .filter(|it| it.peer == peer)
            .any(|it| it.revoked.is_some())
        {
            // Fails only when there is no connection left to close.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    pub(crate) fn announce(&self, event: DiscoveryEvent) {
        // Nobody listening is no failure.
        let _ = self.shared.events.send(event);
    }

    pub(crate) fn dial(&mut self, target: DialTarget, address: SocketAddr) {
        let options = match target {
            DialTarget::Peer(peer) => DialOpts::peer_id(peer)
                .condition(PeerCondition::Always)
                .addresses(vec![multiaddr(address)])
                .allocate_new_port()
                .build(),
            DialTarget::Static(_) => DialOpts::unknown_peer_id()
                .address(multiaddr(address))
                .allocate_new_port()
                .build(),
        };
        let id = options.connection_id();
        self.state.dials.insert(id, (target, address));
        if let Err(error) = self.swarm.dial(options) {
            self.on_dial_failed(id, &error);
        }
    }

    async fn wind_down(mut self) {
        self.state.answering.abort_all();
        self.state.knocking.abort_all();
        let peers: Vec<PeerInfo> = self.table.listed().cloned().collect();
        self.peers.send_replace(Arc::from([]));
        for peer in peers {
            let departure = Departure::Stopping;
            self.announce(DiscoveryEvent::PeerRemoved { peer, departure });
        }
        let connected: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in connected {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let closed = async {
            while self.swarm.connected_peers().next().is_some() {
                self.swarm.select_next_some().await;
            }
        };
        if tokio::time::timeout(STOP_TIME, closed).await.is_err() {
            tracing::debug!("some control connections did not close in time");
        }
    }
}

/// The one reading of the clock for the table.
pub(crate) fn now() -> std::time::Instant {
    Instant::now().into_std()
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
