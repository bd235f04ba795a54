//! Who is near and can be trusted: identity, certificates, beacons, the peer list
//! and the control swarm.
//!
//! A [`Membership`] is a node's place in a domain; [`start`] finds the other members
//! on the subnet and keeps the peer list, which a [`DiscoveryHandle`] tells. What peers
//! hold is asked here; which of them to ask, and moving the bytes, is left to others.

mod authority;
mod beacon_link;
mod beacon_seal;
mod beacon_socket;
mod beacon_stats;
mod beacon_task;
mod blocking;
mod byte_string;
mod caller_places;
mod certificate_policy;
mod config;
mod control_handshake;
mod control_message;
mod control_swarm;
mod control_transport;
mod crockford;
mod domain;
mod domain_files;
mod domain_id;
mod handle;
mod hex;
mod holders;
mod holdings;
mod identity;
mod invite;
mod invite_store;
mod join_call;
mod join_client;
mod join_code;
mod join_desk;
mod join_error;
mod join_gate;
mod join_protocol;
mod join_server;
mod link_test;
mod membership;
mod membership_watch;
mod name;
mod peer_info;
mod pinned_authority;
mod reject_reason;
mod rejected_list;
mod renewal;
mod renewal_request;
mod renewal_schedule;
mod renewal_service;
mod secret;
mod seek_answerer;
mod seek_message;
mod seek_pace;
mod seek_socket;
mod seeker;
mod service;
mod standing;
mod swarm_answers;
mod swarm_connections;
mod swarm_questions;
mod swarm_renewal;
mod swarm_task;
mod tls;

pub use authority::{Authority, AuthorityError, DEFAULT_CERTIFICATE_LIFETIME, Validity};
pub use beacon_stats::BeaconStats;
pub use caller_places::{CallerPlace, CallerPlaces};
pub use certificate_policy::{CertificatePolicy, VerifiedPeer};
pub use config::Config;
pub use domain::{AuthorityStatus, DomainError, DomainOptions, DomainStatus, create_domain, show};
pub use domain_files::FileError;
pub use domain_id::{DomainId, Fingerprint};
pub use handle::{AskError, DiscoveryHandle};
pub use holdings::{Holding, Holdings, MAX_WANTED, Wanted};
pub use identity::{IdentityError, NodeIdentity, PublicKey};
pub use invite::{
    DEFAULT_INVITE_LIFETIME, InviteError, InviteOptions, invite, invites, join_addresses,
};
pub use invite_store::{Invite, InviteStoreError};
pub use join_client::{JoinOptions, join};
pub use join_code::{JoinCode, JoinCodeError, MAX_ADDRESSES};
pub use join_desk::RevokedCheck;
pub use join_error::JoinError;
pub use join_protocol::Refusal;
pub use join_server::{JoinEvent, JoinServer, JoinServerConfig};
pub use libp2p::PeerId;
pub use link_test::{LinkOutcome, LinkTest, test_links};
pub use membership::{Membership, MembershipError};
pub use membership_watch::MembershipWatch;
pub use name::{MAX_NAME, Name, NameError};
pub use peer_info::{Direction, DiscoveryEvent, PeerFault, PortKind, Rejected};
pub use potluck_near::{DEFAULT_PORT, Departure, PeerInfo};
pub use reject_reason::RejectReason;
pub use renewal::{RenewalError, RenewalOptions, Renewed, renew};
pub use renewal_service::{RenewalConfig, RenewalEvent, RenewalService};
pub use secret::{BeaconKey, Secret};
pub use seek_socket::SeekConfig;
pub use service::{DiscoveryFailed, DiscoveryService, StartError, start};
pub use standing::{RenewError, Standing};
pub use tls::{CONTROL_ALPN, DATA_ALPN, HTTP_ALPN, PortTls};
