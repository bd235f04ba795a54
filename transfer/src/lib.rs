//! Moving bytes: origin clients, peer client, peer server, and the engine that puts
//! them to use.
//!
//! | part | does |
//! |---|---|
//! | [`origin`] | asks origins and judges their answers |
//! | [`PeerServer`] | gives contents to peers, in turn and within the caps |
//! | [`PeerClient`] | takes contents from peers |
//! | [`Engine`] | transfers files: asks, plans, fetches, verifies, stores |
//! | [`CacheHoldings`] | says what the cache has for peers |
//! | [`SwarmShelf`] | keeps what may be given of contents that are not whole yet |
//!
//! What is fetched from whom, who is served and how fast is decided in
//! `potluck-plan`; which bytes are kept, in `potluck-cache`; who is trusted, in
//! `potluck-discovery`. Here those decisions are carried out. Linux only for now.

pub mod origin;

mod buffers;
mod domain_trust;
mod ending;
mod engine;
mod holdings;
mod peer_client;
mod peer_server;
mod rates;
mod shelf;
mod socket;
mod swarm;
mod talk;
mod traffic;
mod trust;

pub use buffers::{Buffer, BufferPool};
pub use domain_trust::DomainTrust;
pub use ending::{Ended, Ending, end_of_certificate};
pub use engine::{
    Asking, Engine, EngineConfig, EngineHandle, FileDone, FileRequest, Neighbours, Progress, Share,
    Stage, Swarms, Transfer, TransferError, ranges_key,
};
pub use holdings::CacheHoldings;
pub use origin::{ClientCertificate, OriginOptions, ProxyChoice, Redirects, group_of_user};
pub use peer_client::{PeerAddress, PeerBody, PeerClient, PeerError};
pub use peer_server::{PeerServer, PeerServerConfig};
pub use rates::Rates;
pub use shelf::{Readable, Shelf, TakenPieces};
pub use socket::SocketHandle;
pub use swarm::{
    CannotVouch, Exposure, Notary, PrefaceError, Prover, SignedStatement, Signer, SwarmPieces,
    SwarmShelf, SwarmShelfLimits, Vouching,
};
pub use talk::SwarmTalk;
pub use traffic::{Traffic, TrafficCounts};
pub use trust::{Judged, Refusal, Trust};
