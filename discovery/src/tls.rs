//! How nodes speak TLS: version 1.3 alone, aws-lc-rs by name, AES-128-GCM first,
//! certificates on both sides, and no resumption, because a resumed session
//! looks at no certificate.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, CommonState, RootCertStore};
use rustls::{ServerConfig, ServerConnection};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::certificate_policy::{CertificatePolicy, VerifiedPeer};
use crate::given_policy::CertificateId;
use crate::membership::Membership;
use crate::peer_verifier::{AnswererVerifier, CallerVerifier};
use crate::reject_reason::RejectReason;
use crate::revocations::Revocations;

/// The protocol of the control port.
pub const CONTROL_ALPN: &[u8] = b"potluck-control/1";
/// The protocol of the data port, as nodes call it.
pub const DATA_ALPN: &[u8] = b"potluck-data/1";
/// The protocol of the data port, as `curl` calls it.
pub const HTTP_ALPN: &[u8] = b"http/1.1";

/// The TLS set-up of one port of one node: what both roles of it need. Cheap to
/// clone.
#[derive(Debug, Clone)]
pub struct PortTls {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    server_name: ServerName<'static>,
    policy: CertificatePolicy,
    /// When this node's own certificate ends.
    expires: SystemTime,
}

impl PortTls {
    /// The set-up of the control port, for a domain that has revoked nobody.
    pub fn control(membership: &Membership) -> Result<Self, rustls::Error> {
        Self::new(
            membership,
            membership.policy(),
            &[CONTROL_ALPN],
            CONTROL_ALPN,
        )
    }

    /// The set-up of the data port, for a domain that has revoked nobody.
    pub fn data(membership: &Membership) -> Result<Self, rustls::Error> {
        let accepted = [DATA_ALPN, HTTP_ALPN];
        Self::new(membership, membership.policy(), &accepted, DATA_ALPN)
    }

    /// The set-ups of both ports, control and data, which turn revoked nodes away.
    pub(crate) fn both(
        membership: &Membership,
        revocations: &Revocations,
    ) -> Result<(Self, Self), rustls::Error> {
        let policy = || membership.policy().without_revoked(revocations);
        let accepted = [DATA_ALPN, HTTP_ALPN];
        Ok((
            Self::new(membership, policy(), &[CONTROL_ALPN], CONTROL_ALPN)?,
            Self::new(membership, policy(), &accepted, DATA_ALPN)?,
        ))
    }

    /// For connections that come in.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// For connections that go out.
    #[must_use]
    pub fn client_config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.client)
    }

    /// The name to ask for when dialling: the same at every node of the domain.
    #[must_use]
    pub fn server_name(&self) -> ServerName<'static> {
        self.server_name.clone()
    }

    /// Judges who came in, after the handshake and before a byte is answered.
    pub fn check_server_side(
        &self,
        connection: &ServerConnection,
        now: SystemTime,
    ) -> Result<VerifiedPeer, RejectReason> {
        self.check(connection, now)
    }

    /// Judges who was reached, after the handshake and before a byte is asked.
    pub fn check_client_side(
        &self,
        connection: &ClientConnection,
        now: SystemTime,
    ) -> Result<VerifiedPeer, RejectReason> {
        self.check(connection, now)
    }

    /// Whether the authority has revoked a certificate since it was shown.
    #[must_use]
    pub fn has_revoked(&self, certificate: &CertificateId) -> bool {
        self.policy.has_revoked(certificate)
    }

    /// When a connection with this peer must end: with the certificate, its own or
    /// ours, that ends first.
    #[must_use]
    pub fn end_with(&self, peer: &VerifiedPeer) -> SystemTime {
        peer.expires.min(self.expires)
    }

    fn check(&self, state: &CommonState, now: SystemTime) -> Result<VerifiedPeer, RejectReason> {
        // A stranger may have named no protocol at all: rustls lets that pass.
        if state.alpn_protocol().is_none() {
            return Err(RejectReason::WrongProtocol);
        }
        self.policy.check(state.peer_certificates(), now)
    }

    fn new(
        membership: &Membership,
        policy: CertificatePolicy,
        accepted: &[&[u8]],
        offered: &[u8],
    ) -> Result<Self, rustls::Error> {
        let provider = provider();
        let key = Arc::new(SingleCertAndKey::from(certified_key(membership)?));

        let callers = caller_verifier(membership)?;
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(CallerVerifier::new(callers.clone(), &policy)))
            .with_cert_resolver(key.clone());
        forbid_resumption(&mut server);
        server.alpn_protocols = accepted.iter().map(|name| name.to_vec()).collect();

        let answerers = if membership.is_given() {
            AnswererVerifier::unnamed(callers, &policy)
        } else {
            let roots = Arc::new(roots(membership.authority_certificate())?);
            let stock = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
                .build()
                .map_err(|error| rustls::Error::General(error.to_string()))?;
            AnswererVerifier::new(stock, &policy)
        };
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(answerers))
            .with_client_cert_resolver(key);
        client.resumption = Resumption::disabled();
        client.enable_early_data = false;
        client.alpn_protocols = vec![offered.to_vec()];

        Ok(Self {
            server: Arc::new(server),
            client: Arc::new(client),
            server_name: membership.domain_id().server_name(),
            policy,
            expires: membership.expires(),
        })
    }
}

/// The stock verifier of callers, with the lists of revocations that an authority of the
/// site's own gives.
pub(crate) fn caller_verifier(
    membership: &Membership,
) -> Result<Arc<dyn ClientCertVerifier>, rustls::Error> {
    let roots = Arc::new(roots(membership.authority_certificate())?);
    let mut builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
    if let Some(given) = membership.given_policy() {
        builder = builder
            .with_crls(given.lists())
            .allow_unknown_revocation_status();
    }
    let verifier = builder.build();
    verifier.map_err(|error| rustls::Error::General(error.to_string()))
}

/// Asks the stock verifier about the node's own certificate, and whether the key is its.
pub(crate) fn prove_given(membership: &Membership, now: SystemTime) -> Result<(), RejectReason> {
    let refused = |error: rustls::Error| RejectReason::from(&error);
    let verifier = caller_verifier(membership).map_err(refused)?;
    let now = now.duration_since(SystemTime::UNIX_EPOCH);
    let now = UnixTime::since_unix_epoch(now.unwrap_or_default());
    let [own, others @ ..] = membership.certificate_chain() else {
        return Err(RejectReason::NoCertificate);
    };
    verifier
        .verify_client_cert(own, others, now)
        .map_err(refused)?;
    let key = certified_key(membership).map_err(refused)?;
    key.keys_match().map_err(|_| RejectReason::BadSignature)
}

/// The cryptography of every connection between nodes.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    let suites = vec![
        aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
        aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
        aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(CryptoProvider {
        cipher_suites: suites,
        ..aws_lc_rs::default_provider()
    })
}

/// A store with one root.
pub(crate) fn roots(authority: &CertificateDer<'static>) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone())?;
    Ok(roots)
}

/// The node's chain and key as rustls takes them.
pub(crate) fn certified_key(membership: &Membership) -> Result<CertifiedKey, rustls::Error> {
    let key = membership.signing_key()?;
    Ok(CertifiedKey::new(
        membership.certificate_chain().to_vec(),
        key,
    ))
}

/// Makes a server forget every session.
pub(crate) fn forbid_resumption(server: &mut ServerConfig) {
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    server.max_early_data_size = 0;
}
