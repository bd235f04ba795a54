//! A small circle of trust.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use potluck_discovery::{PeerId, RejectReason};
use potluck_transfer::{Judged, Refusal, Trust};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, CommonState, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

const NAME: &str = "node.test.internal";

pub struct TestDomain {
    authority: CertifiedIssuer<'static, KeyPair>,
    members: Arc<Mutex<Vec<(CertificateDer<'static>, PeerId)>>>,
}

pub struct TestTrust {
    pub id: PeerId,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    members: Arc<Mutex<Vec<(CertificateDer<'static>, PeerId)>>>,
    refusals: Mutex<Vec<Refusal>>,
    /// How long a connection that is judged now may live.
    pub life: Mutex<Duration>,
    judged: Mutex<usize>,
}

impl TestDomain {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        Self {
            authority: CertifiedIssuer::self_signed(params, key).unwrap(),
            members: Arc::default(),
        }
    }

    pub fn member(&self) -> Arc<TestTrust> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let certificate = params
            .signed_by(&key, &self.authority)
            .unwrap()
            .der()
            .clone();
        // The multihash of an Ed25519 key is the key with this before it.
        let id = [&[0, 0x24, 8, 1, 0x12, 0x20], key.public_key_raw()].concat();
        let id = PeerId::from_bytes(&id).unwrap();
        self.members.lock().unwrap().push((certificate.clone(), id));

        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let private = || PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![certificate.clone()], private())
            .unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], private())
            .unwrap();
        Arc::new(TestTrust {
            id,
            server: Arc::new(server),
            client: Arc::new(client),
            members: Arc::clone(&self.members),
            refusals: Mutex::default(),
            life: Mutex::new(Duration::from_secs(3600)),
            judged: Mutex::default(),
        })
    }
}

impl TestTrust {
    /// How many connections were judged.
    pub fn judged(&self) -> usize {
        *self.judged.lock().unwrap()
    }

    pub fn refusals(&self) -> Vec<Refusal> {
        self.refusals.lock().unwrap().clone()
    }

    fn judge(&self, connection: &CommonState) -> Result<Judged, RejectReason> {
        let shown = connection.peer_certificates().unwrap_or_default();
        *self.judged.lock().unwrap() += 1;
        let members = self.members.lock().unwrap();
        let known = members
            .iter()
            .find(|(certificate, _)| shown.first() == Some(certificate));
        let (_, peer) = known.ok_or(RejectReason::UnknownIssuer)?;
        Ok(Judged {
            peer: *peer,
            certificate: None,
            ends: SystemTime::now() + *self.life.lock().unwrap(),
        })
    }
}

impl Trust for TestTrust {
    fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    fn client_config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.client)
    }

    fn server_name(&self) -> ServerName<'static> {
        ServerName::try_from(NAME).unwrap()
    }

    fn admits(&self, _: SocketAddr) -> bool {
        true
    }

    fn judge_caller(&self, connection: &rustls::ServerConnection) -> Result<Judged, RejectReason> {
        self.judge(connection)
    }

    fn judge_answerer(
        &self,
        connection: &rustls::ClientConnection,
    ) -> Result<Judged, RejectReason> {
        self.judge(connection)
    }

    fn note_refusal(&self, refusal: Refusal) {
        self.refusals.lock().unwrap().push(refusal);
    }
}
