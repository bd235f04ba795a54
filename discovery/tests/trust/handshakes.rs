//! Handshakes that come to nothing, and what each end learns.

use std::time::SystemTime;

use potluck_discovery::{CONTROL_ALPN, DATA_ALPN, PortTls, RejectReason};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::support::{Founder, Papers, member_params, provider, stranger_client};

#[tokio::test]
async fn plain_text_and_silence_and_old_tls() {
    let founder = Founder::new();
    let data = PortTls::data(&founder.membership).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();

    let mut caller = TcpStream::connect(address).await.unwrap();
    caller
        .write_all(b"GET / HTTP/1.1\r\nHost: potluck\r\n\r\n")
        .await
        .unwrap();
    let (tcp, _) = listener.accept().await.unwrap();
    let error = TlsAcceptor::from(data.server_config())
        .accept(tcp)
        .await
        .unwrap_err();
    assert_eq!(RejectReason::from_io(&error), RejectReason::NotTls);

    let caller = TcpStream::connect(address).await.unwrap();
    let (tcp, _) = listener.accept().await.unwrap();
    drop(caller);
    let error = TlsAcceptor::from(data.server_config())
        .accept(tcp)
        .await
        .unwrap_err();
    assert_eq!(RejectReason::from_io(&error), RejectReason::Closed);

    // A server that greets in plain text.
    let dial = TcpStream::connect(address);
    let (dialled, accepted) = tokio::join!(dial, listener.accept());
    let mut far = accepted.unwrap().0;
    far.write_all(b"220 mail.example.org ESMTP\r\n")
        .await
        .unwrap();
    let connector = TlsConnector::from(data.client_config());
    let error = connector
        .connect(data.server_name(), dialled.unwrap())
        .await
        .unwrap_err();
    assert_eq!(RejectReason::from_io(&error), RejectReason::NotTls);

    let mut old = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    old.alpn_protocols = vec![DATA_ALPN.to_vec()];
    let tcp = TcpStream::connect(address).await.unwrap();
    let dial = TlsConnector::from(std::sync::Arc::new(old)).connect(data.server_name(), tcp);
    let accept = async {
        let (tcp, _) = listener.accept().await.unwrap();
        TlsAcceptor::from(data.server_config())
            .accept(tcp)
            .await
            .unwrap_err()
    };
    let (dialled, error) = tokio::join!(dial, accept);
    assert!(dialled.is_err());
    assert_eq!(RejectReason::from_io(&error), RejectReason::WrongProtocol);
}

#[tokio::test]
async fn the_two_ports_do_not_mix() {
    let founder = Founder::new();
    let params = member_params(&founder.certificate_name());
    let papers = Papers::signed(&params, &founder.pen());
    let control = PortTls::control(&founder.membership).unwrap();
    for alpn in [DATA_ALPN, b"", b"h2"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accept = async {
            let (tcp, _) = listener.accept().await.unwrap();
            let stream = TlsAcceptor::from(control.server_config()).accept(tcp).await;
            let stream = stream.map_err(|error| RejectReason::from_io(&error))?;
            control.check_server_side(stream.get_ref().1, SystemTime::now())
        };
        let dial = async {
            let tcp = TcpStream::connect(address).await.unwrap();
            let connector = TlsConnector::from(stranger_client(Some(&papers), alpn));
            if let Ok(mut stream) = connector.connect(control.server_name(), tcp).await {
                let _ = stream.read(&mut [0]).await;
            }
        };
        assert_eq!(
            tokio::join!(accept, dial).0,
            Err(RejectReason::WrongProtocol),
            "{alpn:?}"
        );
    }
    assert_ne!(DATA_ALPN, CONTROL_ALPN);
}

#[tokio::test]
async fn the_one_who_was_refused_learns_why() {
    let founder = Founder::new();
    let stranger = Founder::of("elsewhere");
    let good = PortTls::data(&founder.membership).unwrap();
    // The stranger's server refuses our client; we read its alert.
    let theirs = PortTls::data(&stranger.membership).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accept = async {
        let (tcp, _) = listener.accept().await.unwrap();
        let _ = TlsAcceptor::from(theirs.server_config()).accept(tcp).await;
    };
    let papers = Papers::signed(&member_params(&founder.certificate_name()), &founder.pen());
    let dial = async {
        let tcp = TcpStream::connect(address).await.unwrap();
        let connector = TlsConnector::from(stranger_client(Some(&papers), DATA_ALPN));
        let mut stream = connector.connect(good.server_name(), tcp).await.unwrap();
        stream.read(&mut [0]).await.unwrap_err()
    };
    let error = tokio::join!(accept, dial).1;
    let reason = RejectReason::from_io(&error);
    assert!(matches!(reason, RejectReason::RefusedUs(_)), "{reason:?}");
}

#[tokio::test]
async fn no_session_is_resumed() {
    let founder = Founder::new();
    let data = PortTls::data(&founder.membership).unwrap();
    let papers = Papers::signed(&member_params(&founder.certificate_name()), &founder.pen());
    // One client with a memory, twice.
    let client = stranger_client(Some(&papers), DATA_ALPN);
    for _ in 0..2 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let dial = async {
            let connector = TlsConnector::from(client.clone());
            let mut stream = connector.connect(data.server_name(), tcp).await.unwrap();
            let _ = stream.read(&mut [0]).await;
            stream.get_ref().1.handshake_kind()
        };
        let accept = async {
            let (tcp, _) = listener.accept().await.unwrap();
            let mut stream = TlsAcceptor::from(data.server_config())
                .accept(tcp)
                .await
                .unwrap();
            stream.write_all(b"x").await.unwrap();
            stream.shutdown().await.unwrap();
        };
        assert_eq!(
            tokio::join!(dial, accept).0,
            Some(rustls::HandshakeKind::Full)
        );
    }
}
