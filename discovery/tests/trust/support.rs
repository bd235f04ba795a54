//! A domain in a temporary folder, and strangers of every kind.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use potluck_discovery::{
    Authority, DATA_ALPN, DomainOptions, JoinEvent, JoinServer, JoinServerConfig, Membership, Name,
    PortTls, RejectReason, VerifiedPeer, create_domain,
};
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A node that made a domain.
pub(crate) struct Founder {
    pub(crate) dir: TempDir,
    pub(crate) membership: Membership,
}

impl Founder {
    pub(crate) fn new() -> Self {
        Self::of("site")
    }

    pub(crate) fn of(domain: &str) -> Self {
        Self::with(DomainOptions::new(name(domain)))
    }

    pub(crate) fn with(options: DomainOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = DomainOptions {
            node_name: name("founder"),
            ..options
        };
        let membership = create_domain(dir.path(), &options).unwrap();
        Self { dir, membership }
    }

    pub(crate) fn authority(&self) -> Authority {
        Authority::load(self.dir.path()).unwrap().unwrap()
    }

    /// The authority's own pen, for certificates that it would never sign.
    pub(crate) fn pen(&self) -> Issuer<'static, KeyPair> {
        let pem = std::fs::read_to_string(self.dir.path().join("authority/ca.key")).unwrap();
        let key = KeyPair::from_pem(&pem).unwrap();
        Issuer::from_ca_cert_der(self.authority().certificate(), key).unwrap()
    }

    pub(crate) fn certificate_name(&self) -> String {
        self.membership.domain_id().certificate_name()
    }
}

/// A join port that runs until this is dropped.
pub(crate) struct Door {
    pub(crate) server: JoinServer,
    pub(crate) events: mpsc::Receiver<JoinEvent>,
    pub(crate) stop: CancellationToken,
    _stop_at_end: DropGuard,
}

impl Door {
    pub(crate) fn open(data_dir: &Path) -> Self {
        let listen = "127.0.0.1:0".parse().unwrap();
        Self::with(JoinServerConfig::new(data_dir, listen))
    }

    pub(crate) fn with(config: JoinServerConfig) -> Self {
        let stop = CancellationToken::new();
        let (sender, events) = mpsc::channel(64);
        let server = JoinServer::start(config, stop.clone(), sender);
        let guard = stop.clone().drop_guard();
        Self {
            server,
            events,
            stop,
            _stop_at_end: guard,
        }
    }

    pub(crate) async fn address(&self) -> std::net::SocketAddr {
        let mut address = self.server.address();
        let open = tokio::time::timeout(PATIENCE, address.wait_for(Option::is_some)).await;
        open.expect("the join port opens").unwrap().unwrap()
    }

    pub(crate) async fn next_event(&mut self) -> JoinEvent {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        event.expect("an event comes").unwrap()
    }
}

/// A chain and a key that someone shows.
#[derive(Clone)]
pub(crate) struct Papers {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: Arc<KeyPair>,
}

impl Papers {
    pub(crate) fn signed(params: &CertificateParams, by: &Issuer<'_, KeyPair>) -> Self {
        Self::signed_for(ed25519(), params, by)
    }

    pub(crate) fn signed_for(
        key: KeyPair,
        params: &CertificateParams,
        by: &Issuer<'_, KeyPair>,
    ) -> Self {
        let chain = vec![params.signed_by(&key, by).unwrap().der().clone()];
        Self {
            chain,
            key: Arc::new(key),
        }
    }

    fn certified_key(&self) -> CertifiedKey {
        let der = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let key = provider().key_provider.load_private_key(der).unwrap();
        CertifiedKey::new(self.chain.clone(), key)
    }
}

pub(crate) fn ed25519() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap()
}

/// A member's parameters as the authority writes them, to be spoilt.
pub(crate) fn member_params(certificate_name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![certificate_name.to_owned()]).unwrap();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "stranger");
    params.extended_key_usages = vec![
        rcgen::ExtendedKeyUsagePurpose::ServerAuth,
        rcgen::ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.not_before = (SystemTime::now() - Duration::from_secs(60)).into();
    params.not_after = (SystemTime::now() + Duration::from_secs(3600)).into();
    params
}

/// What the good node thinks of a stranger that dials it.
pub(crate) async fn dialled_by(
    good: &PortTls,
    stranger: Option<&Papers>,
) -> Result<VerifiedPeer, RejectReason> {
    let client = stranger_client(stranger, DATA_ALPN);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let name = good.server_name();
    let dial = async {
        let tcp = TcpStream::connect(address).await.unwrap();
        if let Ok(mut stream) = TlsConnector::from(client).connect(name, tcp).await {
            let _ = stream.read(&mut [0]).await;
        }
    };
    let accept = async {
        let (tcp, _) = listener.accept().await.unwrap();
        let stream = TlsAcceptor::from(good.server_config()).accept(tcp).await;
        let stream = stream.map_err(|error| RejectReason::from_io(&error))?;
        good.check_server_side(stream.get_ref().1, SystemTime::now())
    };
    tokio::join!(dial, accept).1
}

/// What the good node thinks of a stranger that it dials.
pub(crate) async fn dials(good: &PortTls, stranger: &Papers) -> Result<VerifiedPeer, RejectReason> {
    let server = stranger_server(stranger);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accept = async {
        let (tcp, _) = listener.accept().await.unwrap();
        if let Ok(mut stream) = TlsAcceptor::from(server).accept(tcp).await {
            let _ = stream.read(&mut [0]).await;
        }
    };
    let dial = async {
        let tcp = TcpStream::connect(address).await.unwrap();
        let connector = TlsConnector::from(good.client_config());
        let stream = connector.connect(good.server_name(), tcp).await;
        let stream = stream.map_err(|error| RejectReason::from_io(&error))?;
        good.check_client_side(stream.get_ref().1, SystemTime::now())
    };
    tokio::join!(accept, dial).1
}

/// A client that takes any server, with or without papers.
pub(crate) fn stranger_client(papers: Option<&Papers>, alpn: &[u8]) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TakesAnyone));
    let mut config = match papers {
        Some(papers) => config.with_client_cert_resolver(Arc::new(
            rustls::sign::SingleCertAndKey::from(papers.certified_key()),
        )),
        None => config.with_no_client_auth(),
    };
    if !alpn.is_empty() {
        config.alpn_protocols = vec![alpn.to_vec()];
    }
    Arc::new(config)
}

fn stranger_server(papers: &Papers) -> Arc<ServerConfig> {
    // It asks for a certificate as a member would, and would take any authority's.
    let mut roots = RootCertStore::empty();
    roots.add(papers.chain.last().unwrap().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider())
        .allow_unauthenticated()
        .build()
        .unwrap();
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(
            papers.certified_key(),
        )));
    config.alpn_protocols = vec![DATA_ALPN.to_vec()];
    Arc::new(config)
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

#[derive(Debug)]
struct TakesAnyone;

impl ServerCertVerifier for TakesAnyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
