//! Inviting others into the domain.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::authority::Authority;
use crate::authority_error::AuthorityError;
use crate::invite_store::{Invite, InviteStore, InviteStoreError, MAX_PLACES, Purpose};
use crate::join_code::{InviteSecret, JoinCode, MAX_ADDRESSES};

/// How long an invitation is open unless told otherwise: a day, enough to carry
/// a code to another machine, too short to lie around.
pub const DEFAULT_INVITE_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// The longest that an invitation may be open.
const MAX_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

/// How to invite.
#[derive(Debug, Clone)]
pub struct InviteOptions {
    /// How long the invitation is open: a second to 90 days.
    pub expires_in: Duration,
    /// How many nodes may join by it: 1 to 10,000.
    pub uses: u32,
    /// Whether they are to hold the authority too: to invite, renew and revoke.
    pub authority: bool,
    /// Where this node listens for those who join, likeliest first; see
    /// [`join_addresses`]. A code holds [`MAX_ADDRESSES`].
    pub addresses: Vec<SocketAddr>,
}

/// There is no invitation.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// This node cannot invite.
    #[error("this node does not hold the authority of a domain: invite on the node that made it")]
    NoAuthority,
    /// The time is too long or too short.
    #[error("an invitation is open between one second and 90 days")]
    Lifetime,
    /// The number of uses is too high or zero.
    #[error("an invitation is for 1 to {MAX_PLACES} nodes")]
    Uses,
    /// There are no random numbers.
    #[error("the system gave no random numbers for a secret")]
    NoRandomness,
    /// The authority is broken.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The invitations cannot be kept.
    #[error(transparent)]
    Store(#[from] InviteStoreError),
}

impl Default for InviteOptions {
    fn default() -> Self {
        Self {
            expires_in: DEFAULT_INVITE_LIFETIME,
            uses: 1,
            authority: false,
            addresses: Vec::new(),
        }
    }
}

/// Opens an invitation into the domain whose authority lives in `data_dir`. The
/// code is the only copy of its secret. A [`JoinServer`](crate::JoinServer) that
/// runs for `data_dir`, in whatever process, begins to listen.
pub fn invite(data_dir: &Path, options: &InviteOptions) -> Result<JoinCode, InviteError> {
    if options.expires_in < Duration::from_secs(1) || options.expires_in > MAX_LIFETIME {
        return Err(InviteError::Lifetime);
    }
    if !(1..=MAX_PLACES).contains(&options.uses) {
        return Err(InviteError::Uses);
    }
    let authority = Authority::load(data_dir)?.ok_or(InviteError::NoAuthority)?;
    let secret = InviteSecret::generate().ok_or(InviteError::NoRandomness)?;
    let now = SystemTime::now();
    let expires = now + options.expires_in;
    let purpose = match options.authority {
        true => Purpose::Authority,
        false => Purpose::Member,
    };
    InviteStore::new(data_dir).add(&secret, options.uses, purpose, expires, now)?;
    Ok(JoinCode::new(
        authority.fingerprint(),
        secret,
        expires,
        &options.addresses,
    ))
}

/// The invitations of the authority in `data_dir`, ended ones for some weeks.
pub fn invites(data_dir: &Path) -> Result<Vec<Invite>, InviteStoreError> {
    InviteStore::new(data_dir).load()
}

/// Where a node that listens on `listen` for those who join can be reached: that
/// very address, or if it is no particular one, this machine's own addresses,
/// private IPv4 first; loopback only if there is nothing else.
#[must_use]
pub fn join_addresses(listen: SocketAddr) -> Vec<SocketAddr> {
    if !listen.ip().is_unspecified() {
        return vec![listen];
    }
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let ips = interfaces.into_iter().map(|interface| interface.ip());
    let mut ips: Vec<IpAddr> = ips.filter(|ip| useful(*ip, listen.is_ipv4())).collect();
    ips.sort_by_key(|ip| (ip.is_ipv6(), !is_private(*ip)));
    ips.dedup();
    ips.truncate(MAX_ADDRESSES);
    if ips.is_empty() {
        ips.push(Ipv4Addr::LOCALHOST.into());
    }
    ips.into_iter()
        .map(|ip| SocketAddr::new(ip, listen.port()))
        .collect()
}

/// Whether another machine may reach this address as it stands. Link-local
/// addresses of IPv6 need a scope that a code cannot carry.
fn useful(ip: IpAddr, only_v4: bool) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        IpAddr::V6(ip) => !only_v4 && !ip.is_loopback() && !ip.is_unicast_link_local(),
    }
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private(),
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_authority_invites_and_within_limits() {
        let dir = tempfile::tempdir().unwrap();
        let options = InviteOptions::default();
        assert!(matches!(
            invite(dir.path(), &options),
            Err(InviteError::NoAuthority)
        ));
        let none = InviteOptions {
            uses: 0,
            ..options.clone()
        };
        assert!(matches!(invite(dir.path(), &none), Err(InviteError::Uses)));
        let long = InviteOptions {
            expires_in: Duration::MAX,
            ..options
        };
        assert!(matches!(
            invite(dir.path(), &long),
            Err(InviteError::Lifetime)
        ));
    }

    #[test]
    fn addresses_are_ones_that_can_be_reached() {
        let given: SocketAddr = "127.0.0.1:9".parse().unwrap();
        assert_eq!(join_addresses(given), [given]);
        let found = join_addresses("0.0.0.0:9".parse().unwrap());
        assert!(!found.is_empty() && found.len() <= MAX_ADDRESSES);
        assert!(
            found
                .iter()
                .all(|address| address.port() == 9 && address.is_ipv4())
        );
        let loopback = found
            .iter()
            .filter(|address| address.ip().is_loopback())
            .count();
        assert!(loopback == 0 || found.len() == 1);
    }
}
