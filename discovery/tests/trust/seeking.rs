//! Finding who lets in without knowing where.

use std::net::{SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicU16, Ordering};

use potluck_discovery::{
    InviteOptions, JoinCode, JoinError, JoinOptions, JoinServerConfig, RenewalOptions, SeekConfig,
    invite, join, renew,
};
use tokio::net::UdpSocket;

use crate::support::{Door, Founder, PATIENCE, name};

/// A group of its own for each test, on a port that no other process uses.
fn config() -> SeekConfig {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let number = std::process::id() as u16 % 5000 * 8 + NEXT.fetch_add(1, Ordering::Relaxed);
    let [high, low] = number.to_be_bytes();
    let group = SocketAddrV4::new([239, 255, high, low].into(), 20_000 + number % 10_000);
    SeekConfig {
        group: Some(group),
        group6: None,
        listen: "127.0.0.1".parse().unwrap(),
        interfaces: Vec::new(),
    }
}

fn door(founder: &Founder, config: &SeekConfig) -> Door {
    let listen = "127.0.0.1:0".parse().unwrap();
    Door::with(JoinServerConfig {
        seek: Some(config.clone()),
        ..JoinServerConfig::new(founder.dir.path(), listen)
    })
}

fn invite_to(founder: &Founder, addresses: &[SocketAddr]) -> JoinCode {
    let options = InviteOptions {
        addresses: addresses.to_vec(),
        ..InviteOptions::default()
    };
    invite(founder.dir.path(), &options).unwrap()
}

fn seeking(config: &SeekConfig) -> JoinOptions {
    JoinOptions {
        seek: Some(config.clone()),
        timeout: PATIENCE,
        ..JoinOptions::new(name("second"))
    }
}

#[tokio::test]
async fn a_code_without_addresses_finds_its_inviter() {
    let (founder, stranger, config) = (Founder::new(), Founder::new(), config());
    // Another domain on the same subnet has nothing to say.
    let _other = door(&stranger, &config);
    let opened = door(&founder, &config);
    let code = invite_to(&founder, &[]);
    let dir = tempfile::tempdir().unwrap();
    let joined = join(dir.path(), &code, &seeking(&config)).await.unwrap();
    assert_eq!(joined.domain_id(), founder.membership.domain_id());

    // The place is remembered: nobody needs to be asked about it.
    let renewed = renew(dir.path(), &RenewalOptions::default()).await.unwrap();
    assert_eq!(renewed.by, Some(opened.address().await));
}

#[tokio::test]
async fn an_inviter_that_moved_is_found_while_its_old_address_is_silent() {
    let (founder, config) = (Founder::new(), config());
    // It takes connections and never says a word.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let code = invite_to(&founder, &[silent.local_addr().unwrap()]);
    let _opened = door(&founder, &config);
    let dir = tempfile::tempdir().unwrap();
    join(dir.path(), &code, &seeking(&config)).await.unwrap();
}

#[tokio::test]
async fn a_member_whose_holder_moved_renews_all_the_same() {
    let (founder, config) = (Founder::new(), config());
    let opened = door(&founder, &config);
    let dir = tempfile::tempdir().unwrap();
    let code = invite_to(&founder, &[opened.address().await]);
    join(dir.path(), &code, &seeking(&config)).await.unwrap();
    opened.stop.cancel();
    opened.server.stopped().await.unwrap();
    let moved = door(&founder, &config);
    let options = RenewalOptions {
        seek: Some(config),
        timeout: PATIENCE,
        ..RenewalOptions::default()
    };
    let renewed = renew(dir.path(), &options).await.unwrap();
    assert_eq!(renewed.by, Some(moved.address().await));
}

#[tokio::test]
async fn nobody_there_is_told() {
    let (founder, config) = (Founder::new(), config());
    let code = invite_to(&founder, &[]);
    let dir = tempfile::tempdir().unwrap();
    let error = join(dir.path(), &code, &seeking(&config))
        .await
        .unwrap_err();
    assert!(matches!(error, JoinError::NotFound), "{error:?}");
}

#[tokio::test]
async fn a_false_answer_leads_to_a_door_that_proves_nothing() {
    let (founder, imposter, config) = (Founder::new(), Founder::new(), config());
    let trap = Door::open(imposter.dir.path());
    let trap = trap.address().await;
    // It answers every question, whatever the fingerprint.
    let liar = shared(&config);
    let lying = tokio::spawn(async move {
        let mut question = [0; 100];
        loop {
            let (length, from) = liar.recv_from(&mut question).await.unwrap();
            assert_eq!(length, 36);
            let mut answer = b"PLS\x02".to_vec();
            answer.extend_from_slice(&question[20..36]);
            answer.extend_from_slice(&trap.port().to_be_bytes());
            liar.send_to(&answer, from).await.unwrap();
        }
    });
    let code = invite_to(&founder, &[]);
    let dir = tempfile::tempdir().unwrap();
    let error = join(dir.path(), &code, &seeking(&config))
        .await
        .unwrap_err();
    assert!(
        matches!(error, JoinError::FingerprintMismatch { .. }),
        "{error:?}"
    );
    // With the inviter there too, the lie does no harm.
    let _opened = door(&founder, &config);
    join(dir.path(), &code, &seeking(&config)).await.unwrap();
    lying.abort();
}

#[tokio::test]
async fn a_flood_of_questions_gets_few_answers() {
    let (founder, config) = (Founder::new(), config());
    let opened = door(&founder, &config);
    opened.address().await;
    let asker = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let local = "127.0.0.1".parse().unwrap();
    let options = socket2::SockRef::from(&asker);
    options.set_multicast_if_v4(&local).unwrap();
    let mut question = b"PLS\x01".to_vec();
    question.extend_from_slice(founder.membership.fingerprint().as_bytes());
    question.extend_from_slice(&[7; 16]);
    let mut answers = 0;
    let mut buffer = [0; 100];
    // First until it listens, then as fast as it goes.
    while answers == 0 {
        asker
            .send_to(&question, config.group.unwrap())
            .await
            .unwrap();
        let answer = asker.recv_from(&mut buffer);
        let wait = std::time::Duration::from_millis(20);
        if let Ok(received) = tokio::time::timeout(wait, answer).await {
            assert!(received.unwrap().0 <= question.len());
            answers += 1;
        }
    }
    let begun = std::time::Instant::now();
    for _ in 0..2_000 {
        asker
            .send_to(&question, config.group.unwrap())
            .await
            .unwrap();
        while asker.try_recv_from(&mut buffer).is_ok() {
            answers += 1;
        }
    }
    let allowed = 21 + begun.elapsed().as_millis() / 100;
    assert!(answers <= allowed, "{answers} answers, {allowed} allowed");
}

fn shared(config: &SeekConfig) -> UdpSocket {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket
        .bind(&std::net::SocketAddr::from(config.group.unwrap()).into())
        .unwrap();
    let local = "127.0.0.1".parse().unwrap();
    socket
        .join_multicast_v4(config.group.unwrap().ip(), &local)
        .unwrap();
    UdpSocket::from_std(socket.into()).unwrap()
}
