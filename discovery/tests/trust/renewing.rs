//! Renewing a certificate at the join port, and every way in which it fails.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use potluck_discovery::{
    DomainOptions, InviteOptions, JoinEvent, JoinOptions, JoinServerConfig, Membership, PeerId,
    Refusal, RenewalConfig, RenewalError, RenewalEvent, RenewalOptions, RenewalService, Validity,
    invite, join, renew,
};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::{Door, Founder, PATIENCE, name};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A node that joined at the door.
async fn member(founder: &Founder, address: SocketAddr) -> (TempDir, Membership) {
    let options = InviteOptions {
        addresses: vec![address],
        ..InviteOptions::default()
    };
    let code = invite(founder.dir.path(), &options).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let options = JoinOptions::new(name("second"));
    let membership = join(dir.path(), &code, &options).await.unwrap();
    (dir, membership)
}

/// Replaces a member's certificate by another of the authority's.
fn reissue(founder: &Founder, dir: &TempDir, not_before: SystemTime, not_after: SystemTime) {
    let membership = Membership::load(dir.path()).unwrap().unwrap();
    let validity = Validity {
        not_before,
        not_after,
    };
    let key = membership.identity().unwrap().public_key();
    let made = founder
        .authority()
        .issue_for(key, membership.node_name(), validity)
        .unwrap();
    let path = dir.path().join("domain/membership.json");
    let bytes = std::fs::read(&path).unwrap();
    let mut stored: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    stored["certificate"] = pem::encode(&pem::Pem::new("CERTIFICATE", made.to_vec())).into();
    std::fs::write(&path, stored.to_string()).unwrap();
}

fn at_once() -> RenewalOptions {
    RenewalOptions {
        timeout: PATIENCE,
        ..RenewalOptions::default()
    }
}

async fn refusal(dir: &TempDir) -> Refusal {
    let before = std::fs::read(dir.path().join("domain/membership.json")).unwrap();
    let error = renew(dir.path(), &at_once()).await.unwrap_err();
    let after = std::fs::read(dir.path().join("domain/membership.json")).unwrap();
    assert_eq!(before, after, "a failure changes nothing");
    match error {
        RenewalError::Refused { refusal, .. } => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_member_renews_where_it_joined() {
    let founder = Founder::new();
    let mut door = Door::open(founder.dir.path());
    let address = door.address().await;
    let (dir, joined) = member(&founder, address).await;
    let now = SystemTime::now();
    reissue(&founder, &dir, now - DAY, now + DAY);

    let renewed = renew(dir.path(), &at_once()).await.unwrap();
    assert_eq!(renewed.by, Some(address));
    let read = Membership::load(dir.path()).unwrap().unwrap();
    assert_eq!(read.expires(), renewed.membership.expires());
    assert!(read.expires() > now + 29 * DAY);
    assert_eq!(read.peer_id(), joined.peer_id());
    assert_eq!(read.node_name(), joined.node_name());
    assert_eq!(read.beacon_key(), founder.membership.beacon_key());
    loop {
        if let JoinEvent::Renewed {
            peer_id, expires, ..
        } = door.next_event().await
        {
            assert_eq!((peer_id, expires), (joined.peer_id(), read.expires()));
            break;
        }
    }
}

#[tokio::test]
async fn who_holds_the_authority_renews_alone() {
    let founder = Founder::new();
    let now = SystemTime::now();
    reissue(&founder, &founder.dir, now - DAY, now + DAY);
    let renewed = renew(founder.dir.path(), &at_once()).await.unwrap();
    assert_eq!(renewed.by, None);
    let read = Membership::load(founder.dir.path()).unwrap().unwrap();
    assert_eq!(read.peer_id(), founder.membership.peer_id());
    assert!(read.expires() > now + 29 * DAY);
}

#[tokio::test]
async fn an_ended_certificate_is_renewed_for_as_long_as_it_had_held() {
    let founder = Founder::new();
    let door = Door::open(founder.dir.path());
    let (dir, _) = member(&founder, door.address().await).await;
    let now = SystemTime::now();
    // The authority itself did not exist two days ago; what counts is the time.
    let minute = Duration::from_secs(60);
    reissue(&founder, &dir, now - 40 * minute, now - 10 * minute);
    renew(dir.path(), &at_once()).await.unwrap();
    reissue(&founder, &dir, now - 40 * minute, now - 30 * minute);
    assert_eq!(refusal(&dir).await, Refusal::TooLate);
    // Issued while a clock was ahead.
    reissue(&founder, &dir, now + 10 * minute, now + 40 * minute);
    let renewed = renew(dir.path(), &at_once()).await.unwrap();
    assert!(renewed.membership.not_before() <= now);
}

#[tokio::test]
async fn a_revoked_member_gets_nothing() {
    let founder = Founder::new();
    let door = Door::open(founder.dir.path());
    let (dir, joined) = member(&founder, door.address().await).await;
    door.stop.cancel();
    door.server.stopped().await.unwrap();

    let gone: PeerId = joined.peer_id();
    let listen = "127.0.0.1:0".parse().unwrap();
    let config = JoinServerConfig {
        revoked: Arc::new(move |id| *id == gone),
        ..JoinServerConfig::new(founder.dir.path(), listen)
    };
    let door = Door::with(config);
    let options = RenewalOptions {
        addresses: vec![door.address().await],
        ..at_once()
    };
    let error = renew(dir.path(), &options).await.unwrap_err();
    assert!(error.to_string().contains("revoked"), "{error}");
}

#[tokio::test]
async fn nobody_there_is_told_with_its_place() {
    let founder = Founder::new();
    let door = Door::open(founder.dir.path());
    let address = door.address().await;
    let (dir, _) = member(&founder, address).await;
    door.stop.cancel();
    door.server.stopped().await.unwrap();
    let error = renew(dir.path(), &at_once()).await.unwrap_err();
    assert!(error.to_string().contains(&address.to_string()), "{error}");

    let nobody = tempfile::tempdir().unwrap();
    let error = renew(nobody.path(), &at_once()).await.unwrap_err();
    assert!(matches!(error, RenewalError::NotAMember), "{error}");
}

#[tokio::test]
async fn another_domain_at_the_old_address_gets_no_request() {
    let founder = Founder::new();
    let door = Door::open(founder.dir.path());
    let (dir, _) = member(&founder, door.address().await).await;
    door.stop.cancel();
    door.server.stopped().await.unwrap();
    let imposter = Founder::new();
    let other = Door::open(imposter.dir.path());
    let options = RenewalOptions {
        addresses: vec![other.address().await],
        ..at_once()
    };
    let error = renew(dir.path(), &options).await.unwrap_err();
    assert!(
        error.to_string().contains("fingerprint mismatch"),
        "{error}"
    );
}

#[tokio::test]
async fn the_service_renews_when_it_is_time_and_goes_on_when_nobody_answers() {
    let options = DomainOptions {
        certificate_lifetime: Duration::from_secs(60),
        ..DomainOptions::new(name("brief"))
    };
    let founder = Founder::with(options);
    let door = Door::open(founder.dir.path());
    let address = door.address().await;
    let (dir, joined) = member(&founder, address).await;
    // Three quarters of its life are over.
    let now = SystemTime::now();
    let second = Duration::from_secs(1);
    reissue(&founder, &dir, now - 30 * second, now + 10 * second);
    let (sender, mut events) = mpsc::channel(16);
    let config = RenewalConfig {
        data_dir: dir.path().to_owned(),
        options: at_once(),
        seed: 1,
    };
    let stop = CancellationToken::new();
    let service = RenewalService::start(config, stop.clone(), sender);
    let event = tokio::time::timeout(PATIENCE, events.recv()).await;
    match event.unwrap().unwrap() {
        RenewalEvent::Renewed { expires, by } => {
            assert!(expires > now + 50 * second);
            assert_eq!(by, address.to_string());
        }
        other => panic!("{other:?}"),
    }

    door.stop.cancel();
    door.server.stopped().await.unwrap();
    reissue(&founder, &dir, now - 30 * second, now + 10 * second);
    service.refresh();
    let event = tokio::time::timeout(PATIENCE, events.recv()).await;
    match event.unwrap().unwrap() {
        RenewalEvent::Failed { reason, next, .. } => {
            assert!(reason.contains(&address.to_string()), "{reason}");
            assert!(next > SystemTime::now() - 5 * second);
        }
        other => panic!("{other:?}"),
    }
    // Back at the same place, it is found again.
    let door = Door::with(JoinServerConfig::new(founder.dir.path(), address));
    door.address().await;
    loop {
        let event = tokio::time::timeout(PATIENCE, events.recv()).await;
        if let RenewalEvent::Renewed { .. } = event.unwrap().unwrap() {
            break;
        }
    }
    let read = Membership::load(dir.path()).unwrap().unwrap();
    assert_eq!(read.peer_id(), joined.peer_id());
    stop.cancel();
    service.stopped().await.unwrap();
}
