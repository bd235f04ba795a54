//! What an authority is, as far as it can be known without its key.

use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::authority::{CERTIFICATE_FILE, FOLDER, KEY_FILE, SETTINGS_FILE};
use crate::authority_error::AuthorityError;
use crate::authority_key::{self, StoredKey};
use crate::authority_settings::AuthoritySettings;
use crate::certificate_policy::Leaf;
use crate::domain_files::{self, FolderLock};
use crate::domain_id::Fingerprint;
use crate::name::Name;

/// The certificate of an authority and its settings.
#[derive(Clone)]
pub(crate) struct AuthorityFacts {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) name: Name,
    pub(crate) settings: AuthoritySettings,
}

/// Whether the key of an authority can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It has no passphrase.
    Unprotected,
    /// It has a passphrase, and this process knows the key.
    Unlocked,
    /// It has a passphrase, and this process does not know the key.
    Locked,
}

impl AuthorityFacts {
    /// Reads what there is in `data_dir`.
    pub(crate) fn load(data_dir: &Path) -> Result<Option<Self>, AuthorityError> {
        let folder = data_dir.join(FOLDER);
        let path = folder.join(CERTIFICATE_FILE);
        let Some(pem) = domain_files::read(&path)? else {
            return Ok(None);
        };
        let damaged = || AuthorityError::Damaged(path.clone());
        let certificate = CertificateDer::from_pem_slice(&pem).map_err(|_| damaged())?;
        let name = Leaf::parse(&certificate).map_err(|_| damaged())?.name();
        let settings = AuthoritySettings::load(&folder.join(SETTINGS_FILE))?;
        Ok(Some(Self {
            certificate,
            name,
            settings,
        }))
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// Whether the key in `data_dir` can be used.
    pub(crate) fn key_state(&self, data_dir: &Path) -> Result<KeyState, AuthorityError> {
        let unlocked = || authority_key::unlocked(self.fingerprint()).is_some();
        Ok(match StoredKey::load(&key_file(data_dir))? {
            StoredKey::Plain(_) => KeyState::Unprotected,
            StoredKey::Protected(_) if unlocked() => KeyState::Unlocked,
            StoredKey::Protected(_) => KeyState::Locked,
        })
    }
}

/// Remembers in `data_dir` that another node holds the authority too.
pub(crate) fn add_holder(data_dir: &Path, id: &str) -> Result<(), AuthorityError> {
    let folder = data_dir.join(FOLDER);
    let _lock = FolderLock::take(&folder)?;
    let path = folder.join(SETTINGS_FILE);
    let mut settings = AuthoritySettings::load(&path)?;
    settings.add_other(id);
    Ok(domain_files::write_private(&path, &settings.to_json())?)
}

/// Where the key is.
pub(crate) fn key_file(data_dir: &Path) -> PathBuf {
    data_dir.join(FOLDER).join(KEY_FILE)
}
