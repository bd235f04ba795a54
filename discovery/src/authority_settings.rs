//! What an authority decides besides certificates, as it lies on the disk.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::authority_error::AuthorityError;
use crate::domain_files;
use crate::hex::{hex, unhex};
use crate::membership_file::version_of;
use crate::secret::BeaconKey;

/// The version of the file that this program writes and reads.
pub(crate) const VERSION: u32 = 1;
/// The most other holders that are remembered.
const MAX_OTHERS: usize = 64;

#[derive(Clone)]
pub(crate) struct AuthoritySettings {
    pub(crate) certificate_lifetime: Duration,
    pub(crate) beacon_key: BeaconKey,
    /// The ids of the other nodes that are known to hold this authority.
    pub(crate) others: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    /// In seconds.
    certificate_lifetime: u64,
    beacon_key: String,
    #[serde(default)]
    others: Vec<String>,
}

impl AuthoritySettings {
    pub(crate) fn load(path: &Path) -> Result<Self, AuthorityError> {
        let damaged = || AuthorityError::Damaged(path.to_owned());
        let bytes = domain_files::read(path)?.ok_or_else(damaged)?;
        let found = version_of(&bytes).ok_or_else(damaged)?;
        if found != VERSION {
            return Err(AuthorityError::Version {
                path: path.to_owned(),
                found,
            });
        }
        let stored: Stored = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
        let beacon_key = unhex(&stored.beacon_key).ok_or_else(damaged)?;
        Ok(Self {
            certificate_lifetime: Duration::from_secs(stored.certificate_lifetime),
            beacon_key: BeaconKey::from_bytes(beacon_key),
            others: stored.others,
        })
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        let stored = Stored {
            version: VERSION,
            certificate_lifetime: self.certificate_lifetime.as_secs(),
            beacon_key: hex(self.beacon_key.expose()),
            others: self.others.clone(),
        };
        serde_json::to_vec_pretty(&stored).expect("texts and numbers are JSON")
    }

    /// Remembers one more holder.
    pub(crate) fn add_other(&mut self, id: &str) {
        if !self.others.iter().any(|other| other == id) && self.others.len() < MAX_OTHERS {
            self.others.push(id.to_owned());
        }
    }
}
