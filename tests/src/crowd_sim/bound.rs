//! The least time in which a crowd can have a file.

use std::time::Duration;

use super::settings::HostSettings;

/// The least time for all to have `size` bytes of an origin that sends `origin_up` bit/s
/// (Kumar and Ross, Peer-Assisted File Distribution: The Minimum Distribution Time, 2006):
/// the origin sends everything once, the slowest takes everything once, and all together
/// send everything as often as there are hosts.
#[must_use]
pub fn least_time<'a>(
    size: u64,
    origin_up: u64,
    hosts: impl Iterator<Item = &'a HostSettings>,
) -> Duration {
    let (mut count, mut up, mut slowest) = (0u32, origin_up as f64, f64::INFINITY);
    for host in hosts {
        count += 1;
        up += host.gives() as f64;
        slowest = slowest.min(host.down as f64);
    }
    let bits = size as f64 * 8.0;
    let once = bits / origin_up as f64;
    let all = f64::from(count) * bits / up;
    Duration::from_secs_f64(once.max(bits / slowest).max(all))
}
