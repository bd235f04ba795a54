//! Whoever is not of the domain gets nowhere, whichever side dials.

use std::time::{Duration, SystemTime};

use potluck_discovery::{CONTROL_ALPN, DATA_ALPN, PortTls, RejectReason, Validity};
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::support::{
    Founder, Papers, dialled_by, dials, ed25519, member_params, name, provider, stranger_client,
};

/// Both directions, on both ports, end in the same words.
async fn refused(founder: &Founder, papers: &Papers, expected: RejectReason) {
    refused_as(founder, papers, expected.clone(), expected).await;
}

async fn refused_as(
    founder: &Founder,
    papers: &Papers,
    inbound: RejectReason,
    outbound: RejectReason,
) {
    let data = PortTls::data(&founder.membership).unwrap();
    assert_eq!(
        dialled_by(&data, Some(papers)).await,
        Err(inbound),
        "inbound"
    );
    assert_eq!(dials(&data, papers).await, Err(outbound), "outbound");
}

#[tokio::test]
async fn a_member_is_taken_both_ways() {
    let founder = Founder::new();
    let key = ed25519();
    let public = key.public_key_raw().try_into().unwrap();
    let public = potluck_discovery::PublicKey::from_bytes(public);
    let now = SystemTime::now();
    let certificate = founder
        .authority()
        .issue(public, &name("second"), now)
        .unwrap();
    let papers = Papers {
        chain: vec![certificate],
        key: key.into(),
    };
    let data = PortTls::data(&founder.membership).unwrap();
    for verdict in [
        dialled_by(&data, Some(&papers)).await,
        dials(&data, &papers).await,
    ] {
        let peer = verdict.unwrap();
        assert_eq!(peer.peer_id, public.peer_id());
        assert_eq!(peer.name.as_str(), "second");
        let left = peer.expires.duration_since(now).unwrap();
        assert!(left.abs_diff(Duration::from_secs(30 * 24 * 3600)) < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn another_authority_of_the_same_name() {
    let founder = Founder::new();
    let stranger = Founder::new();
    let params = member_params(&founder.certificate_name());
    let papers = Papers::signed(&params, &stranger.pen());
    // The names match, so the signature is tried, and fails.
    refused(&founder, &papers, RejectReason::BadSignature).await;
}

#[tokio::test]
async fn another_authority_of_another_name() {
    let founder = Founder::new();
    let stranger = Founder::of("elsewhere");
    let params = member_params(&founder.certificate_name());
    let papers = Papers::signed(&params, &stranger.pen());
    refused(&founder, &papers, RejectReason::UnknownIssuer).await;
}

#[tokio::test]
async fn self_signed() {
    let founder = Founder::new();
    let key = ed25519();
    let params = member_params(&founder.certificate_name());
    let chain = vec![params.self_signed(&key).unwrap().der().clone()];
    let papers = Papers {
        chain,
        key: key.into(),
    };
    refused(&founder, &papers, RejectReason::UnknownIssuer).await;
}

#[tokio::test]
async fn expired_and_not_yet_valid() {
    let founder = Founder::new();
    let now = SystemTime::now();
    let day = Duration::from_secs(24 * 3600);
    let cases = [
        (
            Validity {
                not_before: now - 2 * day,
                not_after: now - day,
            },
            RejectReason::Expired,
        ),
        (
            Validity {
                not_before: now + day,
                not_after: now + 2 * day,
            },
            RejectReason::NotYetValid,
        ),
    ];
    for (validity, expected) in cases {
        let key = ed25519();
        let public = key.public_key_raw().try_into().unwrap();
        let public = potluck_discovery::PublicKey::from_bytes(public);
        let certificate = founder
            .authority()
            .issue_for(public, &name("x"), validity)
            .unwrap();
        let papers = Papers {
            chain: vec![certificate],
            key: key.into(),
        };
        refused(&founder, &papers, expected).await;
    }
}

#[tokio::test]
async fn no_certificate_at_all() {
    let founder = Founder::new();
    let data = PortTls::data(&founder.membership).unwrap();
    assert_eq!(
        dialled_by(&data, None).await,
        Err(RejectReason::NoCertificate)
    );
}

#[tokio::test]
async fn one_usage_only() {
    let founder = Founder::new();
    for usage in [
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ] {
        let mut params = member_params(&founder.certificate_name());
        params.extended_key_usages = vec![usage];
        let papers = Papers::signed(&params, &founder.pen());
        refused(&founder, &papers, RejectReason::WrongUsage).await;
    }
    let mut params = member_params(&founder.certificate_name());
    params.extended_key_usages = vec![];
    let papers = Papers::signed(&params, &founder.pen());
    refused(&founder, &papers, RejectReason::WrongUsage).await;
}

#[tokio::test]
async fn another_domains_name_or_more_than_one() {
    let founder = Founder::new();
    let own = founder.certificate_name();
    let papers = Papers::signed(&member_params("node.elsewhere.internal"), &founder.pen());
    refused(&founder, &papers, RejectReason::WrongDomain).await;
    let mut params = member_params(&own);
    let more = rcgen::SanType::DnsName("www.example.org".try_into().unwrap());
    params.subject_alt_names.push(more);
    let papers = Papers::signed(&params, &founder.pen());
    refused(&founder, &papers, RejectReason::WrongDomain).await;
    let mut params = member_params(&own);
    params.subject_alt_names = vec![];
    let papers = Papers::signed(&params, &founder.pen());
    refused(&founder, &papers, RejectReason::WrongDomain).await;
}

#[tokio::test]
async fn a_stolen_certificate_without_its_key() {
    let founder = Founder::new();
    let params = member_params(&founder.certificate_name());
    let good = Papers::signed(&params, &founder.pen());
    let papers = Papers {
        key: ed25519().into(),
        ..good
    };
    refused(&founder, &papers, RejectReason::BadSignature).await;
}

#[tokio::test]
async fn a_key_of_another_kind() {
    let founder = Founder::new();
    let params = member_params(&founder.certificate_name());
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let papers = Papers::signed_for(key, &params, &founder.pen());
    refused(&founder, &papers, RejectReason::WrongKeyType).await;
}

#[tokio::test]
async fn a_chain_that_is_too_long() {
    let founder = Founder::new();
    let authority = founder.authority().certificate().clone();
    let params = member_params(&founder.certificate_name());

    // A member that made itself an authority.
    let key = ed25519();
    let mut middle = member_params(&founder.certificate_name());
    middle.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    middle.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let certificate = middle
        .signed_by(&key, &founder.pen())
        .unwrap()
        .der()
        .clone();
    let mut papers = Papers::signed(&params, &Issuer::new(middle, key));
    papers.chain.push(certificate);
    refused(&founder, &papers, RejectReason::ChainTooLong).await;

    // A good certificate in bad company.
    let other = Founder::of("other").authority().certificate().clone();
    let mut papers = Papers::signed(&params, &founder.pen());
    papers.chain.push(authority.clone());
    let data = PortTls::data(&founder.membership).unwrap();
    assert!(
        dialled_by(&data, Some(&papers)).await.is_ok(),
        "the authority may be shown"
    );
    papers.chain.push(other.clone());
    refused(&founder, &papers, RejectReason::ChainTooLong).await;
    papers.chain = vec![papers.chain[0].clone(), other];
    refused(&founder, &papers, RejectReason::ChainTooLong).await;
}

#[tokio::test]
async fn an_authority_is_no_node() {
    let founder = Founder::new();
    let pem = std::fs::read(founder.dir.path().join("authority/ca.key")).unwrap();
    let der = <PrivatePkcs8KeyDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(&pem);
    let key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der.unwrap(), &rcgen::PKCS_ED25519);
    let chain = vec![founder.authority().certificate().clone()];
    let papers = Papers {
        chain,
        key: key.unwrap().into(),
    };
    let data = PortTls::data(&founder.membership).unwrap();
    assert!(dialled_by(&data, Some(&papers)).await.is_err());
    assert!(dials(&data, &papers).await.is_err());
}

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
