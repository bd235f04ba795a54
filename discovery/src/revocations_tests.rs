use tempfile::TempDir;

use super::*;
use crate::domain::{DomainOptions, create_domain};
use crate::identity::NodeIdentity;

struct Founder {
    dir: TempDir,
    membership: Membership,
    authority: Authority,
}

impl Founder {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = DomainOptions::new("site".parse().unwrap());
        let membership = create_domain(dir.path(), &options).unwrap();
        let authority = Authority::load(dir.path()).unwrap().unwrap();
        Self {
            dir,
            membership,
            authority,
        }
    }

    /// A second holder of the authority.
    fn copy(&self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["identity", "domain", "authority"] {
            let from = self.dir.path().join(folder);
            let to = dir.path().join(folder);
            std::fs::create_dir(&to).unwrap();
            for file in std::fs::read_dir(from).unwrap() {
                let file = file.unwrap();
                std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
            }
        }
        Self {
            membership: Membership::load(dir.path()).unwrap().unwrap(),
            authority: Authority::load(dir.path()).unwrap().unwrap(),
            dir,
        }
    }

    fn open(&self) -> Revocations {
        Revocations::open(self.dir.path(), &self.membership).unwrap()
    }

    fn revoke(&self, revocations: &Revocations, peer: PeerId) -> SignedList {
        let entry = Revocation::new("lost".parse().unwrap(), "stolen", SystemTime::now());
        let signed = revocations.revoke(&self.authority, peer, entry).unwrap();
        signed.unwrap()
    }
}

fn peer() -> PeerId {
    NodeIdentity::generate().unwrap().peer_id()
}

#[test]
fn a_revocation_lasts() {
    let (founder, lost) = (Founder::new(), peer());
    let revocations = founder.open();
    assert_eq!(revocations.stamp(), ListStamp::NONE);
    let mut watch = revocations.watch();
    let signed = founder.revoke(&revocations, lost);
    assert!(watch.has_changed().unwrap() && watch.borrow_and_update().is_revoked(&lost));
    assert!(revocations.is_revoked(&lost) && !revocations.is_revoked(&peer()));
    let again = founder.open();
    assert_eq!(again.signed(), Some(signed));
    let entry = Revocation::new("lost".parse().unwrap(), "", SystemTime::now());
    let twice = again.revoke(&founder.authority, lost, entry).unwrap();
    assert_eq!(twice, None);
}

#[test]
fn an_older_list_never_replaces_a_newer_one() {
    let (founder, member) = (Founder::new(), Founder::new());
    let revocations = founder.open();
    let first = founder.revoke(&revocations, peer());
    let second = founder.revoke(&revocations, peer());
    let member = Revocations::in_memory(&member.membership);
    let foreign = member.offer(second.clone());
    assert!(matches!(
        foreign,
        Err(RevocationError::Bad(BadList::Elsewhere))
    ));
    let member = Revocations::in_memory(&founder.membership);
    assert_eq!(member.offer(second.clone()).unwrap(), Offered::Taken);
    assert_eq!(member.offer(first).unwrap(), Offered::Known);
    assert_eq!(member.offer(second).unwrap(), Offered::Known);
    assert_eq!(member.current().entries.len(), 2);
}

#[test]
fn holders_that_revoke_at_the_same_time_lose_nobody() {
    let one = Founder::new();
    let two = one.copy();
    let (a, b) = (one.open(), two.open());
    let (x, y) = (peer(), peer());
    let (from_a, from_b) = (one.revoke(&a, x), two.revoke(&b, y));
    assert_eq!(from_a.stamp().version, from_b.stamp().version);
    assert_eq!(b.offer(from_a).unwrap(), Offered::Joined);
    assert_eq!(a.offer(from_b).unwrap(), Offered::Joined);
    // Each has all entries now; the later of the two lists stays, and nothing more is signed.
    let (from_a, from_b) = (a.signed().unwrap(), b.signed().unwrap());
    let _ = (a.offer(from_b).unwrap(), b.offer(from_a).unwrap());
    assert_eq!(a.stamp(), b.stamp());
    assert_eq!(a.stamp().version, 2);
    assert!(a.is_revoked(&x) && a.is_revoked(&y));
    // An older list with somebody that the newer lacks.
    let three = one.copy();
    std::fs::remove_file(three.dir.path().join("domain/revocations")).unwrap();
    let (c, z) = (three.open(), peer());
    let from_c = three.revoke(&c, z);
    assert!(!from_c.is_later_than(a.stamp()));
    assert_eq!(a.offer(from_c).unwrap(), Offered::Joined);
    assert!(a.is_revoked(&z));
}

#[test]
fn a_damaged_file_is_none_and_is_replaced() {
    let founder = Founder::new();
    let path = founder.dir.path().join("domain/revocations");
    std::fs::write(&path, "rubbish").unwrap();
    let revocations = founder.open();
    assert_eq!(revocations.stamp(), ListStamp::NONE);
    founder.revoke(&revocations, peer());
    assert_eq!(founder.open().stamp().version, 1);
}

#[test]
fn another_process_is_noticed() {
    let founder = Founder::new();
    let (daemon, other) = (founder.open(), founder.open());
    let (x, y) = (peer(), peer());
    founder.revoke(&other, x);
    assert!(!daemon.is_revoked(&x));
    daemon.refresh().unwrap();
    assert!(daemon.is_revoked(&x));
    founder.revoke(&other, y);
    founder.revoke(&daemon, peer());
    assert_eq!(daemon.current().entries.len(), 3);
}
