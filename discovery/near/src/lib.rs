//! Who is near: what beacons say, when to speak and when to be silent, whose datagrams
//! pass, and whom to call. Nothing here reads a clock, draws a random number or opens a
//! socket: time and seeds are arguments, so a simulation of thousands of nodes runs the
//! very code that a node runs.
//!
//! The parts are driven alike: `handle_*` tells what happened, `poll_action` what is to
//! be done, `poll_timeout` when time alone changes something.

mod beacon;
mod beacon_core;
mod clock_watch;
mod crowd;
mod dice;
mod flood_gate;
mod known_addresses;
mod peer_calls;
mod peer_entries;
mod peer_info;
mod peer_moves;
mod peer_sightings;
mod peer_state;
mod peer_statics;
mod peer_table;
mod population;
mod replay_window;
mod static_peer;
mod table_action;

pub use beacon::{Beacon, BeaconError, BeaconMessage, MAX_DATAGRAM, MAX_KNOWN, ShortHash};
pub use beacon_core::{BeaconAction, BeaconCore, Need, Origin};
pub use clock_watch::{ClockOffset, ClockTrouble, ClockWatch};
pub use flood_gate::FloodGate;
pub use libp2p_identity::PeerId;
pub use peer_info::{Departure, PeerInfo};
pub use peer_state::Setback;
pub use peer_table::PeerTable;
pub use replay_window::{ReplayError, ReplayGuard};
pub use static_peer::StaticPeer;
pub use table_action::{Admission, DialTarget, Sighting, TableAction};

/// The port for data that a node uses when nobody names another.
pub const DEFAULT_PORT: u16 = 7381;
