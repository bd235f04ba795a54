//! Starting and ending discovery.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::beacon_seal::BeaconSeal;
use crate::beacon_socket::Groups;
use crate::beacon_task::{BeaconTask, Introduction, Wishes, wall};
use crate::control_handshake::Handshake;
use crate::control_message::Hello;
use crate::control_swarm::control_swarm;
use crate::handle::Shared;
use crate::link::LinkChoice;
use crate::link_watch::LinkWatch;
use crate::neighbourhood::Neighbourhood;
use crate::swarm_task::{SwarmState, SwarmTask};
use crate::{Config, DiscoveryHandle, Holdings, Standing, SwarmDesk};
use potluck_near::PeerTable;
use potluck_near::StaticPeer;

/// Commands that wait for the swarm.
const COMMANDS: usize = 1024;
/// Sightings that wait for the swarm; more are lost and come again.
const SIGHTINGS: usize = 256;
/// Events that a slow follower may be behind.
const EVENTS: usize = 1024;
/// The tasks of closed connections have this long to end.
const STOP_TIME: Duration = Duration::from_secs(1);

/// Why discovery did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The control port cannot be opened.
    #[error("cannot listen for control connections on {address}: {error}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// The network interfaces cannot be listed.
    #[error("the network interfaces cannot be listed: {0}")]
    Links(#[source] io::Error),
    /// A beacon's address is no multicast group.
    #[error("{0} is no multicast group: they are 224.0.0.0 to 239.255.255.255 and ff00::/8")]
    NotAGroup(SocketAddr),
    /// A static peer cannot be read.
    #[error("{0:?} is no static peer: it takes host:port")]
    StaticPeer(String),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// A part of discovery has failed in a way that it should not.
#[derive(Debug, thiserror::Error)]
#[error("discovery failed: {0}")]
pub struct DiscoveryFailed(String);

/// The owner of discovery's tasks. Dropping it ends them without a goodbye.
#[derive(Debug)]
pub struct DiscoveryService {
    tasks: JoinSet<()>,
    connections: TaskTracker,
    stop: CancellationToken,
}

/// Starts to find peers. Must be called on the runtime. Ends when `stop` is cancelled:
/// a goodbye is sent and connections are closed. Without a desk for `swarms` what peers
/// say about swarms is refused as a question that this node does not know.
///
/// # Errors
/// When the control port cannot be opened or a setting cannot be used.
pub fn start(
    config: &Config,
    standing: &Standing,
    holdings: Arc<dyn Holdings>,
    swarms: Option<Arc<dyn SwarmDesk>>,
    stop: CancellationToken,
) -> Result<(DiscoveryHandle, DiscoveryService), StartError> {
    let groups = groups(config)?;
    let began = Instant::now();
    let statics = config.static_peers.iter().map(|text| {
        let parsed = StaticPeer::parse(text, began);
        parsed.ok_or_else(|| StartError::StaticPeer(text.clone()))
    });
    let statics = statics.collect::<Result<Vec<_>, _>>()?;
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(|_| StartError::Random)?;
    let seed = u64::from_le_bytes(seed);

    let membership = standing.membership();
    let me = membership.peer_id();
    let listen = config.listen.ip();
    let (listener, control_address) = listen_on(listen, config.control_port)?;
    let choice = LinkChoice {
        listen,
        names: config.interfaces.clone(),
    };
    let (link_watch, links) = LinkWatch::new().map_err(StartError::Links)?;
    let swarm_links = links.clone();
    let near = Neighbourhood::new(choice.clone(), links.clone());
    let handshake = Handshake::new(me, standing.clone(), listen, near.clone());
    let connections = TaskTracker::new();
    let failed = |error| StartError::Listen {
        address: control_address,
        error,
    };
    let swarm = control_swarm(
        me,
        handshake.clone(),
        listener,
        config.max_peers,
        connections.clone(),
    )
    .map_err(failed)?;

    let (commands, commands_in) = mpsc::channel(COMMANDS);
    let (heard, heard_in) = mpsc::channel(SIGHTINGS);
    let table = PeerTable::new(me, config.max_peers, statics, seed, began);
    let (wishes, wishes_in) = watch::channel(Wishes {
        need: table.need(),
        has_room: table.has_room(),
    });
    let (peers, peers_in) = watch::channel(Arc::from([]));
    let shared = Arc::new(Shared {
        rejected: Default::default(),
        events: broadcast::channel(EVENTS).0,
        need_peers: Notify::new(),
        beacon: Default::default(),
        clock: Default::default(),
    });
    // Strictly later than that of a former run, as long as the clock is not set back.
    let generation = wall();
    let hello = Hello {
        domain: membership.domain_id().to_string(),
        generation,
        data_port: config.listen.port(),
        control_port: control_address.port(),
        revocations: None,
    };

    let mut tasks = JoinSet::new();
    tasks.spawn(link_watch.run(stop.clone()));
    if let Some(key) = membership.beacon_key()
        && (groups.v4.is_some() || groups.v6.is_some())
    {
        let beacon = BeaconTask {
            introduction: Introduction {
                me,
                generation,
                control_port: hello.control_port,
                data_port: hello.data_port,
                name: membership.node_name().as_str().to_owned(),
            },
            groups,
            choice,
            links,
            seal: BeaconSeal::new(key.expose()),
            seed: seed ^ generation,
            heard,
            wishes: wishes_in,
            shared: Arc::clone(&shared),
        };
        tasks.spawn(beacon.run(stop.clone()));
    }
    let swarm = SwarmTask {
        swarm,
        handshake,
        table,
        me,
        hello,
        standing: standing.clone(),
        listen,
        peer_timeout: config.peer_timeout,
        links: swarm_links,
        near: near.clone(),
        holdings,
        swarms,
        commands: commands_in,
        heard: heard_in,
        wishes,
        peers,
        shared: Arc::clone(&shared),
        state: SwarmState::default(),
        revoked: standing.revocations().current(),
        brings_together: standing.revocations().can_sign(),
    };
    tasks.spawn(swarm.run(stop.clone()));
    let handle = DiscoveryHandle {
        commands,
        peers: peers_in,
        shared,
        near,
        standing: standing.clone(),
        local_id: me,
        control_address,
    };
    let service = DiscoveryService {
        tasks,
        connections,
        stop,
    };
    Ok((handle, service))
}

impl DiscoveryService {
    /// Waits for the end, which comes when the token of [`start`] is cancelled.
    ///
    /// # Errors
    /// When a task ended by a panic; the others are ended then.
    pub async fn join(mut self) -> Result<(), DiscoveryFailed> {
        let mut result = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            let failure = match ended {
                Err(error) => Some(error.to_string()),
                Ok(()) if !self.stop.is_cancelled() => Some("a task ended early".to_owned()),
                Ok(()) => None,
            };
            if let Some(failure) = failure {
                self.stop.cancel();
                result = result.and(Err(DiscoveryFailed(failure)));
            }
        }
        self.connections.close();
        let ended = tokio::time::timeout(STOP_TIME, self.connections.wait()).await;
        if ended.is_err() {
            tracing::debug!("some connections took too long to end");
        }
        result
    }
}

/// The groups to use.
fn groups(config: &Config) -> Result<Groups, StartError> {
    let groups = Groups::of(config);
    let v4 = groups.v4.map(SocketAddr::V4);
    let mut all = [v4, groups.v6.map(SocketAddr::V6)].into_iter().flatten();
    match all.find(|group| !group.ip().is_multicast()) {
        Some(group) => Err(StartError::NotAGroup(group)),
        None => Ok(groups),
    }
}

fn listen_on(ip: IpAddr, port: u16) -> Result<(TcpListener, SocketAddr), StartError> {
    let address = SocketAddr::new(ip, port);
    let open = || -> io::Result<(TcpListener, SocketAddr)> {
        let listener = crate::listen(address)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    open().map_err(|error| StartError::Listen { address, error })
}
