//! Making a domain and saying what there is: the commands of `potluck domain`
//! that need no network. They work on the data directory, with or without a
//! daemon; a running daemon notices by a [`MembershipWatch`](crate::MembershipWatch).

use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::authority::{Authority, DEFAULT_CERTIFICATE_LIFETIME};
use crate::authority_error::AuthorityError;
use crate::authority_facts::{AuthorityFacts, KeyState};
use crate::authority_lock::unlock_authority;
use crate::domain_files::{self, FileError, FolderLock};
use crate::domain_id::{DomainId, Fingerprint};
use crate::given_files::{GivenError, GivenFiles};
use crate::identity::{IdentityError, NodeIdentity};
use crate::membership::Membership;
use crate::membership_file::MembershipError;
use crate::name::Name;
use crate::passphrase::Passphrase;
use crate::reject_reason::RejectReason;
use crate::revocation_list::Revocation;
use crate::revocations::Revocations;

/// The shortest useful life of a certificate: shorter than this, clocks that
/// differ a little turn members away.
const MIN_CERTIFICATE_LIFETIME: Duration = Duration::from_secs(60);
/// The longest that is still short lived.
const MAX_CERTIFICATE_LIFETIME: Duration = Duration::from_secs(825 * 24 * 3600);

/// How to make a domain.
#[derive(Debug, Clone)]
pub struct DomainOptions {
    /// The name of the domain.
    pub name: Name,
    /// The name of this node.
    pub node_name: Name,
    /// How long nodes' certificates hold: a minute to 825 days.
    pub certificate_lifetime: Duration,
    /// What protects the authority's key on the disk; `None`: only the rights of its
    /// file. This process has the key unlocked.
    pub passphrase: Option<Passphrase>,
}

impl DomainOptions {
    /// The defaults for a domain of this name: this machine's name, 30 days.
    #[must_use]
    pub fn new(name: Name) -> Self {
        let certificate_lifetime = DEFAULT_CERTIFICATE_LIFETIME;
        Self {
            name,
            node_name: Name::of_this_machine(),
            certificate_lifetime,
            passphrase: None,
        }
    }
}

/// What a data directory knows of a domain.
#[derive(Debug, Clone)]
pub struct DomainStatus {
    /// The domain that the node is in.
    pub membership: Option<Membership>,
    /// The authority that lives here, which need not be that domain's.
    pub authority: Option<AuthorityStatus>,
    /// The end of this node's membership, if it was revoked.
    pub revoked: Option<Revocation>,
}

/// The authority that lives in a data directory.
#[derive(Debug, Clone)]
pub struct AuthorityStatus {
    /// The name of its domain.
    pub name: Name,
    /// The id of its domain.
    pub domain_id: DomainId,
    /// The fingerprint of its certificate.
    pub fingerprint: Fingerprint,
    /// How long the certificates hold that it makes.
    pub certificate_lifetime: Duration,
    /// Whether its key can be used.
    pub key: KeyState,
    /// The ids of the other nodes that are known to hold it.
    pub others: Vec<String>,
}

/// A domain cannot be made or shown.
#[derive(Debug, thiserror::Error)]
pub enum DomainError {
    /// The node is in a domain already, and can be in one only.
    #[error("this node is in the domain {0} already")]
    AlreadyMember(Name),
    /// Another domain's authority lives here.
    #[error("this node already holds the authority of the domain {0}")]
    AuthorityExists(Name),
    /// Certificates cannot hold for that long or short.
    #[error("certificates hold between one minute and 825 days")]
    Lifetime,
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The node's key is broken.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The authority is broken.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The membership is broken.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The new certificate does not hold; nothing was written.
    #[error("the new certificate does not hold: {0}")]
    Unfit(RejectReason),
}

/// Makes a domain: its authority, and this node as its first member.
///
/// If a former call was cut off after it had written the authority, the same
/// name takes up where it ended.
pub fn create_domain(data_dir: &Path, options: &DomainOptions) -> Result<Membership, DomainError> {
    let lifetimes = MIN_CERTIFICATE_LIFETIME..=MAX_CERTIFICATE_LIFETIME;
    if !lifetimes.contains(&options.certificate_lifetime) {
        return Err(DomainError::Lifetime);
    }
    let now = SystemTime::now();
    domain_files::make_data_dir(data_dir)?;
    let _lock = FolderLock::take(data_dir)?;
    if let Some(membership) = Membership::load(data_dir)? {
        return Err(DomainError::AlreadyMember(membership.domain_name().clone()));
    }
    let found = Authority::load(data_dir)?;
    let is_new = found.is_none();
    let authority = match found {
        Some(found) if *found.name() != options.name => {
            return Err(DomainError::AuthorityExists(found.name().clone()));
        }
        Some(found) => found,
        None => Authority::create(&options.name, options.certificate_lifetime, now)?,
    };
    let identity = match NodeIdentity::load(data_dir)? {
        Some(identity) => identity,
        None => NodeIdentity::generate()?,
    };
    let certificate = authority.issue(identity.public_key(), &options.node_name, now)?;
    let ca = authority.certificate().clone();
    let membership = Membership::new(identity, certificate, ca, authority.beacon_key().clone())
        .map_err(DomainError::Unfit)?;
    if is_new {
        authority.save(data_dir, options.passphrase.as_ref())?;
        if let Some(passphrase) = &options.passphrase {
            unlock_authority(data_dir, passphrase)?;
        }
    }
    membership.save(data_dir)?;
    Ok(membership)
}

/// Says what an authority of the site's own has given.
///
/// # Errors
/// When the files make no membership.
pub fn show_given(files: &GivenFiles) -> Result<DomainStatus, GivenError> {
    Ok(DomainStatus {
        membership: Some(files.load()?),
        authority: None,
        revoked: None,
    })
}

/// Says what a data directory knows of a domain.
pub fn show(data_dir: &Path) -> Result<DomainStatus, DomainError> {
    let authority = match AuthorityFacts::load(data_dir)? {
        Some(facts) => Some(AuthorityStatus {
            domain_id: facts.fingerprint().domain_id(),
            fingerprint: facts.fingerprint(),
            certificate_lifetime: facts.settings.certificate_lifetime,
            key: facts.key_state(data_dir)?,
            name: facts.name,
            others: facts.settings.others,
        }),
        None => None,
    };
    let membership = Membership::load(data_dir)?;
    let mut revoked = None;
    if let Some(membership) = &membership {
        let list = Revocations::open(data_dir, membership)?.current();
        revoked = list.entries.get(&membership.peer_id()).cloned();
    }
    Ok(DomainStatus {
        membership,
        authority,
        revoked,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn options(name: &str) -> DomainOptions {
        DomainOptions {
            node_name: "first".parse().unwrap(),
            ..DomainOptions::new(name.parse().unwrap())
        }
    }

    #[test]
    fn a_domain_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        assert!(show(dir.path()).unwrap().membership.is_none());
        let made = create_domain(dir.path(), &options("site")).unwrap();
        let status = show(dir.path()).unwrap();
        let read = status.membership.unwrap();
        assert_eq!(read.peer_id(), made.peer_id());
        assert_eq!(read.domain_name().as_str(), "site");
        assert_eq!(read.node_name().as_str(), "first");
        assert_eq!(read.certificate_chain(), made.certificate_chain());
        assert_eq!(read.beacon_key(), made.beacon_key());
        let authority = status.authority.unwrap();
        assert_eq!(authority.domain_id, made.domain_id());
        assert_eq!(authority.certificate_lifetime, DEFAULT_CERTIFICATE_LIFETIME);
        let left = made.expires().duration_since(SystemTime::now()).unwrap();
        assert!(left > DEFAULT_CERTIFICATE_LIFETIME - Duration::from_secs(60));
    }

    #[test]
    fn private_files_are_their_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        create_domain(dir.path(), &options("site")).unwrap();
        let mode = |name: &str| dir.path().join(name).metadata().unwrap().mode() & 0o777;
        for folder in ["identity", "domain", "authority"] {
            assert_eq!(mode(folder), 0o700, "{folder}");
        }
        for file in [
            "identity/node.key",
            "domain/membership.json",
            "authority/ca.key",
            "authority/authority.json",
        ] {
            assert_eq!(mode(file), 0o600, "{file}");
        }
    }

    #[test]
    fn one_domain_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        create_domain(dir.path(), &options("site")).unwrap();
        let again = create_domain(dir.path(), &options("other"));
        assert!(matches!(again, Err(DomainError::AlreadyMember(name)) if name.as_str() == "site"));
    }

    #[test]
    fn a_creation_that_was_cut_off_is_taken_up() {
        let dir = tempfile::tempdir().unwrap();
        let made = create_domain(dir.path(), &options("site")).unwrap();
        std::fs::remove_dir_all(dir.path().join("domain")).unwrap();
        let other = create_domain(dir.path(), &options("other"));
        assert!(matches!(other, Err(DomainError::AuthorityExists(_))));
        let again = create_domain(dir.path(), &options("site")).unwrap();
        assert_eq!(again.fingerprint(), made.fingerprint());
        assert_eq!(again.peer_id(), made.peer_id());
    }

    #[test]
    fn a_damaged_or_newer_membership_is_told_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        create_domain(dir.path(), &options("site")).unwrap();
        let path = dir.path().join("domain/membership.json");
        let good = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &good[..good.len() / 2]).unwrap();
        assert!(matches!(
            Membership::load(dir.path()),
            Err(MembershipError::Damaged(_))
        ));
        std::fs::write(&path, good.replace("\"version\": 1", "\"version\": 9")).unwrap();
        let newer = Membership::load(dir.path());
        assert!(matches!(
            newer,
            Err(MembershipError::Version { found: 9, .. })
        ));
        std::fs::write(&path, good).unwrap();
        std::fs::remove_file(dir.path().join("identity/node.key")).unwrap();
        assert!(matches!(
            Membership::load(dir.path()),
            Err(MembershipError::KeyMissing(_))
        ));
    }
}
