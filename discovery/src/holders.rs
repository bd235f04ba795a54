//! Where this node last found somebody who holds the authority.
//!
//! A hint and no more: whoever answers at such an address still proves itself, and a
//! list that is lost is made anew by looking around on the subnet.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::domain_files::{self, FileError};
use crate::membership_file;

const FILE: &str = "holders.json";
/// The most addresses that are kept, the latest first.
const MAX_HOLDERS: usize = 4;

#[derive(Default, Serialize, Deserialize)]
struct Stored {
    addresses: Vec<SocketAddr>,
}

/// The addresses, the latest that answered first.
pub(crate) fn load(data_dir: &Path) -> Vec<SocketAddr> {
    let bytes = domain_files::read(&file_in(data_dir)).ok().flatten();
    let stored = bytes.and_then(|bytes| serde_json::from_slice::<Stored>(&bytes).ok());
    let mut addresses = stored.unwrap_or_default().addresses;
    addresses.truncate(MAX_HOLDERS);
    addresses
}

/// Puts an address first.
pub(crate) fn remember(data_dir: &Path, address: SocketAddr) -> Result<(), FileError> {
    let mut addresses = load(data_dir);
    if addresses.first() == Some(&address) {
        return Ok(());
    }
    addresses.retain(|known| *known != address);
    addresses.insert(0, address);
    addresses.truncate(MAX_HOLDERS);
    let json = serde_json::to_vec(&Stored { addresses }).expect("addresses are JSON");
    domain_files::write_private(&file_in(data_dir), &json)
}

fn file_in(data_dir: &Path) -> PathBuf {
    data_dir.join(membership_file::FOLDER).join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_is_first_and_few_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        assert!(load(dir.path()).is_empty());
        domain_files::make_folder(&dir.path().join(membership_file::FOLDER)).unwrap();
        let address = |port| SocketAddr::from(([10, 0, 0, 1], port));
        for port in [1, 2, 3, 4, 5, 3] {
            remember(dir.path(), address(port)).unwrap();
        }
        assert_eq!(load(dir.path()), [3, 5, 4, 2].map(address));
        std::fs::write(file_in(dir.path()), "rubbish").unwrap();
        assert!(load(dir.path()).is_empty());
    }
}
