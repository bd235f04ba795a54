//! Getting the next certificate for the same key: from the authority where it lives
//! here, else from a node that holds it.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::timeout;

use crate::authority::Authority;
use crate::authority_error::AuthorityError;
use crate::blocking::blocking;
use crate::domain_files::{FileError, FolderLock};
use crate::holders;
use crate::join_call::{CallFailure, JoinCaller};
use crate::join_error::list;
use crate::join_protocol::{JoinAnswer, Refusal};
use crate::membership::Membership;
use crate::membership_file::MembershipError;
use crate::name::Name;
use crate::reject_reason::RejectReason;
use crate::renewal_request::RenewalRequest;
use crate::seek_config::SeekConfig;
use crate::seeker::Seeker;

/// How to renew.
#[derive(Debug, Clone)]
pub struct RenewalOptions {
    /// Where to look for the authority besides the places where it was found before.
    pub addresses: Vec<SocketAddr>,
    /// Where to ask around on the subnet; `None`: nowhere.
    pub seek: Option<SeekConfig>,
    /// How long to try, all in all.
    pub timeout: Duration,
}

/// A renewal that succeeded. It is on the disk.
#[derive(Debug, Clone)]
pub struct Renewed {
    /// The membership with the new certificate.
    pub membership: Membership,
    /// Who issued it: `None` if the authority lives here.
    pub by: Option<SocketAddr>,
}

/// There is no new certificate; the old one is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RenewalError {
    /// The node is in no domain.
    #[error("this node is in no domain: join one with potluck domain join CODE")]
    NotAMember,
    /// Nobody answered.
    #[error(
        "no node that holds the authority of {domain} can be reached{}",
        places(tried)
    )]
    Unreachable {
        /// The domain.
        domain: Name,
        /// Each address with what happened there.
        tried: Vec<(SocketAddr, String)>,
    },
    /// A node that holds the authority refused.
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
    /// The node went into another domain meanwhile.
    #[error("this node has left the domain meanwhile")]
    Left,
    /// The authority that lives here cannot be used.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The certificate that the authority here made does not hold.
    #[error("the new certificate does not hold: {0}")]
    OwnUnfit(RejectReason),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The present membership is broken, or the new one cannot be written.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// TLS cannot be set up here.
    #[error("cannot set up TLS: {0}")]
    Tls(rustls::Error),
}

impl Default for RenewalOptions {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            seek: None,
            timeout: Duration::from_secs(20),
        }
    }
}

/// Renews the certificate of the node that lives in `data_dir`.
pub async fn renew(data_dir: &Path, options: &RenewalOptions) -> Result<Renewed, RenewalError> {
    let dir = data_dir.to_owned();
    let beginning = blocking(move || begin(&dir)).await?;
    let present = beginning.present;
    let renewed = match beginning.here {
        Here::Renewed(membership) => Renewed {
            membership,
            by: None,
        },
        Here::Nothing => ask(&present, beginning.known, options).await?,
        // Another node may hold the authority, too.
        Here::Locked(error) => match ask(&present, beginning.known, options).await {
            Err(RenewalError::Unreachable { .. }) => return Err(error.into()),
            asked => asked?,
        },
    };
    let (dir, saved) = (data_dir.to_owned(), renewed.clone());
    blocking(move || install(&dir, &saved)).await?;
    Ok(renewed)
}

/// What there is before anybody is asked.
struct Beginning {
    present: Membership,
    here: Here,
    /// Where the authority was found before.
    known: Vec<SocketAddr>,
}

/// What the authority that lives here can do.
enum Here {
    Renewed(Membership),
    Locked(AuthorityError),
    /// It does not live here, or is another domain's.
    Nothing,
}

fn begin(data_dir: &Path) -> Result<Beginning, RenewalError> {
    let present = Membership::load(data_dir)?.ok_or(RenewalError::NotAMember)?;
    let here = match Authority::load(data_dir) {
        Ok(Some(authority)) if authority.fingerprint() == present.fingerprint() => {
            Here::Renewed(issue(&authority, &present)?)
        }
        Ok(_) => Here::Nothing,
        Err(error @ AuthorityError::Locked(_)) => Here::Locked(error),
        Err(error) => return Err(error.into()),
    };
    let known = holders::load(data_dir);
    Ok(Beginning {
        present,
        here,
        known,
    })
}

fn issue(authority: &Authority, present: &Membership) -> Result<Membership, RenewalError> {
    let identity = present.identity().ok_or(MembershipError::Given)?.clone();
    let name = present.node_name();
    let certificate = authority.issue(identity.public_key(), name, SystemTime::now())?;
    let (ca, beacon_key) = (authority.certificate(), authority.beacon_key());
    Membership::new(identity, certificate, ca.clone(), beacon_key.clone())
        .map_err(RenewalError::OwnUnfit)
}

async fn ask(
    present: &Membership,
    known: Vec<SocketAddr>,
    options: &RenewalOptions,
) -> Result<Renewed, RenewalError> {
    let caller = JoinCaller::new(present.fingerprint()).map_err(RenewalError::Tls)?;
    let mut addresses = options.addresses.clone();
    addresses.extend(known.iter().filter(|a| !options.addresses.contains(a)));
    let search = Search {
        present,
        caller,
        said: Mutex::default(),
    };
    let both = async {
        let (mut known, mut sought) = (
            pin!(search.try_known(&addresses)),
            pin!(search.try_sought(options.seek.as_ref(), &addresses)),
        );
        // Whichever comes to something first; the other is then of no interest.
        tokio::select! {
            found = &mut known => match found {
                Some(renewed) => Some(renewed),
                None => sought.await,
            },
            found = &mut sought => match found {
                Some(renewed) => Some(renewed),
                None => known.await,
            },
        }
    };
    let found = timeout(options.timeout, both).await;
    found.ok().flatten().ok_or_else(|| search.failure())
}

/// Asks one node after the other, and remembers what went wrong.
struct Search<'a> {
    present: &'a Membership,
    caller: JoinCaller,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    tried: Vec<(SocketAddr, String)>,
    /// Another holder may know more, or be in a better state: not the last word.
    refused: Option<RenewalError>,
}

impl Search<'_> {
    async fn try_known(&self, addresses: &[SocketAddr]) -> Option<Renewed> {
        for address in addresses {
            if let Some(renewed) = self.attempt(*address).await {
                return Some(renewed);
            }
        }
        None
    }

    async fn try_sought(
        &self,
        config: Option<&SeekConfig>,
        skip: &[SocketAddr],
    ) -> Option<Renewed> {
        let mut seeker = Seeker::begin(config?, self.present.fingerprint());
        while let Some(address) = seeker.next_besides(skip).await {
            if let Some(renewed) = self.attempt(address).await {
                return Some(renewed);
            }
        }
        None
    }

    async fn attempt(&self, address: SocketAddr) -> Option<Renewed> {
        let failure = match ask_at(address, &self.caller, self.present).await {
            Ok(membership) => {
                return Some(Renewed {
                    membership,
                    by: Some(address),
                });
            }
            Err(failure) => failure,
        };
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        match failure {
            Failure::Unreachable(why) => said.tried.push((address, why)),
            Failure::Refused(error) => said.refused = Some(error),
        }
        None
    }

    fn failure(self) -> RenewalError {
        let said = self
            .said
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        said.refused.unwrap_or_else(|| RenewalError::Unreachable {
            domain: self.present.domain_name().clone(),
            tried: said.tried,
        })
    }
}

/// What went wrong at one address.
enum Failure {
    Unreachable(String),
    Refused(RenewalError),
}

async fn ask_at(
    address: SocketAddr,
    caller: &JoinCaller,
    present: &Membership,
) -> Result<Membership, Failure> {
    let certificate = &present.certificate_chain()[0];
    let Some(identity) = present.identity() else {
        return Err(Failure::Refused(MembershipError::Given.into()));
    };
    let request = |binding: &_| RenewalRequest::new(certificate, identity, binding);
    let answer = match caller.call(address, request).await {
        Ok(answer) => answer,
        Err(CallFailure::Unreachable(why)) => return Err(Failure::Unreachable(why)),
        Err(CallFailure::Silent) => {
            return Err(Failure::Unreachable("no answer in time".to_owned()));
        }
        Err(CallFailure::Mismatch) => {
            let why = "another domain, or someone in between (fingerprint mismatch)";
            return Err(Failure::Unreachable(why.to_owned()));
        }
        Err(CallFailure::Tls(error)) => return Err(Failure::Refused(RenewalError::Tls(error))),
    };
    let error = match answer {
        JoinAnswer::Welcome(welcome) => match caller.membership(&welcome, identity.clone()) {
            Ok(membership) => return Ok(membership),
            Err(reason) => RenewalError::Unfit { address, reason },
        },
        JoinAnswer::Refused(refusal) => RenewalError::Refused { address, refusal },
    };
    Err(Failure::Refused(error))
}

fn install(data_dir: &Path, renewed: &Renewed) -> Result<(), RenewalError> {
    let _lock = FolderLock::take(data_dir)?;
    // It may have left or gone elsewhere while the answer was on its way.
    let present = Membership::load(data_dir)?;
    let stays = present.is_some_and(|present| {
        present.fingerprint() == renewed.membership.fingerprint()
            && present.peer_id() == renewed.membership.peer_id()
    });
    if !stays {
        return Err(RenewalError::Left);
    }
    renewed.membership.save(data_dir)?;
    if let Some(address) = renewed.by
        && let Err(error) = holders::remember(data_dir, address)
    {
        tracing::warn!(%error, "where to renew is not remembered");
    }
    Ok(())
}

fn places(tried: &[(SocketAddr, String)]) -> String {
    if tried.is_empty() {
        return ": its place is not known, and nobody on this subnet answers for it".to_owned();
    }
    format!(": {}", list(tried))
}
