//! Who was revoked: the list itself and its bytes. `docs/protocol.md` describes them.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libp2p::PeerId;

use crate::domain_id::Fingerprint;
use crate::name::Name;

/// The most nodes that a list names: with the longest names it still fits.
pub const MAX_REVOKED: usize = 8192;
/// The longest reason, in bytes.
pub const MAX_REASON: usize = 120;
/// The longest list, in bytes: it fits the control protocol's answer with its signature.
pub(crate) const MAX_LIST: usize = 960 * 1024;

/// Begins every list, and nothing else that an authority signs.
const MAGIC: [u8; 4] = *b"PLR\x01";
/// Entries are kept this much longer than certificates need, because clocks differ.
const KEEP_SLACK: Duration = Duration::from_secs(24 * 3600);

/// One state of a domain's revocations. A later one has a higher version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RevocationList {
    /// The authority whose list this is.
    pub authority: Fingerprint,
    /// Counts the changes; 0 is the list of a domain that never revoked anybody.
    pub version: u64,
    /// When it was signed, to the second.
    pub issued: SystemTime,
    /// The revoked nodes.
    pub entries: BTreeMap<PeerId, Revocation>,
}

/// The end of one node's membership.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revocation {
    /// What the node was called.
    pub name: Name,
    /// When it was revoked, to the second.
    pub revoked_at: SystemTime,
    /// Why, as the operator wrote it; empty if nothing was written.
    pub reason: String,
}

impl RevocationList {
    /// The list of a domain that never revoked anybody.
    #[must_use]
    pub fn empty(authority: Fingerprint) -> Self {
        Self {
            authority,
            version: 0,
            issued: UNIX_EPOCH,
            entries: BTreeMap::new(),
        }
    }

    /// Whether a node was revoked.
    #[must_use]
    pub fn is_revoked(&self, peer: &PeerId) -> bool {
        self.entries.contains_key(peer)
    }

    /// Whether `other` has an entry that this list lacks and that still matters at `now`
    /// in a domain whose certificates hold for `lifetime`.
    pub(crate) fn lacks_of(&self, other: &Self, lifetime: Duration, now: SystemTime) -> bool {
        other
            .entries
            .iter()
            .any(|(peer, entry)| !self.is_revoked(peer) && entry.matters(lifetime, now))
    }

    /// The next list: all entries of both that still matter, the earlier one where both
    /// name a node.
    pub(crate) fn union(&self, other: &Self, lifetime: Duration, now: SystemTime) -> Self {
        let mut entries = self.entries.clone();
        for (peer, entry) in &other.entries {
            let kept = entries.entry(*peer).or_insert_with(|| entry.clone());
            if entry.revoked_at < kept.revoked_at {
                *kept = entry.clone();
            }
        }
        entries.retain(|_, entry| entry.matters(lifetime, now));
        Self {
            authority: self.authority,
            version: self.version.max(other.version).saturating_add(1),
            issued: to_the_second(now),
            entries,
        }
    }

    /// The bytes that are signed. Equal lists have equal bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(self.authority.as_bytes());
        bytes.extend_from_slice(&self.version.to_be_bytes());
        bytes.extend_from_slice(&seconds(self.issued).to_be_bytes());
        let count = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&count.to_be_bytes());
        for (peer, entry) in &self.entries {
            put_text(&mut bytes, &peer.to_bytes());
            bytes.extend_from_slice(&seconds(entry.revoked_at).to_be_bytes());
            put_text(&mut bytes, entry.name.as_str().as_bytes());
            put_text(&mut bytes, entry.reason.as_bytes());
        }
        bytes
    }

    /// Reads a list; `None` unless the bytes are exactly those of one.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_LIST {
            return None;
        }
        let mut rest = bytes.strip_prefix(&MAGIC)?;
        let authority = Fingerprint::from_bytes(take(&mut rest)?);
        let version = u64::from_be_bytes(take(&mut rest)?);
        let issued = time(u64::from_be_bytes(take(&mut rest)?))?;
        let count = u32::from_be_bytes(take(&mut rest)?) as usize;
        if count > MAX_REVOKED {
            return None;
        }
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            let peer = PeerId::from_bytes(take_text(&mut rest)?).ok()?;
            let revoked_at = time(u64::from_be_bytes(take(&mut rest)?))?;
            let name = std::str::from_utf8(take_text(&mut rest)?).ok()?;
            let reason = std::str::from_utf8(take_text(&mut rest)?).ok()?;
            let entry = Revocation {
                name: name.parse().ok()?,
                revoked_at,
                reason: clean_reason(reason),
            };
            entries.insert(peer, entry);
        }
        let list = Self {
            authority,
            version,
            issued,
            entries,
        };
        // Another order, an entry twice or a reason that is not clean has other bytes.
        (rest.is_empty() && list.to_bytes() == bytes).then_some(list)
    }

    /// Leaves out the words of the oldest entries until the list is short enough. Who is
    /// revoked is never left out.
    pub(crate) fn shorten(&mut self) {
        let mut oldest: Vec<_> = self.entries.iter().collect();
        oldest.sort_by_key(|(_, entry)| entry.revoked_at);
        let oldest: Vec<PeerId> = oldest.into_iter().map(|(peer, _)| *peer).collect();
        let mut over = self.to_bytes().len().saturating_sub(MAX_LIST);
        for peer in oldest {
            if over == 0 {
                return;
            }
            if let Some(entry) = self.entries.get_mut(&peer) {
                over = over.saturating_sub(entry.reason.len());
                entry.reason.clear();
            }
        }
    }
}

impl Revocation {
    /// An entry for a node that is revoked now.
    #[must_use]
    pub fn new(name: Name, reason: &str, now: SystemTime) -> Self {
        Self {
            name,
            revoked_at: to_the_second(now),
            reason: clean_reason(reason),
        }
    }

    /// Whether the node may still have a certificate, or one that it could renew: an
    /// ended one is renewed for as long again as it held.
    fn matters(&self, lifetime: Duration, now: SystemTime) -> bool {
        let keep = lifetime.saturating_mul(2) + KEEP_SLACK;
        self.revoked_at
            .checked_add(keep)
            .is_none_or(|until| now < until)
    }
}

/// What a reason is on a terminal and in a list: one short line.
fn clean_reason(text: &str) -> String {
    let mut reason = String::new();
    for c in text.trim().chars() {
        let c = if c.is_control() { ' ' } else { c };
        if reason.len() + c.len_utf8() > MAX_REASON {
            break;
        }
        reason.push(c);
    }
    reason.truncate(reason.trim_end().len());
    reason
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

fn time(seconds: u64) -> Option<SystemTime> {
    // Later times are no times: the year 9999 has room enough.
    let sane = seconds < 253_402_300_800;
    sane.then(|| UNIX_EPOCH + Duration::from_secs(seconds))
}

fn to_the_second(time: SystemTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds(time))
}

fn put_text(bytes: &mut Vec<u8>, text: &[u8]) {
    let len = u8::try_from(text.len()).unwrap_or(u8::MAX);
    bytes.push(len);
    bytes.extend_from_slice(&text[..usize::from(len)]);
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let [len] = take(rest)?;
    let (taken, after) = rest.split_at_checked(usize::from(len))?;
    *rest = after;
    Some(taken)
}

#[cfg(test)]
#[path = "revocation_list_tests.rs"]
mod tests;
