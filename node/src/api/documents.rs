//! What the API says, apart from jobs and events.

use std::time::SystemTime;

use potluck_discovery::{BeaconStats, DomainStatus, KeyState, MembershipSource};
use serde::{Deserialize, Serialize};

use crate::config::Settings;
use crate::peering::own_revocation;
use crate::stats::Stats;
use crate::timestamp::rfc3339;

/// The daemon itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatusDocument {
    /// The version of the program.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// The user it runs as.
    pub uid: u32,
    /// Where its data is.
    pub data_dir: String,
    /// The domain that it is in.
    pub domain: Option<String>,
    /// What keeps it from taking part in the domain as configured.
    pub trouble: Option<String>,
}

/// A peer of the list. Times are RFC 3339.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PeerDocument {
    /// Its PeerId.
    pub id: String,
    /// What it goes by.
    pub name: String,
    /// Where it serves data.
    pub address: String,
    /// `connected`: only authenticated peers are on the list.
    pub state: String,
    /// Since when it is on the list.
    pub since: String,
    /// When its certificate ends.
    pub certificate_expires: String,
    /// Bytes of content received from it since this node started.
    pub bytes_from: u64,
    /// Bytes of content given to it since this node started.
    pub bytes_to: u64,
}

/// Somebody who was refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RejectedDocument {
    /// The PeerId it claims.
    pub id: Option<String>,
    /// The name it claims.
    pub name: Option<String>,
    /// The other end of the connection.
    pub address: String,
    /// `control` or `data`.
    pub port: String,
    /// `inbound` when it called us, `outbound` when we called it.
    pub direction: String,
    /// Why, in words.
    pub reason: String,
    /// When it happened last.
    pub at: String,
    /// How often.
    pub count: u64,
}

/// The counters. Sizes are bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatsDocument {
    /// What jobs got from peers.
    pub bytes_from_peers: u64,
    /// What jobs got from origins.
    pub bytes_from_origin: u64,
    /// What jobs got from the own cache.
    pub bytes_from_cache: u64,
    /// What arrived and was of no use.
    pub bytes_discarded: u64,
    /// Of what origins gave, what nobody sent: it came packed and was less.
    #[serde(default)]
    pub bytes_unpacked: u64,
    /// What was given to peers.
    pub bytes_served: u64,
    /// Of manifests that lie beside files.
    #[serde(default)]
    pub bytes_of_manifests: u64,
    /// Of the discarded, bytes of origins that pieces of members were compared with.
    #[serde(default)]
    pub bytes_audited: u64,
    /// Pieces that were asked of origins in the place of a late member of the swarm.
    #[serde(default)]
    pub claims_taken_over: u64,
    /// Downloads that were completed.
    pub jobs_completed: u64,
    /// Peers on the list now.
    pub peers: u64,
    /// When counting began.
    pub since: String,
    /// What became of the datagrams on the subnet since discovery began; nothing where
    /// the node has no peers.
    pub beacon: Option<BeaconDocument>,
}

/// The counters of the beacon.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BeaconDocument {
    /// Datagrams sent.
    pub sent: u64,
    /// Datagrams of other nodes that were taken in.
    pub accepted: u64,
    /// Ignored: not in the form of a beacon.
    pub malformed: u64,
    /// Ignored: of another domain, or forged.
    pub foreign: u64,
    /// Ignored unopened: there were too many.
    pub flooded: u64,
    /// Ignored: too old, or a clock is wrong.
    pub stale: u64,
    /// Ignored: heard before.
    pub replayed: u64,
    /// Ignored: the sender is not on the same subnet.
    pub off_link: u64,
    /// Nodes that are heard, this one included.
    pub population: u64,
}

/// The domain that the node is in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DomainDocument {
    /// Whether it is in one.
    pub member: bool,
    /// Its name.
    pub name: Option<String>,
    /// Its short id.
    pub id: Option<String>,
    /// The fingerprint of its authority.
    pub fingerprint: Option<String>,
    /// What this node is called in it.
    pub node: Option<String>,
    /// Who this node is in it.
    pub peer_id: Option<String>,
    /// When this node's certificate ends.
    pub certificate_expires: Option<String>,
    /// Whether this node holds the authority, and so can invite.
    pub authority: bool,
    /// Whether the authority's key can be used: `unprotected` by a passphrase,
    /// `unlocked`, or `locked`.
    #[serde(default)]
    pub authority_key: Option<String>,
    /// The PeerIds of the other nodes that are known to hold the authority.
    #[serde(default)]
    pub authority_others: Vec<String>,
    /// The file of the authority's certificate, if it is not Potluck's own.
    #[serde(default)]
    pub authority_file: Option<String>,
    /// What keeps the node from taking part.
    pub trouble: Option<String>,
}

/// An invitation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InvitationDocument {
    /// The join code.
    pub code: String,
    /// When it ends.
    pub expires: String,
    /// How many nodes may use it.
    pub uses: u32,
    /// Whether they will hold the authority too.
    #[serde(default)]
    pub authority: bool,
}

impl StatsDocument {
    /// What the counters say since a day, or of all time.
    #[must_use]
    pub fn of(stats: &Stats, since: Option<SystemTime>, peers: u64) -> Self {
        let (counts, since) = stats.sum(since);
        Self {
            bytes_from_peers: counts.got.peers,
            bytes_from_origin: counts.got.origin,
            bytes_from_cache: counts.got.cache,
            bytes_discarded: counts.got.discarded,
            bytes_unpacked: counts.got.unpacked,
            bytes_served: counts.bytes_served,
            bytes_of_manifests: counts.bytes_of_manifests,
            bytes_audited: counts.bytes_audited,
            claims_taken_over: counts.claims_taken_over,
            jobs_completed: counts.jobs_completed,
            peers,
            since,
            beacon: None,
        }
    }

    /// The same with the counters of the beacon.
    #[must_use]
    pub fn with_beacon(mut self, beacon: Option<BeaconStats>) -> Self {
        self.beacon = beacon.map(BeaconDocument::from);
        self
    }
}

impl From<BeaconStats> for BeaconDocument {
    fn from(stats: BeaconStats) -> Self {
        Self {
            sent: stats.sent,
            accepted: stats.accepted,
            malformed: stats.malformed,
            foreign: stats.foreign,
            flooded: stats.flooded,
            stale: stats.stale,
            replayed: stats.replayed,
            off_link: stats.off_link,
            population: stats.population,
        }
    }
}

impl DomainDocument {
    /// What there is of a domain where these settings say. Touches the disk.
    ///
    /// # Errors
    /// Why it cannot be read, in words.
    pub fn read(settings: &Settings, trouble: Option<String>) -> Result<Self, String> {
        let words = |error: &dyn std::fmt::Display| error.to_string();
        match settings.membership_source() {
            MembershipSource::DataDir(data_dir) => {
                let status = potluck_discovery::show(&data_dir).map_err(|error| words(&error))?;
                Ok(Self::of(&status, trouble))
            }
            MembershipSource::Given(files) => {
                let status =
                    potluck_discovery::show_given(&files).map_err(|error| words(&error))?;
                Ok(Self {
                    authority_file: Some(files.ca.display().to_string()),
                    ..Self::of(&status, trouble)
                })
            }
        }
    }

    /// What a data directory says of the domain.
    #[must_use]
    pub fn of(status: &DomainStatus, trouble: Option<String>) -> Self {
        let member = status.membership.as_ref();
        Self {
            member: member.is_some(),
            name: member.map(|member| member.domain_name().to_string()),
            id: member.map(|member| member.domain_id().to_string()),
            fingerprint: member.map(|member| member.fingerprint().to_string()),
            node: member.map(|member| member.node_name().to_string()),
            peer_id: member.map(|member| member.peer_id().to_string()),
            certificate_expires: member.map(|member| rfc3339(member.expires())),
            authority: status.authority.is_some(),
            authority_key: status.authority.as_ref().map(|authority| {
                let state = match authority.key {
                    KeyState::Unprotected => "unprotected",
                    KeyState::Unlocked => "unlocked",
                    KeyState::Locked => "locked",
                };
                state.to_owned()
            }),
            authority_others: status
                .authority
                .as_ref()
                .map(|authority| authority.others.clone())
                .unwrap_or_default(),
            authority_file: None,
            trouble: trouble.or_else(|| status.revoked.as_ref().map(own_revocation)),
        }
    }
}
