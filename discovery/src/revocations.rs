//! The revocations that a node knows of: kept, compared and replaced.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::SystemTime;

use libp2p::PeerId;
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;

use crate::authority::Authority;
use crate::authority_error::AuthorityError;
use crate::domain_files::{self, FileError, FolderLock, Stamp};
use crate::domain_id::Fingerprint;
use crate::membership::Membership;
use crate::membership_file::FOLDER;
use crate::revocation_list::{MAX_REVOKED, Revocation, RevocationList};
use crate::signed_list::{BadList, ListStamp, SignedList};

const FILE: &str = "revocations";

/// The revocations of one domain as this node knows them. Clones are handles on the same
/// ones. What touches the disk blocks: not for the runtime's threads.
#[derive(Clone)]
pub struct Revocations {
    inner: Arc<Inner>,
}

struct Inner {
    /// Where they are kept; `None` keeps them in memory.
    data_dir: Option<PathBuf>,
    authority: CertificateDer<'static>,
    /// This node.
    me: PeerId,
    current: watch::Sender<Arc<RevocationList>>,
    signed: RwLock<Option<SignedList>>,
    /// The file that was read or written last. Held while the list is changed.
    file: Mutex<Option<Stamp>>,
}

/// What became of a list that was offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offered {
    /// It took the place of an older one.
    Taken,
    /// The one that is there is as new or newer.
    Known,
    /// This node holds the authority, and has joined both lists to a newer one, so that
    /// nobody's revocation is lost.
    Joined,
}

/// Revocations cannot be taken or made.
#[derive(Debug, thiserror::Error)]
pub enum RevocationError {
    /// The list does not count.
    #[error("the list of revocations does not count: {0}")]
    Bad(#[from] BadList),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The authority cannot sign.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The authority is another domain's.
    #[error("the authority on this node is another domain's")]
    AnotherDomain,
    /// There is no authority here.
    #[error("the domain's authority is not on this node: revoke where the domain was made")]
    NoAuthority,
    /// The node is this one.
    #[error("a node cannot revoke itself: do it on another one that holds the authority")]
    Myself,
    /// There is no more room.
    #[error(
        "{MAX_REVOKED} nodes are revoked already: entries go when their certificates have ended"
    )]
    Full,
}

impl Revocations {
    /// Opens what is kept in `data_dir` for the domain of this membership. A file that is
    /// damaged or another domain's counts as none: the peers have the list too.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn open(data_dir: &Path, membership: &Membership) -> Result<Self, FileError> {
        let revocations = Self::new(Some(data_dir), membership);
        revocations.refresh()?;
        Ok(revocations)
    }

    /// Revocations that begin with none and are forgotten at the end.
    #[must_use]
    pub fn in_memory(membership: &Membership) -> Self {
        Self::new(None, membership)
    }

    fn new(data_dir: Option<&Path>, membership: &Membership) -> Self {
        let authority = membership.authority_certificate().clone();
        let empty = RevocationList::empty(Fingerprint::of(&authority));
        Self {
            inner: Arc::new(Inner {
                data_dir: data_dir.map(Path::to_owned),
                authority,
                current: watch::Sender::new(Arc::new(empty)),
                me: membership.peer_id(),
                signed: RwLock::default(),
                file: Mutex::default(),
            }),
        }
    }

    /// The list in force.
    #[must_use]
    pub fn current(&self) -> Arc<RevocationList> {
        Arc::clone(&self.inner.current.borrow())
    }

    /// Follows the list: the latest one at any time.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<RevocationList>> {
        self.inner.current.subscribe()
    }

    /// Whether a node was revoked.
    #[must_use]
    pub fn is_revoked(&self, peer: &PeerId) -> bool {
        self.inner.current.borrow().is_revoked(peer)
    }

    /// The list in force with its signature; `None` if nobody was ever revoked.
    #[must_use]
    pub fn signed(&self) -> Option<SignedList> {
        let signed = self.inner.signed.read();
        signed.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The place of the list in force in the order of lists.
    #[must_use]
    pub fn stamp(&self) -> ListStamp {
        self.signed()
            .map_or(ListStamp::NONE, |signed| signed.stamp())
    }

    /// Whether this node holds the domain's authority and so brings lists together.
    #[must_use]
    pub fn can_sign(&self) -> bool {
        self.authority().is_some()
    }

    /// Takes a list if it is the authority's and newer than the one in force, which it
    /// replaces once it lies safely on the disk.
    ///
    /// # Errors
    /// When the list does not count or cannot be kept.
    pub fn offer(&self, offered: SignedList) -> Result<Offered, RevocationError> {
        offered.verify(&self.inner.authority)?;
        let _lock = self.lock()?;
        let mut file = self.file();
        self.read_again(&mut file)?;
        let Some(known) = self.signed() else {
            self.put(&mut file, offered)?;
            return Ok(Offered::Taken);
        };
        if known.stamp() == offered.stamp() {
            return Ok(Offered::Known);
        }
        let is_later = offered.is_later_than(known.stamp());
        let (later, earlier) = if is_later {
            (&offered, &known)
        } else {
            (&known, &offered)
        };
        if let Some(authority) = self.authority() {
            let (lifetime, now) = (authority.certificate_lifetime(), SystemTime::now());
            let (later, earlier) = (later.list(), earlier.list());
            if later.lacks_of(earlier, lifetime, now) {
                let union = later.union(earlier, lifetime, now);
                self.put(&mut file, sign(union, &authority)?)?;
                return Ok(Offered::Joined);
            }
        }
        if !is_later {
            return Ok(Offered::Known);
        }
        self.put(&mut file, offered)?;
        Ok(Offered::Taken)
    }

    /// Revokes a node: for good, and for its key, whatever certificates it has. `None`
    /// when it is revoked already.
    ///
    /// # Errors
    /// When the list cannot be signed or kept.
    pub fn revoke(
        &self,
        authority: &Authority,
        peer: PeerId,
        revocation: Revocation,
    ) -> Result<Option<SignedList>, RevocationError> {
        if *authority.certificate() != self.inner.authority {
            return Err(RevocationError::AnotherDomain);
        }
        let _lock = self.lock()?;
        if peer == self.inner.me {
            return Err(RevocationError::Myself);
        }
        let mut file = self.file();
        self.read_again(&mut file)?;
        let list = self.current();
        if list.is_revoked(&peer) {
            return Ok(None);
        }
        let mut addition = RevocationList::empty(list.authority);
        addition.entries.insert(peer, revocation);
        let lifetime = authority.certificate_lifetime();
        let next = list.union(&addition, lifetime, SystemTime::now());
        if next.entries.len() > MAX_REVOKED {
            return Err(RevocationError::Full);
        }
        let signed = sign(next, authority)?;
        self.put(&mut file, signed.clone())?;
        Ok(Some(signed))
    }

    /// Revokes a node with the authority that lives in the same data directory.
    ///
    /// # Errors
    /// When there is none, or the list cannot be signed or kept.
    pub fn revoke_here(
        &self,
        peer: PeerId,
        revocation: Revocation,
    ) -> Result<Option<SignedList>, RevocationError> {
        let authority = match &self.inner.data_dir {
            Some(data_dir) => Authority::load(data_dir)?,
            None => None,
        };
        let authority = authority.ok_or(RevocationError::NoAuthority)?;
        self.revoke(&authority, peer, revocation)
    }

    /// Reads the file again if another process has changed it.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn refresh(&self) -> Result<(), FileError> {
        self.read_again(&mut self.file())
    }

    fn read_again(&self, seen: &mut Option<Stamp>) -> Result<(), FileError> {
        let Some(path) = self.path() else {
            return Ok(());
        };
        let file = Stamp::of(&path);
        if file == *seen {
            return Ok(());
        }
        *seen = file;
        let Some(bytes) = domain_files::read(&path)? else {
            return Ok(());
        };
        let read = SignedList::from_file(&bytes).and_then(|signed| {
            signed.verify(&self.inner.authority)?;
            Ok(signed)
        });
        match read {
            Ok(signed) => {
                if signed.is_later_than(self.stamp()) {
                    self.publish(signed);
                }
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "kept revocations do not count");
            }
        }
        Ok(())
    }

    /// Keeps a list, and only then lets it count.
    fn put(&self, seen: &mut Option<Stamp>, signed: SignedList) -> Result<(), FileError> {
        if let Some(path) = self.path() {
            domain_files::write_private(&path, &signed.to_file())?;
            *seen = Stamp::of(&path);
        }
        self.publish(signed);
        Ok(())
    }

    fn publish(&self, signed: SignedList) {
        let list = Arc::clone(signed.list());
        let current = self.inner.signed.write();
        *current.unwrap_or_else(PoisonError::into_inner) = Some(signed);
        self.inner.current.send_replace(list);
    }

    fn authority(&self) -> Option<Authority> {
        let found = Authority::load(self.inner.data_dir.as_ref()?);
        let authority = found.ok().flatten()?;
        (*authority.certificate() == self.inner.authority).then_some(authority)
    }

    /// The right to change the file, among all processes.
    fn lock(&self) -> Result<Option<FolderLock>, FileError> {
        let data_dir = self.inner.data_dir.as_deref();
        data_dir.map(FolderLock::take).transpose()
    }

    fn path(&self) -> Option<PathBuf> {
        let data_dir = self.inner.data_dir.as_ref()?;
        Some(data_dir.join(FOLDER).join(FILE))
    }

    fn file(&self) -> MutexGuard<'_, Option<Stamp>> {
        let file = self.inner.file.lock();
        file.unwrap_or_else(PoisonError::into_inner)
    }
}

fn sign(mut list: RevocationList, authority: &Authority) -> Result<SignedList, AuthorityError> {
    list.shorten();
    SignedList::sign(list, authority)
}

impl std::fmt::Debug for Revocations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = self.current();
        write!(f, "Revocations({}: {})", list.version, list.entries.len())
    }
}

#[cfg(test)]
#[path = "revocations_tests.rs"]
mod tests;
