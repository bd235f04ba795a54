//! Who is near and can be trusted: identity, certificates, beacons, the peer list
//! and the control swarm.

mod config;
mod handle;
mod holdings;
mod peer_info;
mod rejected_list;

pub use config::{Config, DEFAULT_PORT};
pub use handle::{AskError, DiscoveryHandle};
pub use holdings::{Holding, Holdings, MAX_WANTED, Wanted};
pub use libp2p::PeerId;
pub use peer_info::{
    Departure, Direction, DiscoveryEvent, PeerFault, PeerInfo, PortKind, Rejected,
};
