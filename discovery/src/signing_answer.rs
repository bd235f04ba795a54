//! The answer to a request that was carried as a file: the certificate, the
//! authority's, and the key of the beacons sealed for the node that asked.

use std::path::Path;
use std::time::SystemTime;

use libp2p::PeerId;
use rustls_pki_types::CertificateDer;

use crate::authority::Authority;
use crate::authority_error::AuthorityError;
use crate::domain_files::{self, FileError, FolderLock};
use crate::identity::{IdentityError, NodeIdentity};
use crate::membership::Membership;
use crate::membership_file::MembershipError;
use crate::name::Name;
use crate::reject_reason::RejectReason;
use crate::revocations::Revocations;
use crate::sealing;
use crate::signing_request::{SigningRequest, sealing_key};

const CERTIFICATE_LABEL: &str = "CERTIFICATE";
const SEALED_LABEL: &str = "POTLUCK SEALED KEY";
/// Longer texts than this are no answers, in bytes.
const MAX_TEXT: usize = 64 * 1024;

/// A request is not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// This node cannot sign.
    #[error("this node does not hold the authority of a domain: sign where it is kept")]
    NoAuthority,
    /// The node that asks was revoked.
    #[error("the node {0} was revoked: it must leave the domain and ask with a new key")]
    Revoked(PeerId),
    /// The answer cannot be sealed.
    #[error("cannot seal the answer for this request")]
    Seal,
    /// The authority is broken or locked.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The membership here is broken, so who was revoked is not known.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The revocations cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

/// An answer is not accepted; nothing on the disk has changed.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// It is no answer.
    #[error("this is no answer of potluck domain sign, or a part of it is missing")]
    Form,
    /// This node made no request.
    #[error("this node has no key yet: begin with potluck domain request")]
    NoRequest,
    /// It is for another node.
    #[error("this answer is for another node, or for a former key of this one")]
    OtherNode,
    /// The certificate makes no member.
    #[error("the certificate in the answer does not hold: {0}")]
    Unfit(RejectReason),
    /// The node is in another domain.
    #[error("this node is in the domain {0}, and the answer is of another: leave it first")]
    AlreadyMember(Name),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The node's key is broken.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The membership cannot be read or written.
    #[error(transparent)]
    Membership(#[from] MembershipError),
}

/// Signs a request with the authority that lives in `data_dir`.
pub fn sign_request(data_dir: &Path, request: &SigningRequest) -> Result<String, SignError> {
    let authority = Authority::load(data_dir)?.ok_or(SignError::NoAuthority)?;
    let peer_id = request.peer_id();
    if let Some(membership) = Membership::load(data_dir)?
        && Revocations::open(data_dir, &membership)?.is_revoked(&peer_id)
    {
        return Err(SignError::Revoked(peer_id));
    }
    let certificate = authority.issue(request.public_key(), request.name(), SystemTime::now())?;
    let bound = [certificate.as_ref(), authority.certificate()].concat();
    let sealed = sealing::seal(authority.beacon_key(), request.sealing(), &bound);
    let sealed = sealed.ok_or(SignError::Seal)?;
    let mut text = domain_files::pem(CERTIFICATE_LABEL, &certificate);
    text.push_str(&domain_files::pem(
        CERTIFICATE_LABEL,
        authority.certificate(),
    ));
    text.push_str(&domain_files::pem(SEALED_LABEL, &sealed));
    Ok(text)
}

/// Joins or renews with an answer, for the node that lives in `data_dir`.
pub fn accept_answer(data_dir: &Path, text: &str) -> Result<Membership, AnswerError> {
    let identity = NodeIdentity::load(data_dir)?.ok_or(AnswerError::NoRequest)?;
    let membership = read(text, identity)?;
    let chain = membership.certificate_chain();
    membership
        .policy()
        .check(Some(chain), SystemTime::now())
        .map_err(AnswerError::Unfit)?;
    let _lock = FolderLock::take(data_dir)?;
    match Membership::load(data_dir) {
        Ok(Some(present)) if present.fingerprint() != membership.fingerprint() => {
            return Err(AnswerError::AlreadyMember(present.domain_name().clone()));
        }
        // What is beyond use may be replaced.
        Ok(_) | Err(MembershipError::Damaged(_)) => {}
        Err(error) => return Err(error.into()),
    }
    membership.save(data_dir)?;
    Ok(membership)
}

fn read(text: &str, identity: NodeIdentity) -> Result<Membership, AnswerError> {
    if text.len() > MAX_TEXT {
        return Err(AnswerError::Form);
    }
    let blocks = pem::parse_many(text).map_err(|_| AnswerError::Form)?;
    let labels = [CERTIFICATE_LABEL, CERTIFICATE_LABEL, SEALED_LABEL];
    if !blocks.iter().map(pem::Pem::tag).eq(labels) {
        return Err(AnswerError::Form);
    }
    let (certificate, authority) = (blocks[0].contents(), blocks[1].contents());
    let bound = [certificate, authority].concat();
    let beacon_key = sealing_key(&identity)
        .and_then(|own| sealing::open(blocks[2].contents(), &own, &bound))
        .ok_or(AnswerError::OtherNode)?;
    let certificate = CertificateDer::from(certificate.to_vec());
    let authority = CertificateDer::from(authority.to_vec());
    Membership::new(identity, certificate, authority, beacon_key).map_err(AnswerError::Unfit)
}
