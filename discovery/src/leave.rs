//! Leaving a domain: membership, revocations, the node's key and the authority go, so
//! that the node is somebody else when it joins again.

use std::path::Path;

use crate::authority;
use crate::authority_error::AuthorityError;
use crate::authority_facts::AuthorityFacts;
use crate::authority_key;
use crate::domain_files::{self, FileError, FolderLock};
use crate::identity;
use crate::membership_file;
use crate::name::Name;

/// The node is still in its domain.
#[derive(Debug, thiserror::Error)]
pub enum LeaveError {
    /// There is nothing to leave.
    #[error("this node is in no domain")]
    NotAMember,
    /// The authority would be lost with this node.
    #[error(
        "this node is the only known holder of the authority of the domain {0}: without it nobody can join or renew any more; let another node hold it first (potluck domain invite --authority), or leave with --force"
    )]
    OnlyHolder(Name),
    /// The authority is broken; by force it is removed as it is.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A file cannot be removed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Leaves the domain of the node that lives in `data_dir`, even if its files are
/// damaged. With `force` also as the only known holder of the authority, which is then
/// gone for good.
pub fn leave(data_dir: &Path, force: bool) -> Result<(), LeaveError> {
    let membership = membership_file::file_in(data_dir);
    let held = data_dir.join(authority::FOLDER);
    if !membership.exists() && !held.exists() {
        return Err(LeaveError::NotAMember);
    }
    let _lock = FolderLock::take(data_dir)?;
    let facts = match AuthorityFacts::load(data_dir) {
        Err(_) if force => None,
        facts => facts?,
    };
    if let Some(facts) = facts {
        if facts.settings.others.is_empty() && !force {
            return Err(LeaveError::OnlyHolder(facts.name));
        }
        authority_key::forget(facts.fingerprint());
    }
    // The membership first: what is left after a crash makes no member.
    domain_files::remove_file(&membership)?;
    for folder in [membership_file::FOLDER, authority::FOLDER, identity::FOLDER] {
        domain_files::remove_folder(&data_dir.join(folder))?;
    }
    Ok(())
}
