//! An authority that more than one node holds, and one that is locked.

use std::net::SocketAddr;
use std::time::Duration;

use potluck_discovery::{
    Authority, AuthorityError, DomainOptions, InviteError, InviteOptions, JoinCode, JoinError,
    JoinEvent, JoinOptions, JoinServerConfig, KeyState, Membership, Passphrase, Refusal,
    RenewalError, RenewalOptions, change_passphrase, invite, join, lock_authority, renew, show,
    unlock_authority,
};
use tempfile::TempDir;

use crate::support::{Door, Founder, PATIENCE, name};

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.to_owned().into()).unwrap()
}

fn code(dir: &TempDir, address: SocketAddr, authority: bool) -> JoinCode {
    let options = InviteOptions {
        addresses: vec![address],
        authority,
        ..InviteOptions::default()
    };
    invite(dir.path(), &options).unwrap()
}

async fn joined(code: &JoinCode, node: &str) -> (TempDir, Membership) {
    let dir = tempfile::tempdir().unwrap();
    let options = JoinOptions {
        timeout: PATIENCE,
        ..JoinOptions::new(name(node))
    };
    let membership = join(dir.path(), code, &options).await.unwrap();
    (dir, membership)
}

fn at(address: SocketAddr) -> RenewalOptions {
    RenewalOptions {
        addresses: vec![address],
        timeout: PATIENCE,
        ..RenewalOptions::default()
    }
}

fn protected() -> Founder {
    Founder::with(DomainOptions {
        passphrase: Some(passphrase("open sesame")),
        certificate_lifetime: Duration::from_secs(3600),
        ..DomainOptions::new(name("site"))
    })
}

#[tokio::test]
async fn the_second_holder_does_all_that_the_first_did() {
    let founder = Founder::new();
    let mut door = Door::open(founder.dir.path());
    let address = door.address().await;
    let (second, member) = joined(&code(&founder.dir, address, true), "second").await;
    loop {
        if let JoinEvent::Joined { authority, .. } = door.next_event().await {
            assert!(authority);
            break;
        }
    }
    let (third, _) = joined(&code(&founder.dir, address, false), "third").await;
    assert!(show(third.path()).unwrap().authority.is_none());
    assert!(!third.path().join("authority").exists());

    // Each knows of the other, and the keys are the same.
    let held = show(second.path()).unwrap().authority.unwrap();
    assert_eq!(held.fingerprint, founder.membership.fingerprint());
    assert_eq!(held.others, [founder.membership.peer_id().to_string()]);
    let kept = show(founder.dir.path()).unwrap().authority.unwrap();
    assert_eq!(kept.others, [member.peer_id().to_string()]);
    assert_eq!(held.certificate_lifetime, kept.certificate_lifetime);
    let mode = std::os::unix::fs::MetadataExt::mode;
    let key = std::fs::metadata(second.path().join("authority/ca.key")).unwrap();
    assert_eq!(mode(&key) & 0o777, 0o600);

    // The first is gone for good.
    door.stop.cancel();
    door.server.stopped().await.unwrap();
    let door = Door::open(second.path());
    let address = door.address().await;
    let renewed = renew(third.path(), &at(address)).await.unwrap();
    assert_eq!(renewed.by, Some(address));
    let (_fourth, fourth) = joined(&code(&second, address, false), "fourth").await;
    assert_eq!(fourth.domain_id(), founder.membership.domain_id());
}

#[tokio::test]
async fn a_code_for_a_member_gives_no_authority_away() {
    let founder = Founder::new();
    let door = Door::open(founder.dir.path());
    let (dir, _) = joined(&code(&founder.dir, door.address().await, false), "plain").await;
    assert!(Authority::load(dir.path()).unwrap().is_none());
    let others = show(founder.dir.path()).unwrap().authority.unwrap().others;
    assert!(others.is_empty());
}

#[tokio::test]
async fn while_it_is_locked_nobody_gets_a_certificate() {
    let founder = protected();
    let dir = founder.dir.path();
    let door = Door::open(dir);
    let address = door.address().await;
    let code = code(&founder.dir, address, false);
    let (member, _) = joined(&code, "second").await;
    assert_eq!(
        show(dir).unwrap().authority.unwrap().key,
        KeyState::Unlocked
    );

    lock_authority(dir).unwrap();
    assert_eq!(show(dir).unwrap().authority.unwrap().key, KeyState::Locked);
    let refused = invite(dir, &InviteOptions::default()).unwrap_err();
    assert!(matches!(
        refused,
        InviteError::Authority(AuthorityError::Locked(_))
    ));
    assert!(refused.to_string().contains("potluck domain unlock"));
    let error = renew(member.path(), &at(address)).await.unwrap_err();
    assert!(matches!(
        error,
        RenewalError::Refused {
            refusal: Refusal::Locked,
            ..
        }
    ));
    let own = renew(dir, &RenewalOptions::default()).await.unwrap_err();
    assert!(own.to_string().contains("potluck domain unlock"), "{own}");
    let late = tempfile::tempdir().unwrap();
    let options = JoinOptions::new(name("late"));
    let error = join(late.path(), &code, &options).await.unwrap_err();
    assert!(matches!(
        error,
        JoinError::Refused {
            refusal: Refusal::Locked,
            ..
        }
    ));

    let wrong = unlock_authority(dir, &passphrase("open barley"));
    assert!(matches!(wrong, Err(AuthorityError::WrongPassphrase)));
    unlock_authority(dir, &passphrase("open sesame")).unwrap();
    renew(member.path(), &at(address)).await.unwrap();
}

#[tokio::test]
async fn a_locked_holder_renews_at_an_unlocked_one() {
    let founder = protected();
    let door = Door::open(founder.dir.path());
    let code = code(&founder.dir, door.address().await, true);
    // The second keeps the key without a passphrase.
    let (second, _) = joined(&code, "second").await;
    lock_authority(founder.dir.path()).unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    let other = Door::with(JoinServerConfig::new(second.path(), listen));
    let address = other.address().await;
    let renewed = renew(founder.dir.path(), &at(address)).await.unwrap();
    assert_eq!(renewed.by, Some(address));
}

#[test]
fn a_passphrase_is_set_changed_and_removed() {
    let founder = Founder::new();
    let dir = founder.dir.path();
    let state = || show(dir).unwrap().authority.unwrap().key;
    assert!(matches!(
        lock_authority(dir),
        Err(AuthorityError::Unprotected)
    ));
    let (one, two) = (passphrase("one"), passphrase("two"));
    change_passphrase(dir, None, Some(&one)).unwrap();
    assert_eq!(state(), KeyState::Unlocked);
    // Being unlocked is not enough.
    for present in [None, Some(&two)] {
        let refused = change_passphrase(dir, present, Some(&two));
        assert!(matches!(refused, Err(AuthorityError::WrongPassphrase)));
    }
    change_passphrase(dir, Some(&one), Some(&two)).unwrap();
    lock_authority(dir).unwrap();
    assert!(unlock_authority(dir, &one).is_err());
    assert_eq!(state(), KeyState::Locked);
    change_passphrase(dir, Some(&two), None).unwrap();
    assert_eq!(state(), KeyState::Unprotected);
    let authority = Authority::load(dir).unwrap().unwrap();
    assert_eq!(authority.fingerprint(), founder.membership.fingerprint());
}
