//! Joining a domain with a code.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, timeout_at};

use crate::authority::{self, Authority};
use crate::authority_facts::AuthorityFacts;
use crate::blocking::blocking;
use crate::domain_files::{self, FolderLock};
use crate::holders;
use crate::identity::NodeIdentity;
use crate::join_call::{self, CallFailure, JoinCaller};
use crate::join_code::JoinCode;
use crate::join_error::JoinError;
use crate::join_protocol::{JoinAnswer, JoinRequest, Refusal};
use crate::membership::Membership;
use crate::membership_file::MembershipError;
use crate::name::Name;
use crate::seek_config::SeekConfig;
use crate::seeker::Seeker;

/// How to join.
#[derive(Debug, Clone)]
pub struct JoinOptions {
    /// The name of this node.
    pub node_name: Name,
    /// Where to look for the inviting node besides the addresses in the code.
    pub addresses: Vec<SocketAddr>,
    /// Where to ask around on the subnet; `None`: nowhere.
    pub seek: Option<SeekConfig>,
    /// How long to try, all in all.
    pub timeout: Duration,
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
            seek: None,
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
    let found = ask(code, options, &identity).await?;
    let (dir, membership) = (data_dir.to_owned(), found.membership.clone());
    blocking(move || install(&dir, &found)).await?;
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

fn install(data_dir: &Path, found: &WayIn) -> Result<(), JoinError> {
    domain_files::make_data_dir(data_dir)?;
    let _lock = FolderLock::take(data_dir)?;
    // Someone else may have been quicker.
    refuse_other_domain(data_dir, found.membership.fingerprint())?;
    // The authority first: without a membership it does nothing, and joining again
    // takes it up.
    let installed = match &found.authority {
        Some(authority) => install_authority(data_dir, authority)?,
        None => false,
    };
    if let Err(error) = found.membership.save(data_dir) {
        if installed {
            let _ = std::fs::remove_dir_all(data_dir.join(authority::FOLDER));
        }
        return Err(error.into());
    }
    if let Err(error) = holders::remember(data_dir, found.holder) {
        tracing::warn!(%error, "where to renew is not remembered");
    }
    Ok(())
}

/// Writes an authority that is not here yet. Says whether it did.
fn install_authority(data_dir: &Path, authority: &Authority) -> Result<bool, JoinError> {
    match AuthorityFacts::load(data_dir)? {
        Some(present) if present.fingerprint() == authority.fingerprint() => Ok(false),
        Some(present) => Err(JoinError::OtherAuthority(present.name)),
        None => {
            authority.save(data_dir, None)?;
            Ok(true)
        }
    }
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

/// The way in.
struct WayIn {
    membership: Membership,
    /// For a node that is to hold the authority, too.
    authority: Option<Authority>,
    /// Who issued it.
    holder: SocketAddr,
}

async fn ask(
    code: &JoinCode,
    options: &JoinOptions,
    identity: &NodeIdentity,
) -> Result<WayIn, JoinError> {
    let mut addresses = options.addresses.clone();
    addresses.extend(
        code.addresses()
            .iter()
            .filter(|a| !options.addresses.contains(a)),
    );
    let search = Search {
        caller: JoinCaller::new(code.fingerprint()).map_err(JoinError::Tls)?,
        end: Instant::now() + options.timeout,
        code,
        name: &options.node_name,
        identity,
    };
    let mut known = pin!(search.try_known(&addresses));
    let mut sought = pin!(search.try_sought(options.seek.as_ref(), &addresses));
    tokio::select! {
        found = &mut known => match found {
            Err(error) if error.is_absence() => sought.await.unwrap_or(Err(error)),
            found => found,
        },
        found = &mut sought => match found {
            // What only another holder of the authority said is not the last word.
            Some(Err(error)) if error.is_of_another_holder() => known.await.map_err(|other| {
                if other.is_absence() { error } else { other }
            }),
            Some(found) => found,
            None => known.await,
        },
    }
}

/// Asks at one address after the other.
struct Search<'a> {
    caller: JoinCaller,
    end: Instant,
    code: &'a JoinCode,
    name: &'a Name,
    identity: &'a NodeIdentity,
}

impl Search<'_> {
    /// Asks at the addresses that were given, and again as long as that may help.
    async fn try_known(&self, addresses: &[SocketAddr]) -> Result<WayIn, JoinError> {
        let mut round = 1;
        loop {
            let mut tried = Vec::new();
            let mut mismatch = None;
            let mut silent = false;
            for &address in addresses {
                match self.attempt(address).await {
                    Ok(found) => return Ok(found),
                    // Someone else's machine may have this address: look on, but tell.
                    Err(Failure::Final(error @ JoinError::FingerprintMismatch { .. })) => {
                        mismatch = Some(error);
                    }
                    Err(Failure::Final(error)) => return Err(error),
                    Err(Failure::Unreachable(why)) => tried.push((address, why)),
                    Err(Failure::Silent) => {
                        silent = true;
                        tried.push((address, "no answer in time".to_owned()));
                    }
                }
            }
            // Where everybody was turned away at once, nobody will be there soon; a
            // silent address may have a long queue before it.
            let hopeless = tried.is_empty() || (round >= ROUNDS && !silent);
            if hopeless || Instant::now() + ROUND_PAUSE >= self.end {
                return Err(match mismatch {
                    Some(error) => error,
                    None if addresses.is_empty() => JoinError::NotFound,
                    None => JoinError::Unreachable { tried },
                });
            }
            sleep(ROUND_PAUSE).await;
            round += 1;
        }
    }

    /// Asks whoever on the subnet says that they let in. `None` if nobody does.
    async fn try_sought(
        &self,
        config: Option<&SeekConfig>,
        skip: &[SocketAddr],
    ) -> Option<Result<WayIn, JoinError>> {
        let mut seeker = Seeker::begin(config?, self.code.fingerprint());
        let mut unsure = None;
        while let Ok(Some(address)) = timeout_at(self.end, seeker.next_besides(skip)).await {
            match self.attempt(address).await {
                Ok(found) => return Some(Ok(found)),
                Err(Failure::Final(error)) if error.is_of_another_holder() => {
                    unsure = Some(Err(error));
                }
                Err(Failure::Final(error)) => return Some(Err(error)),
                Err(Failure::Unreachable(_) | Failure::Silent) => {}
            }
        }
        unsure
    }

    async fn attempt(&self, address: SocketAddr) -> Result<WayIn, Failure> {
        let asked = ask_at(address, &self.caller, self.code, self.name, self.identity);
        timeout_at(self.end, asked)
            .await
            .unwrap_or(Err(Failure::Silent))
    }
}

async fn ask_at(
    address: SocketAddr,
    caller: &JoinCaller,
    code: &JoinCode,
    name: &Name,
    identity: &NodeIdentity,
) -> Result<WayIn, Failure> {
    let request = |binding: &_| JoinRequest::new(code.secret(), name, identity, binding);
    let answer = caller.call(address, request).await;
    let welcome = match answer.map_err(|failure| Failure::of(address, failure))? {
        JoinAnswer::Welcome(welcome) => welcome,
        JoinAnswer::Refused(refusal) => return Err(Failure::Final(refused(address, refusal))),
    };
    let unfit = |reason| Failure::Final(JoinError::Unfit { address, reason });
    let membership = caller
        .membership(&welcome, identity.clone())
        .map_err(unfit)?;
    let authority = join_call::gift(&welcome, &membership).map_err(unfit)?;
    Ok(WayIn {
        membership,
        authority,
        holder: address,
    })
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
