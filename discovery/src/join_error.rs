//! Why joining failed.

use std::net::SocketAddr;

use crate::authority_error::AuthorityError;
use crate::domain_files::FileError;
use crate::identity::IdentityError;
use crate::join_protocol::Refusal;
use crate::membership_file::MembershipError;
use crate::name::Name;
use crate::reject_reason::RejectReason;

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
    /// The code holds no address, and nobody on the subnet answers for its domain.
    #[error(
        "the code names no address, and nobody on this subnet lets in for its domain: is potluck running on the inviting node, and is that one on this subnet?"
    )]
    NotFound,
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
    /// The authority of another domain lives here.
    #[error("this node holds the authority of the domain {0}: leave that one first")]
    OtherAuthority(Name),
    /// The authority cannot be kept here, or the one that lives here is broken.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
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

impl JoinError {
    /// Whether the inviting node was not reached at all.
    pub(crate) const fn is_absence(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::NotFound | Self::FingerprintMismatch { .. }
        )
    }

    /// Whether the inviting node itself may say something else: several nodes can hold
    /// one authority, but only one knows the secret of a code.
    pub(crate) const fn is_of_another_holder(&self) -> bool {
        matches!(
            self,
            Self::WrongSecret
                | Self::FingerprintMismatch { .. }
                | Self::Refused { .. }
                | Self::Unfit { .. }
        )
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
