//! Joining a domain with a code.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, timeout_at};

use crate::blocking::blocking;
use crate::domain_files::{self, FileError, FolderLock};
use crate::holders;
use crate::identity::{IdentityError, NodeIdentity};
use crate::join_call::{CallFailure, JoinCaller};
use crate::join_code::JoinCode;
use crate::join_protocol::{JoinAnswer, JoinRequest, Refusal};
use crate::membership::{Membership, MembershipError};
use crate::name::Name;
use crate::reject_reason::RejectReason;

/// How to join.
#[derive(Debug, Clone)]
pub struct JoinOptions {
    /// The name of this node.
    pub node_name: Name,
    /// Where to look for the inviting node besides the addresses in the code.
    pub addresses: Vec<SocketAddr>,
    /// How long to try, all in all.
    pub timeout: Duration,
}

/// Joining failed; nothing on the disk has changed.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The invitation has ended.
    #[error("the invitation has ended: ask for a new join code")]
    Expired,
    /// Others have used it.
    #[error("the invitation is used up: ask for a new join code")]
    UsedUp,
    /// The inviting node knows no such secret.
    #[error("the inviting node does not know this code: it may have been made anew since")]
    WrongSecret,
    /// Nobody answered.
    #[error(
        "the inviting node cannot be reached at {}: is potluck running there, and may it be reached on this port?",
        list(tried)
    )]
    Unreachable {
        /// Each address with what happened there.
        tried: Vec<(SocketAddr, String)>,
    },
    /// The code holds no address and none was given.
    #[error("the code names no address: say where the inviting node is")]
    NoAddress,
    /// Someone else answered: another domain, or someone in between.
    #[error(
        "{address} is not the authority that the code names (fingerprint mismatch): another domain, or someone in between; nothing was sent to it"
    )]
    FingerprintMismatch {
        /// Who answered.
        address: SocketAddr,
    },
    /// The inviting node refused for another reason.
    #[error("{address} refused: {refusal}")]
    Refused {
        /// Who refused.
        address: SocketAddr,
        /// Why.
        refusal: Refusal,
    },
    /// What it sent makes no membership.
    #[error("the certificate that {address} sent does not hold: {reason}")]
    Unfit {
        /// Who sent it.
        address: SocketAddr,
        /// Why not.
        reason: RejectReason,
    },
    /// The node is in another domain.
    #[error("this node is in the domain {0} already")]
    AlreadyMember(Name),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The node's key is broken.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The present membership is broken, or the new one cannot be written.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// TLS cannot be set up here.
    #[error("cannot set up TLS: {0}")]
    Tls(rustls::Error),
}

/// What went wrong at one address.
enum Failure {
    /// Another address may do better.
    Unreachable(String),
    /// Nothing was heard. Another address may do better, or this one later.
    Silent,
    /// That was the answer.
    Final(JoinError),
}

/// Between two rounds over all addresses: a daemon opens its port within a
/// second of an invitation.
const ROUND_PAUSE: Duration = Duration::from_millis(700);
/// How often all addresses are tried, if each refuses at once.
const ROUNDS: usize = 3;

impl JoinOptions {
    /// The defaults: 20 seconds, the addresses in the code.
    #[must_use]
    pub fn new(node_name: Name) -> Self {
        Self {
            node_name,
            addresses: Vec::new(),
            timeout: Duration::from_secs(20),
        }
    }
}

/// Joins the domain that `code` names, for the node that lives in `data_dir`.
///
/// A node that has a key keeps it. A member of the same domain may join again,
/// for instance when its certificate has ended.
pub async fn join(
    data_dir: &Path,
    code: &JoinCode,
    options: &JoinOptions,
) -> Result<Membership, JoinError> {
    if code.expires() <= SystemTime::now() {
        return Err(JoinError::Expired);
    }
    let identity = {
        let (dir, code) = (data_dir.to_owned(), code.clone());
        blocking(move || prepare(&dir, &code)).await?
    };
    let (membership, holder) = ask(code, options, &identity).await?;
    let (dir, saved) = (data_dir.to_owned(), membership.clone());
    blocking(move || install(&dir, &saved, holder)).await?;
    Ok(membership)
}

/// The key to join with. Writes nothing.
fn prepare(data_dir: &Path, code: &JoinCode) -> Result<NodeIdentity, JoinError> {
    refuse_other_domain(data_dir, code.fingerprint())?;
    Ok(match NodeIdentity::load(data_dir)? {
        Some(identity) => identity,
        None => NodeIdentity::generate()?,
    })
}

fn install(data_dir: &Path, membership: &Membership, holder: SocketAddr) -> Result<(), JoinError> {
    domain_files::make_data_dir(data_dir)?;
    let _lock = FolderLock::take(data_dir)?;
    // Someone else may have been quicker.
    refuse_other_domain(data_dir, membership.fingerprint())?;
    membership.save(data_dir)?;
    if let Err(error) = holders::remember(data_dir, holder) {
        tracing::warn!(%error, "where to renew is not remembered");
    }
    Ok(())
}

fn refuse_other_domain(
    data_dir: &Path,
    wanted: crate::domain_id::Fingerprint,
) -> Result<(), JoinError> {
    match Membership::load(data_dir) {
        Ok(Some(present)) if present.fingerprint() != wanted => {
            Err(JoinError::AlreadyMember(present.domain_name().clone()))
        }
        // What is beyond use may be replaced: joining again is the way out of it.
        Ok(_) | Err(MembershipError::Damaged(_) | MembershipError::KeyMissing(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn ask(
    code: &JoinCode,
    options: &JoinOptions,
    identity: &NodeIdentity,
) -> Result<(Membership, SocketAddr), JoinError> {
    let mut addresses = options.addresses.clone();
    addresses.extend(
        code.addresses()
            .iter()
            .filter(|a| !options.addresses.contains(a)),
    );
    if addresses.is_empty() {
        return Err(JoinError::NoAddress);
    }
    let caller = JoinCaller::new(code.fingerprint()).map_err(JoinError::Tls)?;
    let end = Instant::now() + options.timeout;
    let mut round = 1;
    loop {
        let mut tried = Vec::new();
        let mut mismatch = None;
        let mut silent = false;
        for &address in &addresses {
            let asked = ask_at(address, &caller, code, &options.node_name, identity);
            match timeout_at(end, asked).await {
                Ok(Ok(membership)) => return Ok((membership, address)),
                // Someone else's machine may have this address: look on, but tell.
                Ok(Err(Failure::Final(error @ JoinError::FingerprintMismatch { .. }))) => {
                    mismatch = Some(error);
                }
                Ok(Err(Failure::Final(error))) => return Err(error),
                Ok(Err(Failure::Unreachable(why))) => tried.push((address, why)),
                Ok(Err(Failure::Silent)) | Err(_) => {
                    silent = true;
                    tried.push((address, "no answer in time".to_owned()));
                }
            }
        }
        // Where everybody was turned away at once, nobody will be there soon; a
        // silent address may have a long queue before it.
        let hopeless = tried.is_empty() || (round >= ROUNDS && !silent);
        if hopeless || Instant::now() + ROUND_PAUSE >= end {
            return Err(mismatch.unwrap_or(JoinError::Unreachable { tried }));
        }
        sleep(ROUND_PAUSE).await;
        round += 1;
    }
}

async fn ask_at(
    address: SocketAddr,
    caller: &JoinCaller,
    code: &JoinCode,
    name: &Name,
    identity: &NodeIdentity,
) -> Result<Membership, Failure> {
    let request = |binding: &_| JoinRequest::new(code.secret(), name, identity, binding);
    let answer = caller.call(address, request).await;
    let welcome = match answer.map_err(|failure| Failure::of(address, failure))? {
        JoinAnswer::Welcome(welcome) => welcome,
        JoinAnswer::Refused(refusal) => return Err(Failure::Final(refused(address, refusal))),
    };
    caller
        .membership(&welcome, identity.clone())
        .map_err(|reason| Failure::Final(JoinError::Unfit { address, reason }))
}

impl Failure {
    fn of(address: SocketAddr, failure: CallFailure) -> Self {
        match failure {
            CallFailure::Unreachable(why) => Self::Unreachable(why),
            CallFailure::Silent => Self::Silent,
            CallFailure::Mismatch => Self::Final(JoinError::FingerprintMismatch { address }),
            CallFailure::Tls(error) => Self::Final(JoinError::Tls(error)),
        }
    }
}

fn refused(address: SocketAddr, refusal: Refusal) -> JoinError {
    match refusal {
        Refusal::Expired => JoinError::Expired,
        Refusal::UsedUp => JoinError::UsedUp,
        Refusal::WrongSecret => JoinError::WrongSecret,
        refusal => JoinError::Refused { address, refusal },
    }
}

/// What happened at each address, in words.
pub(crate) fn list(tried: &[(SocketAddr, String)]) -> String {
    let each: Vec<_> = tried
        .iter()
        .map(|(address, why)| format!("{address} ({why})"))
        .collect();
    each.join(", ")
}
