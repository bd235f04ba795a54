//! Noticing a change of membership.

use std::path::{Path, PathBuf};

use crate::domain_files::Stamp;
use crate::membership::{Membership, MembershipError, file_in};

/// Notices when the membership of a data directory changes, whoever changed it,
/// at the price of one look at a file's times.
#[derive(Debug, Clone)]
pub struct MembershipWatch {
    data_dir: PathBuf,
    seen: Option<Option<Stamp>>,
}

impl MembershipWatch {
    /// Watches `data_dir`. The first [`check`](Self::check) tells what is there.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            seen: None,
        }
    }

    /// Reads the membership again if its file changed since the last call:
    /// `None` means nothing changed, `Some(Ok(None))` that the node is in no
    /// domain. Touches the disk: not for the runtime's threads.
    pub fn check(&mut self) -> Option<Result<Option<Membership>, MembershipError>> {
        let stamp = Stamp::of(&file_in(&self.data_dir));
        if self.seen == Some(stamp) {
            return None;
        }
        // The stamp from before reading: a change in between is seen next time.
        self.seen = Some(stamp);
        Some(Membership::load(&self.data_dir))
    }
}
