//! The effective settings.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::path::PathBuf;
use std::time::Duration;

use potluck_cache::Eviction;

use super::domain_settings::DomainSettings;
use potluck_plan::{JobLimits, JobTimes, Rate};

pub use potluck_transfer::Share;

/// Everything that a node can be told. Every field has the key of the same name.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where cache, jobs, identity and event log are.
    pub data_dir: PathBuf,
    /// Which set of defaults holds.
    pub profile: Profile,
    /// `[control]`
    pub control: Control,
    /// `[domain]`
    pub domain: DomainSettings,
    /// `[peering]`
    pub peering: Peering,
    /// `[cache]`
    pub cache: CacheSettings,
    /// `[transfer]`
    pub transfer: TransferSettings,
    /// Programs that jobs may have called when they come to an end.
    pub hooks_allowed: Vec<PathBuf>,
}

/// A set of defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// As BITS: careful with everybody's network.
    Bits,
    /// For a fast trusted LAN.
    Lan,
}

/// How the node is controlled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// The Unix socket of the daemon.
    pub socket: PathBuf,
    /// Who may call there.
    pub users: Users,
    /// Where metrics are served besides.
    pub http: Option<SocketAddr>,
}

/// Who may call on the control socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Users {
    /// Everybody where root runs the daemon, else its own user.
    Auto,
    /// Root and the user of the daemon.
    Own,
    /// Everybody, each with their own jobs.
    All,
}

/// What the node does with peers.
#[derive(Debug, Clone, PartialEq)]
pub struct Peering {
    /// Whether it has peers at all.
    pub enabled: bool,
    /// Whether it takes from peers.
    pub download: bool,
    /// Whether it gives to peers.
    pub serve: bool,
    /// Where it serves data; control and joining use the next two ports.
    pub listen: SocketAddr,
    /// Interfaces to find peers on; empty for all.
    pub interfaces: Vec<String>,
    /// The group of the beacon.
    pub beacon: Option<SocketAddrV4>,
    /// The same with IPv6.
    pub beacon6: Option<SocketAddrV6>,
    /// Peers to dial by name or address.
    pub static_peers: Vec<String>,
    /// Peers served at once.
    pub max_clients: usize,
    /// All that is served, together.
    pub max_bandwidth_served: Rate,
    /// What is given.
    pub share: Share,
    /// How much of a content the members of its swarm together compare with the origin, from
    /// 0 to 1.
    pub audit_share: f64,
    /// Entries in the peer list, at most.
    pub max_peers: usize,
    /// A peer that is silent for so long is taken off the list.
    pub peer_timeout: Duration,
    /// When peers together are slower than this the origin tops up.
    pub min_peer_rate: Rate,
    /// How long background jobs leave it to peers alone.
    pub origin_delay: Duration,
    /// Whether only jobs that ask for it use peers.
    pub jobs_must_opt_in: bool,
    /// What other nodes call this one; empty for the name of the host.
    pub node_name: String,
}

/// How much is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheSettings {
    /// All cached contents together.
    pub max_size: CacheSize,
    /// Time since the last access.
    pub max_age: Duration,
    /// How fast all contents are read again to find what the disk did not keep.
    pub scrub: Option<Rate>,
    /// What stays free of the disk that holds the data directory.
    pub min_free: MinFree,
    /// What goes when there is no room.
    pub eviction: Eviction,
}

impl Settings {
    /// What the cache is told.
    ///
    /// # Errors
    /// When the disk of the data directory, which must be there, does not say its size.
    pub fn cache_config(&self) -> io::Result<potluck_cache::Config> {
        let disk = rustix::fs::statvfs(&self.data_dir)?;
        let disk = disk.f_blocks.saturating_mul(disk.f_frsize);
        Ok(potluck_cache::Config {
            dir: self.data_dir.clone(),
            max_size: self.cache.max_size.on_disk_of(disk),
            max_age: self.cache.max_age,
            min_free: self.cache.min_free.on_disk_of(disk),
            eviction: self.cache.eviction,
        })
    }
}

/// How large the cache may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheSize {
    /// Hundredths of a percent of the disk that holds the data directory.
    Percent(u32),
    /// Bytes.
    Bytes(u64),
}

/// How much of the disk stays free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinFree {
    /// A hundredth of the disk, but not more than 1 GiB: what logs, package managers and
    /// the like need to go on does not grow with the disk for ever.
    Auto,
    /// So much.
    Size(CacheSize),
}

impl MinFree {
    /// Bytes, on a disk of this many.
    #[must_use]
    pub fn on_disk_of(self, disk: u64) -> u64 {
        match self {
            Self::Auto => (disk / 100).min(1 << 30),
            Self::Size(size) => size.on_disk_of(disk),
        }
    }
}

/// Downloads.
#[derive(Debug, Clone, PartialEq)]
pub struct TransferSettings {
    /// All downloads together.
    pub max_bandwidth: Rate,
    /// Retry and time limits.
    pub times: JobTimes,
    /// How long a job runs before the next of its level has its turn; zero: to its end.
    pub time_slice: Duration,
    /// How many jobs and files there may be.
    pub limits: JobLimits,
    /// Ranges of one file, at most.
    pub max_ranges_per_file: usize,
    /// Connections to the origin per file, at most.
    pub origin_connections: usize,
    /// Files with certificates to trust for HTTPS origins, beside the system's.
    pub ca_files: Vec<PathBuf>,
}

impl CacheSize {
    /// Bytes, on a disk of this many.
    #[must_use]
    pub fn on_disk_of(self, disk: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(hundredths) => {
                let bytes = u128::from(disk) * u128::from(hundredths) / 10_000;
                u64::try_from(bytes).unwrap_or(u64::MAX)
            }
        }
    }
}

impl Default for Settings {
    /// What the key table says again with its reasons; values here only make the
    /// struct whole before the table fills it.
    fn default() -> Self {
        Self {
            data_dir: PathBuf::new(),
            profile: Profile::Bits,
            control: Control {
                socket: PathBuf::new(),
                users: Users::Auto,
                http: None,
            },
            domain: DomainSettings::default(),
            peering: Peering {
                enabled: true,
                download: true,
                serve: true,
                listen: SocketAddr::from(([0, 0, 0, 0], 7381)),
                interfaces: Vec::new(),
                beacon: None,
                beacon6: None,
                static_peers: Vec::new(),
                max_clients: 0,
                max_bandwidth_served: Rate::ZERO,
                share: Share::Validated,
                audit_share: 0.0,
                max_peers: 0,
                peer_timeout: Duration::ZERO,
                min_peer_rate: Rate::ZERO,
                origin_delay: Duration::ZERO,
                jobs_must_opt_in: false,
                node_name: String::new(),
            },
            cache: CacheSettings {
                max_size: CacheSize::Bytes(0),
                max_age: Duration::ZERO,
                scrub: None,
                min_free: MinFree::Auto,
                eviction: Eviction::default(),
            },
            transfer: TransferSettings {
                max_bandwidth: Rate::ZERO,
                times: JobTimes::default(),
                time_slice: Duration::from_secs(300),
                limits: JobLimits::default(),
                max_ranges_per_file: 0,
                origin_connections: 0,
                ca_files: Vec::new(),
            },
            hooks_allowed: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_of_a_disk() {
        assert_eq!(CacheSize::Percent(100).on_disk_of(1_000_000), 10_000);
        assert_eq!(
            CacheSize::Percent(8_000).on_disk_of(u64::MAX),
            u64::MAX / 10 * 8 + 4
        );
        assert_eq!(CacheSize::Bytes(5).on_disk_of(0), 5);
        assert_eq!(MinFree::Auto.on_disk_of(64 << 20), (64 << 20) / 100);
        assert_eq!(MinFree::Auto.on_disk_of(10 << 40), 1 << 30);
        let size = MinFree::Size(CacheSize::Percent(1_000));
        assert_eq!(size.on_disk_of(10 << 40), 1 << 40);
    }
}
