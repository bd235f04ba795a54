//! The table of all keys: names, defaults of each profile, and what each sets.

use std::time::Duration;

use potluck_cache::Eviction;

use super::settings::{Profile, Settings, Share, Users};
use super::value::{
    Expected, Value, boolean, cache_size, choice, count, duration, hosts, http, list, listen,
    min_free, multicast, multicast6, name_patterns, optional_path, part, path, paths, rate,
    rate_or_off,
};

const DAY: Duration = Duration::from_secs(86_400);

/// One key.
pub(super) struct Key {
    /// With its section: `cache.max_age`.
    pub(super) name: &'static str,
    default: Plain,
    /// Where the profile `lan` differs.
    lan: Option<Plain>,
    /// Reads the value into its place.
    pub(super) apply: fn(&mut Settings, &Value) -> Result<(), Expected>,
}

/// A default in a form that a constant can have.
#[derive(Clone, Copy)]
enum Plain {
    Bool(bool),
    Number(u64),
    Text(&'static str),
    Nothing,
    /// Depends on who runs the node.
    DataDir,
    Socket,
}

impl Key {
    /// The default under a profile. The data directory is needed for the socket, where
    /// the session has no directory of its own for one.
    pub(super) fn default_value(&self, profile: Profile, places: &Places) -> Value {
        let plain = match (profile, self.lan) {
            (Profile::Lan, Some(lan)) => lan,
            _ => self.default,
        };
        match plain {
            Plain::Bool(value) => Value::Bool(value),
            Plain::Number(value) => Value::Number(value),
            Plain::Text(value) => Value::Text(value.to_owned()),
            Plain::Nothing => Value::List(Vec::new()),
            Plain::DataDir => Value::Text(places.data_dir.clone()),
            Plain::Socket => Value::Text(places.socket.clone()),
        }
    }
}

/// Defaults that depend on the user.
pub(super) struct Places {
    pub(super) data_dir: String,
    pub(super) socket: String,
}

/// The key of this name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The known name that a wrong one was most likely meant to be.
pub(super) fn nearest(wrong: &str) -> Option<&'static str> {
    let last = |name: &str| {
        name.rsplit('.')
            .next()
            .map(str::to_owned)
            .unwrap_or_default()
    };
    KEYS.iter()
        .map(|key| {
            // A key in the wrong section is as near as one with a slip of the pen.
            let whole = distance(wrong, key.name);
            let own = distance(&last(wrong), &last(key.name)) + 1;
            (whole.min(own), key.name)
        })
        .min()
        .filter(|(distance, name)| *distance <= 2 + last(name).len() / 4)
        .map(|(_, name)| name)
}

/// How many letters must be changed, added or taken away.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

macro_rules! key {
    ($name:literal, $default:expr, $settings:ident.$($field:ident).+ = $read:expr) => {
        key!($name, $default, None, $settings.$($field).+ = $read)
    };
    ($name:literal, $default:expr, lan $lan:expr, $settings:ident.$($field:ident).+ = $read:expr) => {
        key!($name, $default, Some($lan), $settings.$($field).+ = $read)
    };
    ($name:literal, $default:expr, $lan:expr, $settings:ident.$($field:ident).+ = $read:expr) => {
        Key {
            name: $name,
            default: $default,
            lan: $lan,
            apply: |$settings, value| {
                let read: fn(&Value) -> Result<_, Expected> = $read;
                $settings.$($field).+ = read(value)?;
                Ok(())
            },
        }
    };
}

/// Every key, in the order of the documentation.
#[rustfmt::skip]
pub(super) static KEYS: [Key; 47] = [
    key!("data_dir", Plain::DataDir, s.data_dir = path),
    key!("profile", Plain::Text("bits"), s.profile =
        |v| choice(v, &[("bits", Profile::Bits), ("lan", Profile::Lan)])),
    key!("control.socket", Plain::Socket, s.control.socket = path),
    key!("control.users", Plain::Text("auto"), s.control.users = |v| choice(v,
        &[("auto", Users::Auto), ("own", Users::Own), ("all", Users::All)])),
    key!("control.http", Plain::Text(""), s.control.http = http),
    key!("domain.certificate_file", Plain::Text(""), s.domain.certificate_file = optional_path),
    key!("domain.key_file", Plain::Text(""), s.domain.key_file = optional_path),
    key!("domain.ca_file", Plain::Text(""), s.domain.ca_file = optional_path),
    key!("domain.crl_file", Plain::Text(""), s.domain.crl_file = optional_path),
    key!("domain.names", Plain::Nothing, s.domain.names = name_patterns),
    key!("domain.beacon_key_file", Plain::Text(""), s.domain.beacon_key_file = optional_path),
    key!("peering.enabled", Plain::Bool(true), s.peering.enabled = boolean),
    key!("peering.download", Plain::Bool(true), s.peering.download = boolean),
    key!("peering.serve", Plain::Bool(true), s.peering.serve = boolean),
    key!("peering.listen", Plain::Text("0.0.0.0:7381"), s.peering.listen = listen),
    key!("peering.interfaces", Plain::Nothing, s.peering.interfaces = list),
    key!("peering.beacon", Plain::Text("239.255.73.81:7383"), s.peering.beacon = multicast),
    key!("peering.beacon6", Plain::Text("[ff12::7381:7383]:7383"), s.peering.beacon6 = multicast6),
    key!("peering.static_peers", Plain::Nothing, s.peering.static_peers = hosts),
    key!("peering.max_clients", Plain::Number(3), lan Plain::Number(64), s.peering.max_clients =
        |v| count(v, 1, 10_000)),
    key!("peering.max_bandwidth_served", Plain::Text("1 Mbps"), lan Plain::Text("unlimited"),
        s.peering.max_bandwidth_served = rate),
    key!("peering.share", Plain::Text("validated"), lan Plain::Text("downloading"), s.peering.share =
        |v| choice(v, &[("validated", Share::Validated), ("downloading", Share::Downloading)])),
    key!("peering.audit_share", Plain::Text("1%"), s.peering.audit_share = part),
    key!("peering.max_peers", Plain::Number(32), s.peering.max_peers = |v| count(v, 1, 10_000)),
    key!("peering.peer_timeout", Plain::Text("30s"), s.peering.peer_timeout =
        |v| duration(v, Duration::from_secs(2), Duration::from_secs(3600))),
    key!("peering.min_peer_rate", Plain::Text("500 KB/s"), s.peering.min_peer_rate = rate),
    key!("peering.origin_delay", Plain::Text("0s"), s.peering.origin_delay =
        |v| duration(v, Duration::ZERO, DAY * 30)),
    key!("peering.jobs_must_opt_in", Plain::Bool(false), s.peering.jobs_must_opt_in = boolean),
    key!("peering.node_name", Plain::Text(""), s.peering.node_name = node_name),
    key!("cache.max_size", Plain::Text("1%"), lan Plain::Text("20%"), s.cache.max_size = cache_size),
    key!("cache.max_age", Plain::Text("90d"), s.cache.max_age = |v| duration(v, DAY, DAY * 120)),
    key!("cache.scrub", Plain::Text("off"), lan Plain::Text("5 MB/s"), s.cache.scrub = rate_or_off),
    key!("cache.min_free", Plain::Text("auto"), s.cache.min_free = min_free),
    key!("cache.eviction", Plain::Text("lru"), lan Plain::Text("s3-fifo"), s.cache.eviction =
        |v| choice(v, &[("lru", Eviction::Lru), ("s3-fifo", Eviction::S3Fifo)])),
    key!("transfer.max_bandwidth", Plain::Text("unlimited"), s.transfer.max_bandwidth = rate),
    key!("transfer.retry_delay", Plain::Text("600s"), s.transfer.times.retry_delay =
        |v| duration(v, Duration::from_secs(5), DAY * 90)),
    key!("transfer.no_progress_timeout", Plain::Text("14d"), s.transfer.times.no_progress_timeout =
        |v| duration(v, Duration::ZERO, DAY * 999)),
    key!("transfer.inactivity_timeout", Plain::Text("90d"), s.transfer.times.inactivity_timeout =
        |v| duration(v, DAY, DAY * 999)),
    key!("transfer.max_download_time", Plain::Text("90d"), s.transfer.times.max_download_time =
        |v| duration(v, Duration::from_secs(1), DAY * 24_855)),
    key!("transfer.time_slice", Plain::Text("5m"), s.transfer.time_slice =
        |v| duration(v, Duration::ZERO, DAY)),
    key!("transfer.max_jobs_per_machine", Plain::Number(300), s.transfer.limits.jobs_per_machine =
        |v| count(v, 1, 1_000_000)),
    key!("transfer.max_jobs_per_user", Plain::Number(60), s.transfer.limits.jobs_per_user =
        |v| count(v, 1, 1_000_000)),
    key!("transfer.max_files_per_job", Plain::Number(200), s.transfer.limits.files_per_job =
        |v| count(v, 1, 100_000)),
    key!("transfer.max_ranges_per_file", Plain::Number(500), s.transfer.max_ranges_per_file =
        |v| count(v, 1, 100_000)),
    key!("transfer.origin_connections", Plain::Number(4), s.transfer.origin_connections =
        |v| count(v, 1, 64)),
    key!("transfer.ca_files", Plain::Nothing, s.transfer.ca_files = paths),
    key!("hooks.allowed", Plain::Nothing, s.hooks_allowed = paths),
];

fn node_name(value: &Value) -> Result<String, Expected> {
    match value {
        Value::Text(text) if text.len() <= 64 && !text.contains(char::is_control) => {
            Ok(text.clone())
        }
        _ => Err("write a name of at most 64 bytes, or \"\" for the name of the host".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_fits_its_key() {
        let places = Places {
            data_dir: "/d".into(),
            socket: "/s".into(),
        };
        for profile in [Profile::Bits, Profile::Lan] {
            let mut settings = Settings::default();
            for key in &KEYS {
                let value = key.default_value(profile, &places);
                assert_eq!((key.apply)(&mut settings, &value), Ok(()), "{}", key.name);
            }
            assert_eq!(
                settings.peering.max_clients,
                if profile == Profile::Lan { 64 } else { 3 }
            );
        }
    }

    #[test]
    fn slips_are_understood() {
        assert_eq!(nearest("peering.max_client"), Some("peering.max_clients"));
        assert_eq!(nearest("cache.maxsize"), Some("cache.max_size"));
        assert_eq!(nearest("max_age"), Some("cache.max_age"));
        assert_eq!(nearest("peering.colour"), None);
    }
}
