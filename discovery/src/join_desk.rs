//! What is done for one caller at the join port.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use libp2p::PeerId;
use rustls::ServerConfig;
use rustls::sign::SingleCertAndKey;
use rustls_pki_types::CertificateDer;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::warn;

use crate::authority::{Authority, AuthorityError};
use crate::blocking::blocking;
use crate::certificate_policy::Leaf;
use crate::domain_id::Fingerprint;
use crate::hex::hex;
use crate::identity::PublicKey;
use crate::invite_store::{InviteRefusal, InviteStore};
use crate::join_protocol::{
    self, JOIN_ALPN, JoinAnswer, MAX_REQUEST, ProvenRequest, Refusal, Request, Welcome,
};
use crate::membership::{Membership, MembershipError};
use crate::membership_watch::MembershipWatch;
use crate::name::Name;
use crate::reject_reason::RejectReason;
use crate::renewal_request::renewable;
use crate::tls;

/// How long a caller may take for the handshake and its request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers callers from the files of one data directory. Cheap to clone.
#[derive(Clone)]
pub(crate) struct JoinDesk {
    store: InviteStore,
    data_dir: Arc<PathBuf>,
    files: Arc<Mutex<Files>>,
    office: Option<Arc<Office>>,
    revoked: RevokedCheck,
}

/// Says whether a node was revoked.
pub type RevokedCheck = Arc<dyn Fn(&PeerId) -> bool + Send + Sync>;

/// How a call ended.
pub(crate) enum Served {
    Joined(Certified),
    Renewed(Certified),
    Refused(String),
}

/// Who got a certificate, and until when.
pub(crate) struct Certified {
    pub(crate) name: Name,
    pub(crate) peer_id: PeerId,
    pub(crate) expires: SystemTime,
}

/// What a caller asks for, as far as it is proven.
enum Proven {
    Join(ProvenRequest),
    Renewal(CertificateDer<'static>),
}

/// The desk's files cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeskError {
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    Membership(#[from] MembershipError),
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// What was last read from the files.
struct Files {
    membership: MembershipWatch,
    office: Option<Arc<Office>>,
}

/// What answers a caller: there is one as long as the domain's authority lives here.
struct Office {
    authority: Authority,
    acceptor: TlsAcceptor,
}

impl JoinDesk {
    pub(crate) fn new(data_dir: &Path, revoked: RevokedCheck) -> Self {
        let files = Files {
            membership: MembershipWatch::new(data_dir),
            office: None,
        };
        Self {
            store: InviteStore::new(data_dir),
            data_dir: Arc::new(data_dir.to_owned()),
            files: Arc::new(Mutex::new(files)),
            office: None,
            revoked,
        }
    }

    /// Reads what has changed, and says whether the port should be open.
    pub(crate) async fn look(&mut self) -> Result<bool, DeskError> {
        let desk = self.clone();
        self.office = blocking(move || desk.look_now()).await?;
        Ok(self.office.is_some())
    }

    /// The fingerprint of the authority for which certificates are issued here now.
    pub(crate) fn lets_in(&self) -> Option<Fingerprint> {
        let office = self.office.as_ref()?;
        Some(office.authority.fingerprint())
    }

    fn look_now(&self) -> Result<Option<Arc<Office>>, DeskError> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(membership) = files.membership.check() {
            files.office = None;
            let opened = membership
                .map_err(DeskError::from)
                .and_then(|m| self.open_office(m));
            match opened {
                Ok(office) => files.office = office.map(Arc::new),
                Err(error) => {
                    // Not to be taken for read: the next look tries again.
                    files.membership = MembershipWatch::new(&self.data_dir);
                    return Err(error);
                }
            }
        }
        Ok(files.office.clone())
    }

    /// The office of a member that holds its own domain's authority.
    fn open_office(&self, membership: Option<Membership>) -> Result<Option<Office>, DeskError> {
        let authority = Authority::load(&self.data_dir)?;
        let Some((membership, authority)) = membership.zip(authority) else {
            return Ok(None);
        };
        if authority.fingerprint() != membership.fingerprint() {
            return Ok(None);
        }
        let key = SingleCertAndKey::from(tls::certified_key(&membership)?);
        let mut config = ServerConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(key));
        tls::forbid_resumption(&mut config);
        config.alpn_protocols = vec![JOIN_ALPN.to_vec()];
        Ok(Some(Office {
            authority,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        }))
    }

    /// Serves one caller to the end.
    pub(crate) async fn serve(self, stream: TcpStream) -> Served {
        match timeout(PATIENCE, self.talk(stream)).await {
            Ok(Ok(served)) => served,
            Ok(Err(reason)) => Served::Refused(reason.to_string()),
            Err(_) => Served::Refused(RejectReason::Timeout.to_string()),
        }
    }

    async fn talk(self, stream: TcpStream) -> Result<Served, RejectReason> {
        let io = |error: std::io::Error| RejectReason::from_io(&error);
        let office = self.office.clone().ok_or(RejectReason::Closed)?;
        let mut stream = office.acceptor.accept(stream).await.map_err(io)?;
        let connection = stream.get_ref().1;
        if connection.alpn_protocol() != Some(JOIN_ALPN) {
            return Err(RejectReason::WrongProtocol);
        }
        let binding = join_protocol::binding(connection).map_err(|e| RejectReason::from(&e))?;
        let request: Request = join_protocol::receive(&mut stream, MAX_REQUEST)
            .await
            .map_err(io)?;
        let proven = match request {
            Request::Join(request) => request.prove(&binding).map(Proven::Join),
            Request::Renew(request) => request.prove(&binding).map(Proven::Renewal),
        };
        let decided = match proven {
            // A use is taken and synced to the disk: not on the runtime's threads.
            Some(proven) => blocking(move || self.decide(&office, &proven)).await,
            None => Err(Refusal::BadRequest),
        };
        let (answer, served) = match decided {
            Ok((welcome, served)) => (JoinAnswer::Welcome(welcome), served),
            Err(refusal) => (
                JoinAnswer::Refused(refusal),
                Served::Refused(refusal.to_string()),
            ),
        };
        join_protocol::send(&mut stream, &answer)
            .await
            .map_err(io)?;
        // The answer is out; how the caller hangs up changes nothing.
        let _ = stream.shutdown().await;
        Ok(served)
    }

    fn decide(&self, office: &Office, proven: &Proven) -> Result<(Welcome, Served), Refusal> {
        let now = SystemTime::now();
        match proven {
            Proven::Join(request) => {
                self.redeem(request, now)?;
                let (welcome, certified) =
                    office.certify(request.public_key, &request.name, now)?;
                Ok((welcome, Served::Joined(certified)))
            }
            Proven::Renewal(certificate) => {
                let authority = office.authority.certificate();
                let member = renewable(certificate, authority, now)?;
                self.refuse_revoked(&member.public_key.peer_id())?;
                let (welcome, certified) = office.certify(member.public_key, &member.name, now)?;
                Ok((welcome, Served::Renewed(certified)))
            }
        }
    }

    /// Takes a place of the invitation.
    fn redeem(&self, request: &ProvenRequest, now: SystemTime) -> Result<(), Refusal> {
        let peer_id = request.public_key.peer_id();
        self.refuse_revoked(&peer_id)?;
        match self
            .store
            .redeem(&request.secret, &peer_id.to_string(), now)
        {
            Ok(Ok(())) => Ok(()),
            Ok(Err(InviteRefusal::Unknown)) => Err(Refusal::WrongSecret),
            Ok(Err(InviteRefusal::Expired)) => Err(Refusal::Expired),
            Ok(Err(InviteRefusal::UsedUp)) => Err(Refusal::UsedUp),
            Err(error) => Err(trouble(&error)),
        }
    }

    fn refuse_revoked(&self, peer_id: &PeerId) -> Result<(), Refusal> {
        if (self.revoked)(peer_id) {
            return Err(Refusal::Revoked);
        }
        Ok(())
    }
}

impl Office {
    /// Issues a certificate, with all that makes a member of it.
    fn certify(
        &self,
        key: PublicKey,
        name: &Name,
        now: SystemTime,
    ) -> Result<(Welcome, Certified), Refusal> {
        let authority = &self.authority;
        let certificate = authority
            .issue(key, name, now)
            .map_err(|error| trouble(&error))?;
        let expires = Leaf::parse(&certificate)
            .map_err(|error| trouble(&error))?
            .not_after();
        let welcome = Welcome {
            certificate: hex(&certificate),
            authority: hex(authority.certificate()),
            beacon_key: hex(authority.beacon_key().expose()),
        };
        let certified = Certified {
            name: name.clone(),
            peer_id: key.peer_id(),
            expires,
        };
        Ok((welcome, certified))
    }
}

fn trouble(error: &dyn std::fmt::Display) -> Refusal {
    warn!(%error, "cannot let a node in");
    Refusal::Trouble
}
