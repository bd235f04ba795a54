//! Whoever is not of the domain gets nowhere, whichever side dials.

use std::time::{Duration, SystemTime};

use potluck_discovery::{PortTls, RejectReason, Validity};
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose};
use rustls::pki_types::PrivatePkcs8KeyDer;

use crate::support::{Founder, Papers, dialled_by, dials, ed25519, member_params, name};

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
