//! Doors to the decoders that read what others send, for the fuzz targets. Compiled for
//! them only.

use std::sync::OnceLock;
use std::time::SystemTime;

use futures::FutureExt as _;
use libp2p::StreamProtocol;
use libp2p::request_response::Codec as _;
use potluck_content::ContentId;
use rustls_pki_types::CertificateDer;

use crate::authority::{Authority, DEFAULT_CERTIFICATE_LIFETIME};
use crate::beacon_seal::BeaconSeal;
use crate::control_codec::ControlCodec;
use crate::control_message;
use crate::join_protocol::{self, JoinAnswer};
use crate::seek_message;
use crate::signed_list::SignedList;
use crate::{JoinCode, NodeIdentity, SigningRequest};

/// A sealed beacon, and the beacon inside: the seal stops nearly all of the first.
pub fn beacon(bytes: &[u8]) {
    let _ = BeaconSeal::new(&[7; 32]).open(&mut bytes.to_vec());
    if let Ok(read) = potluck_near::Beacon::decode(bytes) {
        assert_eq!(read.encode(), bytes, "there is one form of each beacon");
    }
}

/// A question on a control connection.
pub fn control_question(bytes: &[u8]) {
    let protocol = StreamProtocol::new(control_message::PROTOCOL);
    let mut stream = bytes;
    let mut codec = ControlCodec::default();
    let read = codec.read_request(&protocol, &mut stream).now_or_never();
    if let Some(Ok(request)) = read {
        let _ = request.question();
    }
}

/// An answer on a control connection.
pub fn control_answer(bytes: &[u8]) {
    let protocol = StreamProtocol::new(control_message::PROTOCOL);
    let mut stream = bytes;
    let mut codec = ControlCodec::default();
    let read = codec.read_response(&protocol, &mut stream).now_or_never();
    if let Some(Ok(response)) = read {
        let _ = response.clone().into_have(3);
        let _ = response.clone().into_swarm();
        let _ = response.into_manifest(ContentId::of(b"soup"));
    }
}

/// What is said on the join port, either way.
pub fn join(bytes: &[u8]) {
    match serde_json::from_slice(bytes) {
        Ok(join_protocol::Request::Join(request)) => drop(request.prove(&[7; 32])),
        Ok(join_protocol::Request::Renew(request)) => drop(request.prove(&[7; 32])),
        Err(_) => {}
    }
    let _ = serde_json::from_slice::<JoinAnswer>(bytes);
}

/// A question or an answer of those who look for the authority.
pub fn seek(bytes: &[u8]) {
    if let Some(question) = seek_message::Question::parse(bytes) {
        let _ = question.port_in(bytes);
    }
}

/// A list of revocations, as a peer sends it.
pub fn revocations(bytes: &[u8]) {
    let (list, signature) = bytes.split_at(bytes.len().min(bytes.len().saturating_sub(64)));
    if let Ok(list) = SignedList::read(list.to_vec(), signature.to_vec()) {
        assert!(list.verify(&authority().certificate().clone()).is_err());
    }
}

/// A certificate that the other end shows.
pub fn certificate(bytes: &[u8]) {
    static OWN: OnceLock<CertificateDer<'static>> = OnceLock::new();
    let own = OWN.get_or_init(|| {
        let key = NodeIdentity::generate().expect("a key").public_key();
        let name = "fuzz".parse().expect("a name");
        let issued = authority().issue(key, &name, SystemTime::now());
        issued.expect("a certificate")
    });
    let domain = authority().domain_id();
    let policy = crate::CertificatePolicy::new(domain, authority().certificate().clone());
    let shown = CertificateDer::from(bytes.to_vec());
    let _ = policy.check(Some(std::slice::from_ref(&shown)), SystemTime::now());
    let _ = policy.check(Some(&[own.clone(), shown]), SystemTime::now());
}

/// What people type and carry: join codes and requests for a signature.
pub fn text(text: &str) {
    if let Ok(code) = text.parse::<JoinCode>() {
        let again = code.to_text().parse::<JoinCode>();
        assert_eq!(again.map(|code| code.to_text()).ok(), Some(code.to_text()));
    }
    let _ = SigningRequest::parse(text);
}

fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        let name = "fuzz".parse().expect("a name");
        let made = Authority::create(&name, DEFAULT_CERTIFICATE_LIFETIME, SystemTime::now());
        made.expect("an authority")
    })
}
