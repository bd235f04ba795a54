//! What is done for one caller at the join port.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use libp2p::PeerId;
use rustls::ServerConfig;
use rustls::sign::SingleCertAndKey;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::warn;

use crate::authority::{Authority, AuthorityError};
use crate::certificate_policy::Leaf;
use crate::domain_files::Stamp;
use crate::hex::hex;
use crate::invite_store::{Invite, InviteRefusal, InviteStore, InviteStoreError};
use crate::join_protocol::{
    self, JOIN_ALPN, JoinAnswer, JoinRequest, MAX_REQUEST, ProvenRequest, Refusal, Welcome,
};
use crate::membership::{Membership, MembershipError};
use crate::membership_watch::MembershipWatch;
use crate::name::Name;
use crate::reject_reason::RejectReason;
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
}

/// How a call ended.
pub(crate) enum Served {
    Joined {
        name: Name,
        peer_id: PeerId,
        expires: SystemTime,
    },
    Refused(String),
}

/// The desk's files cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeskError {
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    Membership(#[from] MembershipError),
    #[error(transparent)]
    Store(#[from] InviteStoreError),
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("looking at the files was cut off")]
    CutOff,
}

/// What was last read from the files.
struct Files {
    membership: MembershipWatch,
    office: Option<Arc<Office>>,
    invites: Vec<Invite>,
    seen: Option<Option<Stamp>>,
}

/// What answers a caller: there is one as long as this node may let others in.
struct Office {
    authority: Authority,
    acceptor: TlsAcceptor,
}

impl JoinDesk {
    pub(crate) fn new(data_dir: &Path) -> Self {
        let files = Files {
            membership: MembershipWatch::new(data_dir),
            office: None,
            invites: Vec::new(),
            seen: None,
        };
        Self {
            store: InviteStore::new(data_dir),
            data_dir: Arc::new(data_dir.to_owned()),
            files: Arc::new(Mutex::new(files)),
            office: None,
        }
    }

    /// Reads what has changed, and says whether the port should be open.
    pub(crate) async fn look(&mut self) -> Result<bool, DeskError> {
        let desk = self.clone();
        let looked = tokio::task::spawn_blocking(move || desk.look_now()).await;
        self.office = looked.map_err(|_| DeskError::CutOff)??;
        Ok(self.office.is_some())
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
        let stamp = self.store.stamp();
        if files.seen != Some(stamp) {
            files.invites = self.store.load()?;
            files.seen = Some(stamp);
        }
        let now = SystemTime::now();
        let open = files.invites.iter().any(|invite| invite.is_live(now));
        Ok(files.office.clone().filter(|_| open))
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
        let request: JoinRequest = join_protocol::receive(&mut stream, MAX_REQUEST)
            .await
            .map_err(io)?;
        let decided = match request.prove(&binding) {
            // A use is taken and synced to the disk: not on the runtime's threads.
            Some(request) => tokio::task::spawn_blocking(move || self.decide(&office, &request))
                .await
                .unwrap_or(Err(Refusal::Trouble)),
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

    fn decide(
        &self,
        office: &Office,
        request: &ProvenRequest,
    ) -> Result<(Welcome, Served), Refusal> {
        let now = SystemTime::now();
        let peer_id = request.public_key.peer_id();
        match self
            .store
            .redeem(&request.secret, &peer_id.to_string(), now)
        {
            Ok(Ok(())) => {}
            Ok(Err(InviteRefusal::Unknown)) => return Err(Refusal::WrongSecret),
            Ok(Err(InviteRefusal::Expired)) => return Err(Refusal::Expired),
            Ok(Err(InviteRefusal::UsedUp)) => return Err(Refusal::UsedUp),
            Err(error) => return Err(trouble(&error)),
        }
        let authority = &office.authority;
        let certificate = authority
            .issue(request.public_key, &request.name, now)
            .map_err(|error| trouble(&error))?;
        let expires = Leaf::parse(&certificate)
            .map_err(|error| trouble(&error))?
            .not_after();
        let welcome = Welcome {
            certificate: hex(&certificate),
            authority: hex(authority.certificate()),
            beacon_key: hex(authority.beacon_key().expose()),
        };
        let name = request.name.clone();
        Ok((
            welcome,
            Served::Joined {
                name,
                peer_id,
                expires,
            },
        ))
    }
}

fn trouble(error: &dyn std::fmt::Display) -> Refusal {
    warn!(%error, "cannot let a node in");
    Refusal::Trouble
}
