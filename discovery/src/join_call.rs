//! One call at a join port: a handshake with the one authority that is known, a
//! request, an answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls_pki_types::CertificateDer;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use crate::authority::Authority;
use crate::authority_key::AuthorityKey;
use crate::authority_settings::AuthoritySettings;
use crate::domain_id::Fingerprint;
use crate::hex::{unhex, unhex_vec};
use crate::identity::NodeIdentity;
use crate::join_protocol::{self, Binding, JoinAnswer, MAX_ANSWER, Welcome};
use crate::membership::Membership;
use crate::pinned_authority::{PinnedAuthority, is_mismatch};
use crate::reject_reason::RejectReason;
use crate::secret::BeaconKey;
use crate::tls;

/// How long to wait for one address to greet, so that a dead one does not use up
/// the time.
const REACH: Duration = Duration::from_secs(4);
/// How long the answer may take: whoever answers writes to a disk first.
const ANSWER: Duration = Duration::from_secs(12);

/// Calls nodes that hold one certain authority.
pub(crate) struct JoinCaller {
    fingerprint: Fingerprint,
    connector: TlsConnector,
}

/// A call came to nothing.
pub(crate) enum CallFailure {
    /// Nobody answered there, or not properly.
    Unreachable(String),
    /// Nothing was heard.
    Silent,
    /// Another authority was shown. Nothing was sent.
    Mismatch,
    /// TLS cannot be used here.
    Tls(rustls::Error),
}

impl JoinCaller {
    /// For the authority whose certificate has this fingerprint.
    pub(crate) fn new(fingerprint: Fingerprint) -> Result<Self, rustls::Error> {
        let verifier = Arc::new(PinnedAuthority::new(fingerprint));
        let mut config = ClientConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![join_protocol::JOIN_ALPN.to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Self {
            fingerprint,
            connector,
        })
    }

    /// Calls `address` with the request that `request` makes for the session.
    pub(crate) async fn call<R: Serialize>(
        &self,
        address: SocketAddr,
        request: impl FnOnce(&Binding) -> R,
    ) -> Result<JoinAnswer, CallFailure> {
        let server_name = self.fingerprint.domain_id().server_name();
        let reach = async {
            let tcp = TcpStream::connect(address).await?;
            self.connector.connect(server_name, tcp).await
        };
        let mut stream = match timeout(REACH, reach).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) if is_mismatch(&error) => return Err(CallFailure::Mismatch),
            Ok(Err(error)) => return Err(unreachable(&error)),
            Err(_) => return Err(CallFailure::Silent),
        };
        let binding = join_protocol::binding(stream.get_ref().1).map_err(CallFailure::Tls)?;
        let request = request(&binding);
        let talk = async {
            join_protocol::send(&mut stream, &request).await?;
            join_protocol::receive(&mut stream, MAX_ANSWER).await
        };
        match timeout(ANSWER, talk).await {
            Ok(answer) => answer.map_err(|error| unreachable(&error)),
            Err(_) => Err(CallFailure::Silent),
        }
    }

    /// Makes a membership of an answer, if it is all that a member needs and good
    /// at this time.
    pub(crate) fn membership(
        &self,
        welcome: &Welcome,
        identity: NodeIdentity,
    ) -> Result<Membership, RejectReason> {
        let certificate = |digits| unhex_vec(digits).map(CertificateDer::from);
        let parts = certificate(&welcome.certificate)
            .zip(certificate(&welcome.authority))
            .zip(unhex(&welcome.beacon_key));
        let ((certificate, authority), beacon_key) = parts.ok_or(RejectReason::BadCertificate)?;
        let beacon_key = BeaconKey::from_bytes(beacon_key);
        let membership = Membership::new(identity, certificate, authority, beacon_key)?;
        if membership.fingerprint() != self.fingerprint {
            return Err(RejectReason::UnknownIssuer);
        }
        let chain = membership.certificate_chain();
        membership.policy().check(Some(chain), SystemTime::now())?;
        Ok(membership)
    }
}

/// The authority that came with an answer, if one did and it is this domain's.
pub(crate) fn gift(
    welcome: &Welcome,
    membership: &Membership,
) -> Result<Option<Authority>, RejectReason> {
    let Some(gift) = &welcome.gift else {
        return Ok(None);
    };
    let key = Zeroizing::new(unhex_vec(&gift.key).ok_or(RejectReason::BadCertificate)?);
    let key = AuthorityKey::from_pkcs8(&key).ok_or(RejectReason::BadSignature)?;
    let mut settings = AuthoritySettings {
        certificate_lifetime: Duration::from_secs(gift.certificate_lifetime),
        beacon_key: membership
            .beacon_key()
            .ok_or(RejectReason::BadCertificate)?
            .clone(),
        others: Vec::new(),
    };
    for holder in &gift.holders {
        settings.add_other(holder);
    }
    let certificate = membership.authority_certificate().clone();
    let authority = Authority::assemble(certificate, settings, key);
    authority.map(Some).ok_or(RejectReason::BadSignature)
}

fn unreachable(error: &io::Error) -> CallFailure {
    CallFailure::Unreachable(RejectReason::from_io(error).to_string())
}
