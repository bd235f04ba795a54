//! Leaving a domain.

use potluck_discovery::{
    DomainOptions, InviteOptions, JoinOptions, LeaveError, Membership, NodeIdentity, create_domain,
    invite, join, leave, show,
};

use crate::support::{Door, Founder, name};

#[tokio::test]
async fn who_left_is_somebody_else_when_it_comes_back() {
    let founder = Founder::new();
    let door = Door::open(founder.dir.path());
    let options = InviteOptions {
        addresses: vec![door.address().await],
        uses: 2,
        ..InviteOptions::default()
    };
    let code = invite(founder.dir.path(), &options).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("cache"), "stays").unwrap();
    let options = JoinOptions::new(name("second"));
    let first = join(dir.path(), &code, &options).await.unwrap();
    leave(dir.path(), false).unwrap();
    assert!(Membership::load(dir.path()).unwrap().is_none());
    assert!(NodeIdentity::load(dir.path()).unwrap().is_none());
    let left: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["cache"]);
    assert!(matches!(
        leave(dir.path(), false),
        Err(LeaveError::NotAMember)
    ));
    let second = join(dir.path(), &code, &options).await.unwrap();
    assert_ne!(first.peer_id(), second.peer_id());
}

#[test]
fn the_only_holder_leaves_by_force_alone() {
    let founder = Founder::new();
    let dir = founder.dir.path();
    let refused = leave(dir, false).unwrap_err();
    assert!(matches!(refused, LeaveError::OnlyHolder(_)));
    assert!(refused.to_string().contains("--force"));
    assert!(show(dir).unwrap().membership.is_some());
    leave(dir, true).unwrap();
    let status = show(dir).unwrap();
    assert!(status.membership.is_none() && status.authority.is_none());
    // Free for another domain.
    create_domain(dir, &DomainOptions::new(name("other"))).unwrap();
}

#[test]
fn a_damaged_membership_can_be_left() {
    let founder = Founder::new();
    let dir = founder.dir.path();
    for file in ["domain/membership.json", "authority/ca.pem"] {
        std::fs::write(dir.join(file), "rubbish").unwrap();
    }
    assert!(leave(dir, false).is_err());
    leave(dir, true).unwrap();
    assert!(show(dir).unwrap().membership.is_none());
}
