//! From an invitation to a handshake, and every way in which it fails.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use potluck_discovery::{
    DomainOptions, InviteOptions, JoinCode, JoinCodeError, JoinError, JoinEvent, JoinOptions,
    Membership, MembershipWatch, PortTls, create_domain, invite, invites, join, show,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::support::{Door, Founder, PATIENCE, name};

fn invite_to(founder: &Founder, address: SocketAddr) -> JoinCode {
    let options = InviteOptions {
        addresses: vec![address],
        ..InviteOptions::default()
    };
    invite(founder.dir.path(), &options).unwrap()
}

async fn open_door(founder: &Founder) -> (Door, SocketAddr) {
    let door = Door::open(founder.dir.path());
    let address = door.address().await;
    (door, address)
}

fn options(node: &str) -> JoinOptions {
    JoinOptions {
        timeout: PATIENCE,
        ..JoinOptions::new(name(node))
    }
}

/// Every file with its bytes, to see that nothing changed.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let shown = path.display().to_string();
        if path.is_dir() {
            found.extend(contents(&path));
            found.insert(shown, Vec::new());
        } else {
            found.insert(shown, std::fs::read(&path).unwrap());
        }
    }
    found
}

/// Tries to join with an empty data directory, which must stay so.
async fn fails(code: &JoinCode) -> JoinError {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("data");
    let error = join(&missing, code, &options("late")).await.unwrap_err();
    assert!(!missing.exists(), "a failure leaves nothing behind");
    error
}

async fn handshake(server: &Membership, client: &Membership, control: bool) {
    let port = if control {
        PortTls::control
    } else {
        PortTls::data
    };
    let (server_tls, client_tls) = (port(server).unwrap(), port(client).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accept = async {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut stream = TlsAcceptor::from(server_tls.server_config())
            .accept(tcp)
            .await
            .unwrap();
        let now = SystemTime::now();
        let peer = server_tls
            .check_server_side(stream.get_ref().1, now)
            .unwrap();
        stream.write_all(b"welcome").await.unwrap();
        stream.shutdown().await.unwrap();
        peer
    };
    let dial = async {
        let tcp = TcpStream::connect(address).await.unwrap();
        let connector = TlsConnector::from(client_tls.client_config());
        let mut stream = connector
            .connect(client_tls.server_name(), tcp)
            .await
            .unwrap();
        let now = SystemTime::now();
        let peer = client_tls
            .check_client_side(stream.get_ref().1, now)
            .unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "welcome");
        let suite = stream
            .get_ref()
            .1
            .negotiated_cipher_suite()
            .unwrap()
            .suite();
        assert_eq!(suite, rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
        peer
    };
    let (seen_by_server, seen_by_client) = tokio::join!(accept, dial);
    assert_eq!(seen_by_server.peer_id, client.peer_id());
    assert_eq!(seen_by_server.name, *client.node_name());
    assert_eq!(seen_by_server.expires, client.expires());
    assert_eq!(seen_by_client.peer_id, server.peer_id());
}

#[tokio::test]
async fn create_invite_join_and_meet() {
    let founder = Founder::new();
    let mut door = Door::open(founder.dir.path());
    // The node runs in no domain and gains one.
    let dir = tempfile::tempdir().unwrap();
    let mut watch = MembershipWatch::new(dir.path());
    assert!(matches!(watch.check(), Some(Ok(None))));
    assert!(watch.check().is_none());

    invite(founder.dir.path(), &InviteOptions::default()).unwrap();
    let address = door.address().await;
    assert!(matches!(door.next_event().await, JoinEvent::Listening(at) if at == address));
    let text = invite_to(&founder, address).to_text();
    let joined = join(dir.path(), &text.parse().unwrap(), &options("second"))
        .await
        .unwrap();

    let read = watch.check().unwrap().unwrap().unwrap();
    assert!(watch.check().is_none());
    assert_eq!(read.peer_id(), joined.peer_id());
    assert_eq!(read.domain_name().as_str(), "site");
    assert_eq!(read.node_name().as_str(), "second");
    assert_eq!(read.domain_id(), founder.membership.domain_id());
    assert_eq!(read.beacon_key(), founder.membership.beacon_key());
    assert_ne!(read.peer_id(), founder.membership.peer_id());
    assert!(show(dir.path()).unwrap().authority.is_none());
    let mode = std::os::unix::fs::MetadataExt::mode;
    for private in ["identity/node.key", "domain/membership.json"] {
        let meta = std::fs::metadata(dir.path().join(private)).unwrap();
        assert_eq!(mode(&meta) & 0o777, 0o600, "{private}");
    }
    match door.next_event().await {
        JoinEvent::Joined {
            name,
            peer_id,
            expires,
            ..
        } => {
            assert_eq!(name.as_str(), "second");
            assert_eq!(peer_id, joined.peer_id());
            assert_eq!(expires, joined.expires());
        }
        other => panic!("{other:?}"),
    }
    for control in [false, true] {
        handshake(&founder.membership, &read, control).await;
        handshake(&read, &founder.membership, control).await;
    }
}

#[tokio::test]
async fn an_invitation_is_used_once_but_its_node_may_ask_again() {
    let founder = Founder::new();
    let (_door, address) = open_door(&founder).await;
    let code = invite_to(&founder, address);
    let dir = tempfile::tempdir().unwrap();
    let first = join(dir.path(), &code, &options("second")).await.unwrap();
    assert!(matches!(fails(&code).await, JoinError::UsedUp));
    let again = join(dir.path(), &code, &options("second")).await.unwrap();
    assert_eq!(again.peer_id(), first.peer_id());
    let used: Vec<_> = invites(founder.dir.path()).unwrap();
    assert_eq!(
        used.last().unwrap().used_by(),
        [first.peer_id().to_string()]
    );
}

#[tokio::test]
async fn joining_again_mends_a_damaged_membership() {
    let founder = Founder::new();
    let (_door, address) = open_door(&founder).await;
    let dir = tempfile::tempdir().unwrap();
    let code = invite_to(&founder, address);
    let first = join(dir.path(), &code, &options("second")).await.unwrap();
    std::fs::write(dir.path().join("domain/membership.json"), b"{").unwrap();
    assert!(Membership::load(dir.path()).is_err());
    join(dir.path(), &code, &options("second")).await.unwrap();
    let mended = Membership::load(dir.path()).unwrap().unwrap();
    assert_eq!(mended.peer_id(), first.peer_id());
}

#[tokio::test]
async fn one_place_many_at_once() {
    let founder = Founder::new();
    let (_door, address) = open_door(&founder).await;
    let options_of = InviteOptions {
        uses: 2,
        addresses: vec![address],
        ..InviteOptions::default()
    };
    let code = invite(founder.dir.path(), &options_of).unwrap();
    let mut tries = tokio::task::JoinSet::new();
    for index in 0..6 {
        let code = code.clone();
        tries.spawn(async move {
            let dir = tempfile::tempdir().unwrap();
            join(dir.path(), &code, &options(&format!("n{index}")))
                .await
                .is_ok()
        });
    }
    let joined = tries.join_all().await;
    assert_eq!(joined.into_iter().filter(|joined| *joined).count(), 2);
}

#[tokio::test]
async fn a_wrong_secret() {
    let founder = Founder::new();
    let (mut door, address) = open_door(&founder).await;
    let code = invite_to(&founder, address);
    // The store forgets: the code is sound, its secret unknown.
    std::fs::remove_file(founder.dir.path().join("authority/invites.json")).unwrap();
    assert!(matches!(fails(&code).await, JoinError::WrongSecret));
    let refused = loop {
        if let JoinEvent::Refused { reason, .. } = door.next_event().await {
            break reason;
        }
    };
    assert_eq!(refused, "no invitation there has this secret");
}

#[tokio::test]
async fn an_expired_code_and_an_invitation_that_was_ended() {
    let founder = Founder::new();
    let (_door, address) = open_door(&founder).await;
    let brief = InviteOptions {
        expires_in: Duration::from_secs(1),
        addresses: vec![address],
        ..InviteOptions::default()
    };
    let code = invite(founder.dir.path(), &brief).unwrap();
    while code.expires() > SystemTime::now() {
        tokio::task::yield_now().await;
    }
    assert!(matches!(fails(&code).await, JoinError::Expired));

    // The new node's clock is behind: the inviting node says it.
    let code = invite_to(&founder, address);
    let path = founder.dir.path().join("authority/invites.json");
    let seconds = |time: SystemTime| {
        time.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    let past = SystemTime::now() - Duration::from_secs(60);
    let text = std::fs::read_to_string(&path).unwrap();
    let ended = text.replace(
        &seconds(code.expires()).to_string(),
        &seconds(past).to_string(),
    );
    assert_ne!(ended, text);
    std::fs::write(&path, ended).unwrap();
    assert!(matches!(fails(&code).await, JoinError::Expired));
}

#[test]
fn cut_short_and_mistyped() {
    let founder = Founder::new();
    let text = invite_to(&founder, "127.0.0.1:1".parse().unwrap()).to_text();
    assert_eq!(
        text[..text.len() - 4].parse::<JoinCode>(),
        Err(JoinCodeError::CutShort)
    );
    let last = if text.ends_with('0') { "8" } else { "0" };
    let wrong = format!("{}{last}", &text[..text.len() - 1]);
    assert_eq!(wrong.parse::<JoinCode>(), Err(JoinCodeError::Mistyped));
}

#[tokio::test]
async fn someone_in_between_gets_no_secret() {
    let founder = Founder::new();
    let imposter = Founder::new();
    let (mut door, address) = open_door(&imposter).await;
    let code = invite_to(&founder, address);
    let error = fails(&code).await;
    assert!(matches!(error, JoinError::FingerprintMismatch { address: at } if at == address));
    assert!(error.to_string().contains("fingerprint mismatch"));
    // The imposter saw a handshake break off, no request.
    let refused = loop {
        if let JoinEvent::Refused { reason, .. } = door.next_event().await {
            break reason;
        }
    };
    assert!(!refused.contains("secret"), "{refused}");
}

#[tokio::test]
async fn a_wrong_address_before_the_right_one_does_no_harm() {
    let founder = Founder::new();
    let (_door, address) = open_door(&founder).await;
    let imposter = Founder::new();
    let (_other_door, other) = open_door(&imposter).await;
    let closed: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let addresses = vec![closed, other, address];
    let code = invite(
        founder.dir.path(),
        &InviteOptions {
            addresses,
            ..InviteOptions::default()
        },
    );
    let dir = tempfile::tempdir().unwrap();
    join(dir.path(), &code.unwrap(), &options("second"))
        .await
        .unwrap();
}

#[tokio::test]
async fn unreachable_tells_every_address() {
    let founder = Founder::new();
    let addresses: Vec<SocketAddr> = vec![
        "127.0.0.1:1".parse().unwrap(),
        "127.0.0.2:1".parse().unwrap(),
    ];
    let options = InviteOptions {
        addresses,
        ..InviteOptions::default()
    };
    let code = invite(founder.dir.path(), &options).unwrap();
    let error = fails(&code).await;
    assert!(
        matches!(&error, JoinError::Unreachable { tried } if tried.len() == 2),
        "{error:?}"
    );
    let told = error.to_string();
    assert!(
        told.contains("127.0.0.1:1") && told.contains("127.0.0.2:1"),
        "{told}"
    );
    let bare = invite(founder.dir.path(), &InviteOptions::default()).unwrap();
    assert!(matches!(fails(&bare).await, JoinError::NotFound));
}

#[tokio::test]
async fn one_domain_at_a_time_and_nothing_changes() {
    let founder = Founder::new();
    let (_door, address) = open_door(&founder).await;
    let code = invite_to(&founder, address);
    let other = tempfile::tempdir().unwrap();
    create_domain(other.path(), &DomainOptions::new(name("other"))).unwrap();
    let before = contents(other.path());
    let error = join(other.path(), &code, &options("x")).await.unwrap_err();
    assert!(matches!(error, JoinError::AlreadyMember(domain) if domain.as_str() == "other"));
    assert_eq!(contents(other.path()), before);
}

#[tokio::test]
async fn the_port_is_open_as_long_as_the_authority_lives_here() {
    let dir = tempfile::tempdir().unwrap();
    let mut door = Door::open(dir.path());
    assert!(door.server.address().borrow().is_none());
    let options = DomainOptions::new(name("site"));
    create_domain(dir.path(), &options).unwrap();
    door.server.refresh();
    let address = door.address().await;
    TcpStream::connect(address).await.unwrap();
    // A member without the authority has no such port.
    std::fs::remove_dir_all(dir.path().join("domain")).unwrap();
    door.server.refresh();
    let mut open = door.server.address();
    let closed = tokio::time::timeout(PATIENCE, open.wait_for(Option::is_none)).await;
    closed.expect("it closes when the membership ends").unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    while door.next_event().await != JoinEvent::Closed {}
    door.stop.cancel();
    tokio::time::timeout(PATIENCE, door.server.stopped())
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn rubbish_and_idlers_do_not_keep_others_out() {
    let founder = Founder::new();
    let (mut door, address) = open_door(&founder).await;
    let mut idlers = Vec::new();
    for _ in 0..10 {
        idlers.push(TcpStream::connect(address).await.unwrap());
    }
    let mut rude = TcpStream::connect(address).await.unwrap();
    rude.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let refused = loop {
        if let JoinEvent::Refused { reason, .. } = door.next_event().await {
            break reason;
        }
    };
    assert_eq!(refused, "it does not speak TLS");
    let code = invite_to(&founder, address);
    let dir = tempfile::tempdir().unwrap();
    join(dir.path(), &code, &options("second")).await.unwrap();
}
