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
use zeroize::Zeroizing;

use crate::authority::Authority;
use crate::authority_error::AuthorityError;
use crate::authority_facts::{AuthorityFacts, KeyState, add_holder};
use crate::blocking::blocking;
use crate::certificate_policy::Leaf;
use crate::domain_id::Fingerprint;
use crate::hex::hex;
use crate::identity::PublicKey;
use crate::invite_store::{InviteRefusal, InviteStore, Purpose};
use crate::join_protocol::{
    self, AuthorityGift, JOIN_ALPN, JoinAnswer, MAX_REQUEST, ProvenRequest, Refusal, Request,
    Welcome,
};
use crate::membership::Membership;
use crate::membership_watch::MembershipWatch;
use crate::membership_watch::SourceError;
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
    Joined(Certified, Purpose),
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
    Membership(#[from] SourceError),
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// What was last read from the files.
struct Files {
    membership: MembershipWatch,
    member: Option<Membership>,
}

/// What answers a caller: there is one as long as the domain's authority lives here,
/// locked or not.
struct Office {
    fingerprint: Fingerprint,
    /// This node's own id.
    peer_id: PeerId,
    acceptor: TlsAcceptor,
    /// Whether certificates could be issued when the files were last looked at.
    is_unlocked: bool,
}

impl JoinDesk {
    pub(crate) fn new(data_dir: &Path, revoked: RevokedCheck) -> Self {
        let files = Files {
            membership: MembershipWatch::new(data_dir),
            member: None,
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
        office.is_unlocked.then_some(office.fingerprint)
    }

    fn look_now(&self) -> Result<Option<Arc<Office>>, DeskError> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(membership) = files.membership.check() {
            files.member = None;
            match membership {
                Ok(membership) => files.member = membership,
                Err(error) => {
                    // Not to be taken for read: the next look tries again.
                    files.membership = MembershipWatch::new(&self.data_dir);
                    return Err(error.into());
                }
            }
        }
        let Some(member) = &files.member else {
            return Ok(None);
        };
        let Some(facts) = AuthorityFacts::load(&self.data_dir)? else {
            return Ok(None);
        };
        if facts.fingerprint() != member.fingerprint() {
            return Ok(None);
        }
        let is_unlocked = facts.key_state(&self.data_dir)? != KeyState::Locked;
        Self::open_office(member, is_unlocked).map(|office| Some(Arc::new(office)))
    }

    /// The office of a member that holds its own domain's authority.
    fn open_office(membership: &Membership, is_unlocked: bool) -> Result<Office, DeskError> {
        let key = SingleCertAndKey::from(tls::certified_key(membership)?);
        let mut config = ServerConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(key));
        tls::forbid_resumption(&mut config);
        config.alpn_protocols = vec![JOIN_ALPN.to_vec()];
        Ok(Office {
            fingerprint: membership.fingerprint(),
            peer_id: membership.peer_id(),
            acceptor: TlsAcceptor::from(Arc::new(config)),
            is_unlocked,
        })
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
        // Read anew for each caller, so that locking it has effect at once.
        let authority = match Authority::load(&self.data_dir) {
            Ok(Some(authority)) => authority,
            Ok(None) => return Err(Refusal::Trouble),
            Err(AuthorityError::Locked(_)) => return Err(Refusal::Locked),
            Err(error) => return Err(trouble(&error)),
        };
        match proven {
            Proven::Join(request) => {
                let purpose = self.redeem(request, now)?;
                let (key, name) = (request.public_key, &request.name);
                let (mut welcome, certified) = certify(&authority, key, name, now)?;
                if purpose == Purpose::Authority {
                    let gift = self.give(&authority, office, &key.peer_id());
                    welcome.gift = Some(gift?);
                }
                Ok((welcome, Served::Joined(certified, purpose)))
            }
            Proven::Renewal(certificate) => {
                let member = renewable(certificate, authority.certificate(), now)?;
                self.refuse_revoked(&member.public_key.peer_id())?;
                let (welcome, certified) =
                    certify(&authority, member.public_key, &member.name, now)?;
                Ok((welcome, Served::Renewed(certified)))
            }
        }
    }

    /// Takes a place of the invitation.
    fn redeem(&self, request: &ProvenRequest, now: SystemTime) -> Result<Purpose, Refusal> {
        let peer_id = request.public_key.peer_id();
        self.refuse_revoked(&peer_id)?;
        match self
            .store
            .redeem(&request.secret, &peer_id.to_string(), now)
        {
            Ok(Ok(purpose)) => Ok(purpose),
            Ok(Err(InviteRefusal::Unknown)) => Err(Refusal::WrongSecret),
            Ok(Err(InviteRefusal::Expired)) => Err(Refusal::Expired),
            Ok(Err(InviteRefusal::UsedUp)) => Err(Refusal::UsedUp),
            Err(error) => Err(trouble(&error)),
        }
    }

    /// Gives the authority to a node, and remembers that it has it.
    fn give(
        &self,
        authority: &Authority,
        office: &Office,
        to: &PeerId,
    ) -> Result<AuthorityGift, Refusal> {
        let to = to.to_string();
        add_holder(&self.data_dir, &to).map_err(|error| trouble(&error))?;
        let key = authority.key().to_pkcs8().ok_or(Refusal::Trouble)?;
        let mut holders = vec![office.peer_id.to_string()];
        holders.extend(authority.others().iter().filter(|id| **id != to).cloned());
        Ok(AuthorityGift {
            key: Zeroizing::new(hex(&key)),
            certificate_lifetime: authority.certificate_lifetime().as_secs(),
            holders,
        })
    }

    fn refuse_revoked(&self, peer_id: &PeerId) -> Result<(), Refusal> {
        if (self.revoked)(peer_id) {
            return Err(Refusal::Revoked);
        }
        Ok(())
    }
}

/// Issues a certificate, with all that makes a member of it.
fn certify(
    authority: &Authority,
    key: PublicKey,
    name: &Name,
    now: SystemTime,
) -> Result<(Welcome, Certified), Refusal> {
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
        gift: None,
    };
    let certified = Certified {
        name: name.clone(),
        peer_id: key.peer_id(),
        expires,
    };
    Ok((welcome, certified))
}

fn trouble(error: &dyn std::fmt::Display) -> Refusal {
    warn!(%error, "cannot let a node in");
    Refusal::Trouble
}
