//! What is said on the join port: one request and one answer, each a length of
//! two bytes and that much JSON, inside TLS of which only the side with the
//! authority shows certificates. A request is one to join, with a secret, or one to
//! renew, with the present certificate (see `renewal_request.rs`).
//!
//! The proof is a signature with the caller's key over this very TLS session,
//! so a request cannot be carried elsewhere and nobody obtains a certificate
//! for a key that is not theirs.

use std::io;

use rustls::ConnectionCommon;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

use crate::hex::{hex, unhex};
use crate::identity::{NodeIdentity, PublicKey};
use crate::join_code::InviteSecret;
use crate::name::Name;
use crate::renewal_request::RenewalRequest;

/// The protocol of the join port.
pub(crate) const JOIN_ALPN: &[u8] = b"potluck-join/1";
/// A request has a key, a signature and either a secret and a name or a
/// certificate: 2 KiB at most.
pub(crate) const MAX_REQUEST: usize = 4 * 1024;
/// An answer has two certificates and a key: some 3 KiB.
pub(crate) const MAX_ANSWER: usize = 16 * 1024;

const EXPORTER_LABEL: &[u8] = b"EXPORTER-potluck-join";
const PROOF_CONTEXT: &[u8] = b"potluck join proof 1\0";

/// What binds a request to one TLS session.
pub(crate) type Binding = [u8; 32];

/// What a caller sends.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Request {
    /// A member wants its next certificate.
    Renew(RenewalRequest),
    /// A new node wants to be let in.
    Join(JoinRequest),
}

/// What a new node sends.
#[derive(Serialize, Deserialize)]
pub(crate) struct JoinRequest {
    secret: String,
    name: String,
    public_key: String,
    proof: String,
}

/// A request that was read and whose proof holds.
pub(crate) struct ProvenRequest {
    pub(crate) secret: InviteSecret,
    pub(crate) name: Name,
    pub(crate) public_key: PublicKey,
}

/// What the inviting node answers.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JoinAnswer {
    /// The new node is in.
    Welcome(Welcome),
    /// It is not.
    Refused(Refusal),
}

/// What makes a member.
#[derive(Serialize, Deserialize)]
pub(crate) struct Welcome {
    /// The node's certificate, DER in hexadecimal digits.
    pub(crate) certificate: String,
    /// The authority's certificate, likewise.
    pub(crate) authority: String,
    /// The key of the beacons.
    pub(crate) beacon_key: String,
    /// The authority's key, for a node that is to hold it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gift: Option<AuthorityGift>,
}

/// What makes a node hold the authority.
#[derive(Serialize, Deserialize)]
pub(crate) struct AuthorityGift {
    /// Its key: PKCS#8, DER in hexadecimal digits.
    pub(crate) key: Zeroizing<String>,
    /// How long certificates hold, in seconds.
    pub(crate) certificate_lifetime: u64,
    /// The ids of the nodes that hold it already.
    pub(crate) holders: Vec<String>,
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// No open invitation has this secret.
    #[error("no invitation there has this secret")]
    WrongSecret,
    /// The invitation has ended.
    #[error("the invitation has ended")]
    Expired,
    /// As many nodes as were invited have joined.
    #[error("the invitation is used up")]
    UsedUp,
    /// The certificate that is to be renewed is none of this domain's.
    #[error("it did not issue this certificate")]
    NotOurs,
    /// The certificate that is to be renewed ended too long ago.
    #[error("this certificate ended too long ago to be renewed: join again with a join code")]
    TooLate,
    /// The authority there is locked with a passphrase.
    #[error("the authority there is locked: on that node, potluck domain unlock")]
    Locked,
    /// The caller was revoked.
    #[error("this node was revoked")]
    Revoked,
    /// The request is malformed or its proof does not hold.
    #[error("it did not understand the request")]
    BadRequest,
    /// The inviting node has trouble of its own.
    #[error("it has trouble of its own: see its log")]
    Trouble,
}

impl JoinRequest {
    pub(crate) fn new(
        secret: &InviteSecret,
        name: &Name,
        identity: &NodeIdentity,
        binding: &Binding,
    ) -> Self {
        let proof = identity.sign(&proven(binding, name.as_str()));
        Self {
            secret: hex(secret.expose()),
            name: name.to_string(),
            public_key: hex(identity.public_key().as_bytes()),
            proof: hex(&proof),
        }
    }

    /// Reads the parts and checks the proof.
    pub(crate) fn prove(&self, binding: &Binding) -> Option<ProvenRequest> {
        let public_key = PublicKey::from_bytes(unhex(&self.public_key)?);
        let proof: [u8; 64] = unhex(&self.proof)?;
        let proven = public_key.verify(&proven(binding, &self.name), &proof);
        proven.then_some(())?;
        Some(ProvenRequest {
            secret: InviteSecret::from_bytes(unhex(&self.secret)?),
            name: self.name.parse().ok()?,
            public_key,
        })
    }
}

/// The value that both ends of this TLS session know and nobody else.
pub(crate) fn binding<D>(connection: &ConnectionCommon<D>) -> Result<Binding, rustls::Error> {
    connection.export_keying_material([0; 32], EXPORTER_LABEL, None)
}

/// Sends one message.
pub(crate) async fn send<T: Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> io::Result<()> {
    // It may hold a secret or a key.
    let json = Zeroizing::new(serde_json::to_vec(message)?);
    let len = u16::try_from(json.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut frame = Zeroizing::new(len.to_be_bytes().to_vec());
    frame.extend_from_slice(&json);
    stream.write_all(&frame).await?;
    stream.flush().await
}

/// Receives one message of at most `max` bytes.
pub(crate) async fn receive<T: for<'de> Deserialize<'de>>(
    stream: &mut (impl AsyncRead + Unpin),
    max: usize,
) -> io::Result<T> {
    let len = usize::from(stream.read_u16().await?);
    if len > max {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut json = Zeroizing::new(vec![0; len]);
    stream.read_exact(&mut json).await?;
    // Not with the parser's words: they may quote a secret.
    serde_json::from_slice(&json).map_err(|_| io::ErrorKind::InvalidData.into())
}

fn proven(binding: &Binding, name: &str) -> Vec<u8> {
    [PROOF_CONTEXT, binding, name.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_holds_in_its_own_session_only() {
        let identity = NodeIdentity::generate().unwrap();
        let secret = InviteSecret::from_bytes([1; 12]);
        let name: Name = "new".parse().unwrap();
        let request = JoinRequest::new(&secret, &name, &identity, &[7; 32]);
        let proven = request.prove(&[7; 32]).unwrap();
        assert_eq!(proven.public_key, identity.public_key());
        assert_eq!(proven.secret, secret);
        assert!(request.prove(&[8; 32]).is_none());
        let other = NodeIdentity::generate().unwrap();
        let stolen = JoinRequest {
            public_key: hex(other.public_key().as_bytes()),
            ..request
        };
        assert!(stolen.prove(&[7; 32]).is_none());
    }

    #[tokio::test]
    async fn a_message_that_is_too_long_is_not_read() {
        let (mut near, mut far) = tokio::io::duplex(64 * 1024);
        send(&mut near, &"x".repeat(MAX_REQUEST)).await.unwrap();
        let read = receive::<String>(&mut far, MAX_REQUEST).await;
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
