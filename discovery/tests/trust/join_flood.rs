//! Crowds at the join port, and the one who was invited.

use std::net::SocketAddr;
use std::time::Duration;

use potluck_discovery::{InviteOptions, JoinCode, JoinError, JoinEvent, JoinOptions, invite, join};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::{Door, Founder, PATIENCE, name};

struct Scene {
    founder: Founder,
    door: Door,
    address: SocketAddr,
}

impl Scene {
    async fn new() -> Self {
        let founder = Founder::new();
        let door = Door::open(founder.dir.path());
        let address = door.address().await;
        Self {
            founder,
            door,
            address,
        }
    }

    fn invite(&self) -> JoinCode {
        let options = InviteOptions {
            addresses: vec![self.address],
            ..InviteOptions::default()
        };
        invite(self.founder.dir.path(), &options).unwrap()
    }

    /// Calls from another address of this machine.
    async fn call_from(&self, last: u8) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket
            .bind(SocketAddr::from(([127, 0, 0, last], 0)))
            .unwrap();
        socket.connect(self.address).await.unwrap()
    }
}

async fn joins(code: &JoinCode) -> Result<(), JoinError> {
    let dir = tempfile::tempdir().unwrap();
    let options = JoinOptions {
        timeout: PATIENCE,
        ..JoinOptions::new(name("guest"))
    };
    join(dir.path(), code, &options).await.map(drop)
}

#[tokio::test]
async fn silent_callers_from_many_addresses_keep_nobody_out() {
    let scene = Scene::new().await;
    let code = scene.invite();
    let mut crowd = Vec::new();
    for last in 2..12 {
        for _ in 0..20 {
            crowd.push(scene.call_from(last).await);
        }
    }
    joins(&code).await.unwrap();
    // Whoever is left is sent away in the end.
    for mut tcp in crowd {
        let read = tokio::time::timeout(PATIENCE, tcp.read_u8()).await;
        assert!(read.expect("the connection is closed").is_err());
    }
}

#[tokio::test]
async fn rubbish_and_half_requests_from_many_addresses_keep_nobody_out() {
    let scene = Scene::new().await;
    let code = scene.invite();
    // The beginning of a greeting, as TLS has it, and what is none.
    let beginning = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    let mut crowd = Vec::new();
    for n in 0..200_u8 {
        let mut tcp = scene.call_from(2 + n % 10).await;
        let words: &[u8] = match n % 3 {
            0 => &beginning,
            1 => b"GET / HTTP/1.1\r\n\r\n",
            _ => &[0xff; 4096],
        };
        // It may have been sent away already.
        let _ = tcp.write_all(words).await;
        crowd.push(tcp);
    }
    joins(&code).await.unwrap();
}

#[tokio::test]
async fn each_wrong_secret_is_told_and_the_right_one_works() {
    let mut scene = Scene::new().await;
    let old = scene.invite();
    std::fs::remove_file(scene.founder.dir.path().join("authority/invites.json")).unwrap();
    let right = scene.invite();
    for _ in 0..20 {
        assert!(matches!(joins(&old).await, Err(JoinError::WrongSecret)));
    }
    joins(&right).await.unwrap();
    let mut refused = 0;
    loop {
        match scene.door.next_event().await {
            JoinEvent::Refused { reason, .. } => {
                assert_eq!(reason, "no invitation there has this secret");
                refused += 1;
            }
            JoinEvent::Joined { .. } => break,
            _ => {}
        }
    }
    assert_eq!(refused, 20);
}

#[tokio::test]
async fn one_address_is_slowed_down() {
    let scene = Scene::new().await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(scene.call_from(2).await);
    }
    // Forty are let in, of whom sixteen find a place; the others are sent away at once,
    // long before the ten seconds are over.
    let gone = eventually(Duration::from_secs(8), || {
        crowd.iter().filter(|tcp| !has_hung_up(tcp)).count() <= 16
    });
    assert!(gone.await, "most are sent away");
}

/// Whether the other side has hung up by now.
fn has_hung_up(tcp: &TcpStream) -> bool {
    match tcp.try_read(&mut [0]) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

async fn eventually(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let asked = async {
        let mut pause = tokio::time::interval(Duration::from_millis(10));
        while !holds() {
            pause.tick().await;
        }
    };
    tokio::time::timeout(limit, asked).await.is_ok()
}
