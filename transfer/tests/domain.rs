//! The data port with the certificates of a real domain.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::{Arc, Mutex};

use potluck_content::ContentId;
use potluck_discovery::{DomainOptions, Name, Revocations, Standing, create_domain};
use potluck_plan::GovernorConfig;
use potluck_transfer::{
    DomainTrust, PeerAddress, PeerClient, PeerError, PeerServer, PeerServerConfig, Rates,
    TrafficCounts, Trust,
};
use support::memory_shelf::MemoryShelf;
use support::{blob, until};

#[tokio::test]
async fn members_are_served_and_others_are_told_why_not() {
    let content = blob(100_000, 1);
    let (id, size) = (ContentId::of(&content), content.len() as u64);
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let memberships = dirs.each_ref().map(|dir| {
        create_domain(
            dir.path(),
            &DomainOptions::new("site".parse::<Name>().unwrap()),
        )
        .unwrap()
    });
    let noted = Arc::new(Mutex::new(Vec::new()));
    let trust_of = |n: usize| -> Arc<dyn Trust> {
        let standing =
            Standing::new(&memberships[n], Revocations::in_memory(&memberships[n])).unwrap();
        let noted = Arc::clone(&noted);
        Arc::new(DomainTrust::noting(standing, move |rejected| {
            noted.lock().unwrap().push(rejected)
        }))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = PeerServer::start(
        PeerServerConfig::default(),
        listener,
        trust_of(0),
        MemoryShelf::with(&[&content]),
        Rates::new(GovernorConfig::default()),
        TrafficCounts::default(),
    )
    .unwrap();
    let at = PeerAddress {
        id: memberships[0].peer_id(),
        address: server.address(),
    };

    let member = PeerClient::new(trust_of(0), TrafficCounts::default());
    let mut body = member.get(at, &id, size, 5..10).await.unwrap();
    let mut bytes = [0; 5];
    let mut read = 0;
    while body.remaining() > 0 {
        read += body.read(&mut bytes[read..]).await.unwrap();
    }
    assert_eq!(bytes, content[5..10]);
    assert!(noted.lock().unwrap().is_empty());

    // A domain of the same name is another domain.
    let stranger = PeerClient::new(trust_of(1), TrafficCounts::default());
    let refused = stranger.get(at, &id, size, 5..10).await;
    assert!(matches!(refused.err(), Some(PeerError::NotTrusted(_))));
    until("both ends took note", || noted.lock().unwrap().len() == 2).await;
}
