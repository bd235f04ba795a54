//! Locking the key of an authority with a passphrase, and unlocking it.

use std::path::Path;

use crate::authority::FOLDER;
use crate::authority_error::AuthorityError;
use crate::authority_facts::{AuthorityFacts, key_file};
use crate::authority_key::{self, StoredKey};
use crate::domain_files::FolderLock;
use crate::passphrase::Passphrase;

/// Opens the key of the authority in `data_dir` for this process, until
/// [`lock_authority`] or its end.
pub fn unlock_authority(data_dir: &Path, passphrase: &Passphrase) -> Result<(), AuthorityError> {
    let facts = AuthorityFacts::load(data_dir)?.ok_or(AuthorityError::None)?;
    let stored = StoredKey::load(&key_file(data_dir))?;
    if let StoredKey::Protected(_) = stored {
        authority_key::keep(facts.fingerprint(), stored.open(passphrase)?);
    }
    Ok(())
}

/// Forgets the key of the authority in `data_dir`, as far as this process goes.
pub fn lock_authority(data_dir: &Path) -> Result<(), AuthorityError> {
    let facts = AuthorityFacts::load(data_dir)?.ok_or(AuthorityError::None)?;
    match StoredKey::load(&key_file(data_dir))? {
        StoredKey::Plain(_) => Err(AuthorityError::Unprotected),
        StoredKey::Protected(_) => {
            authority_key::forget(facts.fingerprint());
            Ok(())
        }
    }
}

/// Gives the key of the authority in `data_dir` another passphrase, or none. A key
/// that has one is opened with it first, even if it is unlocked: whoever finds an
/// unlocked node must not take its authority over.
pub fn change_passphrase(
    data_dir: &Path,
    present: Option<&Passphrase>,
    next: Option<&Passphrase>,
) -> Result<(), AuthorityError> {
    let facts = AuthorityFacts::load(data_dir)?.ok_or(AuthorityError::None)?;
    let _lock = FolderLock::take(&data_dir.join(FOLDER))?;
    let path = key_file(data_dir);
    let key = match (StoredKey::load(&path)?, present) {
        (StoredKey::Plain(key), _) => key,
        (stored @ StoredKey::Protected(_), Some(present)) => stored.open(present)?,
        (StoredKey::Protected(_), None) => return Err(AuthorityError::WrongPassphrase),
    };
    key.save(&path, next)?;
    match next {
        // Who gives it a passphrase has it open, and goes on.
        Some(_) => authority_key::keep(facts.fingerprint(), key),
        None => authority_key::forget(facts.fingerprint()),
    }
    Ok(())
}
