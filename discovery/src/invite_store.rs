//! The invitations that are open, as the authority keeps them.
//!
//! Only hashes of the secrets are kept: who reads the file cannot join with it.
//! Every change is made under the lock of the authority's folder, so two nodes
//! that use the last place at once are told apart even by two processes.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::authority;
use crate::domain_files::{self, FileError, FolderLock};
use crate::hex::{hex, unhex};
use crate::join_code::InviteSecret;
use crate::membership_file::version_of;

const FILE: &str = "invites.json";
const VERSION: u32 = 1;
/// The most invitations that are kept; the list is read whole.
const MAX_INVITES: usize = 1000;
/// The most nodes that may join by all of them together. With this many node
/// ids the file is still well below the size at which it would not be read.
pub(crate) const MAX_PLACES: u32 = 10_000;
/// How long an ended invitation is remembered, to say "expired" and not "unknown".
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 3600);

/// The invitations of the authority in one data directory.
#[derive(Debug, Clone)]
pub(crate) struct InviteStore {
    folder: PathBuf,
}

/// One invitation, as it is shown and kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// The BLAKE3 hash of its secret, in hexadecimal digits.
    secret_hash: String,
    /// When it was made, in seconds since 1970.
    created: u64,
    /// When it ends, in seconds since 1970.
    expires: u64,
    /// How many nodes may join by it.
    uses: u32,
    /// The ids of the nodes that did.
    used_by: Vec<String>,
    /// Whether they get the authority's key too.
    #[serde(default)]
    authority: bool,
}

/// What an invitation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To become a member.
    Member,
    /// To become a member and hold the authority.
    Authority,
}

/// Why an invitation lets nobody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InviteRefusal {
    Unknown,
    Expired,
    UsedUp,
}

/// The invitations cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum InviteStoreError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is damaged.
    #[error("{0} is damaged: remove it, and the open invitations with it")]
    Damaged(PathBuf),
    /// The file is of another version.
    #[error("{path} is of version {found}; this program knows version {VERSION}")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// There are too many.
    #[error(
        "too many invitations are open: {MAX_INVITES} for {MAX_PLACES} nodes in all; \
         wait until some have ended"
    )]
    TooMany,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    invites: Vec<Invite>,
}

impl InviteStore {
    /// The store of the authority that lives in `data_dir`.
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self {
            folder: data_dir.join(authority::FOLDER),
        }
    }

    /// Opens an invitation.
    pub(crate) fn add(
        &self,
        secret: &InviteSecret,
        uses: u32,
        purpose: Purpose,
        expires: SystemTime,
        now: SystemTime,
    ) -> Result<(), InviteStoreError> {
        let _lock = FolderLock::take(&self.folder)?;
        let mut invites = self.load()?;
        invites.retain(|invite| invite.expires().is_none_or(|end| end + REMEMBERED > now));
        let places = invites.iter().map(|invite| invite.ids_at_most(now));
        let places = places.fold(uses, u32::saturating_add);
        if invites.len() >= MAX_INVITES || places > MAX_PLACES {
            return Err(InviteStoreError::TooMany);
        }
        invites.push(Invite {
            secret_hash: hex(hash(secret).as_bytes()),
            created: seconds(now),
            expires: seconds(expires),
            uses,
            used_by: Vec::new(),
            authority: purpose == Purpose::Authority,
        });
        self.save(invites)
    }

    /// Takes one place of the invitation with this secret for `node`. A node
    /// that comes again, because the answer was lost, takes no second place.
    pub(crate) fn redeem(
        &self,
        secret: &InviteSecret,
        node: &str,
        now: SystemTime,
    ) -> Result<Result<Purpose, InviteRefusal>, InviteStoreError> {
        let _lock = FolderLock::take(&self.folder)?;
        let mut invites = self.load()?;
        let hash = hash(secret);
        let Some(invite) = invites.iter_mut().find(|invite| invite.is_for(&hash)) else {
            return Ok(Err(InviteRefusal::Unknown));
        };
        if seconds(now) >= invite.expires {
            return Ok(Err(InviteRefusal::Expired));
        }
        if invite.used_by.iter().any(|id| id == node) {
            return Ok(Ok(invite.purpose()));
        }
        if invite.places_left() == 0 {
            return Ok(Err(InviteRefusal::UsedUp));
        }
        invite.used_by.push(node.to_owned());
        let purpose = invite.purpose();
        self.save(invites)?;
        Ok(Ok(purpose))
    }

    /// All invitations that are remembered.
    pub(crate) fn load(&self) -> Result<Vec<Invite>, InviteStoreError> {
        let path = self.path();
        let Some(bytes) = domain_files::read(&path)? else {
            return Ok(Vec::new());
        };
        let Some(found) = version_of(&bytes) else {
            return Err(InviteStoreError::Damaged(path));
        };
        if found != VERSION {
            return Err(InviteStoreError::Version { path, found });
        }
        let stored: Result<Stored, _> = serde_json::from_slice(&bytes);
        stored
            .map(|stored| stored.invites)
            .map_err(|_| InviteStoreError::Damaged(path))
    }

    fn save(&self, invites: Vec<Invite>) -> Result<(), InviteStoreError> {
        let stored = Stored {
            version: VERSION,
            invites,
        };
        let json = serde_json::to_vec(&stored).expect("texts and numbers are JSON");
        Ok(domain_files::write_private(&self.path(), &json)?)
    }

    fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }
}

impl Invite {
    /// When it ends; `None` for a time that no clock can show.
    #[must_use]
    pub fn expires(&self) -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(Duration::from_secs(self.expires))
    }

    /// How many nodes may join by it in all.
    #[must_use]
    pub fn uses(&self) -> u32 {
        self.uses
    }

    /// What it is for.
    pub(crate) fn purpose(&self) -> Purpose {
        match self.authority {
            true => Purpose::Authority,
            false => Purpose::Member,
        }
    }

    /// The ids of the nodes that joined by it.
    #[must_use]
    pub fn used_by(&self) -> &[String] {
        &self.used_by
    }

    /// How many more nodes may join by it, if it has not ended.
    #[must_use]
    pub fn places_left(&self) -> u32 {
        self.uses
            .saturating_sub(u32::try_from(self.used_by.len()).unwrap_or(u32::MAX))
    }

    /// Whether someone may join by it at `now`. One that is used up stays open
    /// to its own nodes, which may not have had their answer.
    pub(crate) fn is_live(&self, now: SystemTime) -> bool {
        seconds(now) < self.expires
    }

    /// How many node ids it may come to hold.
    fn ids_at_most(&self, now: SystemTime) -> u32 {
        if self.is_live(now) {
            self.uses
        } else {
            self.uses - self.places_left()
        }
    }

    fn is_for(&self, wanted: &blake3::Hash) -> bool {
        // `Hash` compares in constant time.
        unhex(&self.secret_hash).is_some_and(|bytes| blake3::Hash::from_bytes(bytes) == *wanted)
    }
}

fn hash(secret: &InviteSecret) -> blake3::Hash {
    blake3::derive_key("potluck 2026 invitation secret", secret.expose()).into()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBER: Purpose = Purpose::Member;
    const HOUR: Duration = Duration::from_secs(3600);

    fn store() -> (tempfile::TempDir, InviteStore, InviteSecret) {
        let dir = tempfile::tempdir().unwrap();
        let store = InviteStore::new(dir.path());
        domain_files::make_folder(&store.folder).unwrap();
        (dir, store, InviteSecret::from_bytes([3; 12]))
    }

    #[test]
    fn places_run_out_and_time_does() {
        let (_dir, store, secret) = store();
        let now = UNIX_EPOCH + HOUR * 400_000;
        store.add(&secret, 2, MEMBER, now + HOUR, now).unwrap();
        let other = InviteSecret::from_bytes([4; 12]);
        assert_eq!(
            store.redeem(&other, "a", now).unwrap(),
            Err(InviteRefusal::Unknown)
        );
        assert_eq!(store.redeem(&secret, "a", now).unwrap(), Ok(MEMBER));
        assert_eq!(
            store.redeem(&secret, "a", now).unwrap(),
            Ok(MEMBER),
            "the same node again"
        );
        assert_eq!(store.redeem(&secret, "b", now).unwrap(), Ok(MEMBER));
        assert_eq!(
            store.redeem(&secret, "c", now).unwrap(),
            Err(InviteRefusal::UsedUp)
        );
        assert_eq!(
            store.redeem(&secret, "c", now + HOUR).unwrap(),
            Err(InviteRefusal::Expired)
        );
    }

    #[test]
    fn the_file_holds_no_secret() {
        let (_dir, store, secret) = store();
        store
            .add(
                &secret,
                1,
                MEMBER,
                SystemTime::now() + HOUR,
                SystemTime::now(),
            )
            .unwrap();
        let text = std::fs::read_to_string(store.path()).unwrap();
        assert!(!text.contains(&hex(secret.expose())));
    }

    #[test]
    fn many_at_once_never_share_a_place() {
        let (_dir, store, secret) = store();
        let now = SystemTime::now();
        store.add(&secret, 3, MEMBER, now + HOUR, now).unwrap();
        let joined = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..8)
                .map(|i| {
                    let (store, secret) = (&store, &secret);
                    scope.spawn(move || store.redeem(secret, &i.to_string(), now))
                })
                .collect();
            tries
                .into_iter()
                .map(|t| t.join().unwrap().unwrap())
                .collect::<Vec<_>>()
        });
        assert_eq!(joined.iter().filter(|result| result.is_ok()).count(), 3);
    }

    #[test]
    fn the_largest_file_is_still_read() {
        let (_dir, store, secret) = store();
        let now = UNIX_EPOCH + HOUR * 400_000;
        store
            .add(&secret, MAX_PLACES, MEMBER, now + HOUR, now)
            .unwrap();
        let mut invites = store.load().unwrap();
        let id = "1".repeat(52);
        invites[0].used_by = vec![id; MAX_PLACES as usize];
        let ended = Invite {
            expires: 0,
            uses: 0,
            used_by: Vec::new(),
            ..invites[0].clone()
        };
        invites.resize(MAX_INVITES, ended);
        store.save(invites).unwrap();
        assert_eq!(store.load().unwrap().len(), MAX_INVITES);
        let more = store.add(
            &InviteSecret::from_bytes([5; 12]),
            1,
            MEMBER,
            now + HOUR,
            now,
        );
        assert!(matches!(more, Err(InviteStoreError::TooMany)));
    }

    #[test]
    fn old_invitations_are_forgotten() {
        let (_dir, store, secret) = store();
        let now = UNIX_EPOCH + HOUR * 400_000;
        store.add(&secret, 1, MEMBER, now + HOUR, now).unwrap();
        store
            .add(
                &InviteSecret::from_bytes([5; 12]),
                1,
                MEMBER,
                now + HOUR * 999,
                now + HOUR * 800,
            )
            .unwrap();
        assert_eq!(store.load().unwrap().len(), 1);
    }
}
