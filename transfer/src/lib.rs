//! Moving bytes: origin clients, peer client, peer server, the engine.

pub mod origin;

mod buffers;
mod peer_client;
mod peer_server;
mod rates;
mod shelf;
mod socket;
mod traffic;
mod trust;

pub use buffers::{Buffer, BufferPool};
pub use peer_client::{PeerAddress, PeerBody, PeerClient, PeerError};
pub use peer_server::{PeerServer, PeerServerConfig};
pub use rates::Rates;
pub use shelf::{Readable, Shelf};
pub use socket::SocketHandle;
pub use traffic::{Traffic, TrafficCounts};
pub use trust::{Judged, Refusal, Trust};
