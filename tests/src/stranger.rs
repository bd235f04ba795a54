//! Somebody with the wrong papers, or none, who calls nodes or waits to be called.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use potluck_discovery::{Authority, Name, PublicKey, Validity};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, PublicKeyData as _};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, DistinguishedName, ServerConfig,
    ServerConnection, SignatureScheme, Stream,
};

use crate::Host;

const PATIENCE: Duration = Duration::from_secs(15);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A certificate with its key, or nothing at all.
#[derive(Debug)]
pub struct Papers(Option<(Vec<CertificateDer<'static>>, KeyPair)>);

impl Papers {
    /// A proper member's, from the authority that lives in `data_dir`.
    pub fn member(data_dir: &Path) -> Result<Self> {
        let now = SystemTime::now();
        Self::issued_by(&the_authority(data_dir)?, now - DAY, now + DAY)
    }

    /// From the same authority, but they ended a minute ago.
    pub fn expired(data_dir: &Path) -> Result<Self> {
        let now = SystemTime::now();
        Self::issued_by(
            &the_authority(data_dir)?,
            now - DAY,
            now - Duration::from_secs(60),
        )
    }

    /// From the same authority, but for tomorrow.
    pub fn not_yet(data_dir: &Path) -> Result<Self> {
        let now = SystemTime::now();
        Self::issued_by(&the_authority(data_dir)?, now + DAY, now + 2 * DAY)
    }

    /// From an authority of the same name with another key.
    pub fn foreign(data_dir: &Path) -> Result<Self> {
        Self::foreign_to(the_authority(data_dir)?.name())
    }

    /// The same, for those who have only the domain's name.
    pub fn foreign_to(domain: &Name) -> Result<Self> {
        let now = SystemTime::now();
        Self::issued_by(&Authority::create(domain, DAY, now)?, now - DAY, now + DAY)
    }

    /// Signed by nobody else, with the name that members' have.
    pub fn self_signed(data_dir: &Path) -> Result<Self> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let name = the_authority(data_dir)?.domain_id().certificate_name();
        let certificate = CertificateParams::new([name])?.self_signed(&key)?;
        Ok(Self(Some((vec![certificate.der().clone()], key))))
    }

    /// None at all: good for calling only.
    pub fn missing() -> Self {
        Self(None)
    }

    fn issued_by(
        authority: &Authority,
        not_before: SystemTime,
        not_after: SystemTime,
    ) -> Result<Self> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let public = key
            .der_bytes()
            .try_into()
            .context("an Ed25519 key has 32 bytes")?;
        let name: Name = "stranger".parse()?;
        let validity = Validity {
            not_before,
            not_after,
        };
        let certificate = authority.issue_for(PublicKey::from_bytes(public), &name, validity)?;
        Ok(Self(Some((
            vec![certificate, authority.certificate().clone()],
            key,
        ))))
    }

    fn key(&self) -> Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let (chain, key) = self.0.as_ref()?;
        Some((
            chain.clone(),
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        ))
    }
}

fn the_authority(data_dir: &Path) -> Result<Authority> {
    Authority::load(data_dir)?.context("no authority there")
}

/// What a stranger who called got.
#[derive(Debug)]
pub struct Answer {
    /// Bytes inside the encryption, beyond the handshake.
    pub bytes: Vec<u8>,
    /// How the connection ended.
    pub end: String,
}

/// Calls `address` from `host` with these papers, sends `request` and listens to the end.
pub fn call(
    host: &Host,
    address: SocketAddr,
    alpn: &[u8],
    papers: &Papers,
    request: &[u8],
) -> Result<Answer> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous(provider())));
    let mut config = match papers.key() {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    let mut connection =
        ClientConnection::new(Arc::new(config), ServerName::try_from("stranger.example")?)?;
    host.inside(|| {
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut stream = Stream::new(&mut connection, &mut socket);
        // In TLS 1.3 a client is refused only after it has spoken.
        let sent = stream.write_all(request).and_then(|()| stream.flush());
        let mut bytes = Vec::new();
        let end = match sent {
            Ok(()) => read_all(&mut stream, &mut bytes),
            Err(error) => error.to_string(),
        };
        Ok(Answer { bytes, end })
    })?
}

/// Calls `address` from `host` and speaks no TLS at all.
pub fn call_in_plain_text(host: &Host, address: SocketAddr, text: &[u8]) -> Result<Answer> {
    host.inside(|| {
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut bytes = Vec::new();
        let end = match socket.write_all(text) {
            Ok(()) => read_all(&mut socket, &mut bytes),
            Err(error) => error.to_string(),
        };
        Ok(Answer { bytes, end })
    })?
}

fn read_all(stream: &mut impl Read, bytes: &mut Vec<u8>) -> String {
    match stream.read_to_end(bytes) {
        Ok(_) => "closed".to_owned(),
        Err(error) if error.kind() == ErrorKind::WouldBlock => "still open".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Waits on a port to be called, with these papers; takes any caller's.
#[derive(Debug)]
pub struct Ambush {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// What came to an [`Ambush`].
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// Connections.
    pub calls: u32,
    /// Bytes inside the encryption: nothing must be said to somebody unproven.
    pub bytes: Vec<u8>,
}

impl Ambush {
    /// Listens on `host` at `port`.
    pub fn new(host: &Host, port: u16, alpn: &[u8], papers: &Papers) -> Result<Self> {
        let config = credulous_server(papers, alpn)?;
        let place = SocketAddr::new(host.address(), port);
        let listener = host.inside(|| TcpListener::bind(place))??;
        listener.set_nonblocking(true)?;
        let (seen, stop) = (
            Arc::new(Mutex::new(Seen::default())),
            Arc::new(AtomicBool::new(false)),
        );
        let thread = {
            let (seen, stop) = (seen.clone(), stop.clone());
            host.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let Ok((socket, _)) = listener.accept() else {
                        std::thread::sleep(Duration::from_millis(5));
                        continue;
                    };
                    let bytes = hear(socket, config.clone()).unwrap_or_default();
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.calls += 1;
                    seen.bytes.extend(bytes);
                }
            })?
        };
        Ok(Self {
            seen,
            stop,
            thread: Some(thread),
        })
    }

    /// What came so far.
    pub fn seen(&self) -> Seen {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Ambush {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn hear(mut socket: TcpStream, config: Arc<ServerConfig>) -> Result<Vec<u8>> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut connection = ServerConnection::new(config)?;
    let mut bytes = Vec::new();
    read_all(&mut Stream::new(&mut connection, &mut socket), &mut bytes);
    Ok(bytes)
}

/// A server with these papers that takes any caller's.
pub(crate) fn credulous_server(papers: &Papers, alpn: &[u8]) -> Result<Arc<ServerConfig>> {
    let (chain, key) = papers.key().context("a server has a certificate")?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(Credulous(provider())))
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Believes every certificate, so that only the other side can refuse.
#[derive(Debug)]
struct Credulous(Arc<CryptoProvider>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Credulous {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
