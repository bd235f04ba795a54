//! Why an authority cannot do its work.

use std::path::PathBuf;

use crate::authority_settings::VERSION;
use crate::domain_files::FileError;
use crate::name::Name;

/// The authority cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is damaged.
    #[error("{0} is damaged: restore the authority's folder from a copy")]
    Damaged(PathBuf),
    /// The settings are of another version.
    #[error("{path} is of version {found}; this program knows version {VERSION}")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// A key or certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(String),
    /// The key is protected, and nobody gave its passphrase to this process.
    #[error("the authority of the domain {0} is locked: unlock it with potluck domain unlock")]
    Locked(Name),
    /// That is not the passphrase.
    #[error("that is not the passphrase of the authority")]
    WrongPassphrase,
    /// There is no authority.
    #[error("this node does not hold the authority of a domain")]
    None,
    /// The key has no passphrase that could lock it.
    #[error("the authority has no passphrase: give it one with potluck domain passphrase")]
    Unprotected,
}
