//! Noticing a change of membership.

use std::path::{Path, PathBuf};

use crate::domain_files::Stamp;
use crate::given_files::{GivenError, GivenFiles};
use crate::membership::Membership;
use crate::membership_file::{MembershipError, file_in};

/// Where a node's membership comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MembershipSource {
    /// Its data directory, where making and joining a domain put it.
    DataDir(PathBuf),
    /// Files of an authority of the site's own.
    Given(GivenFiles),
}

/// There is no usable membership in a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The data directory's is broken.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The given files make none.
    #[error(transparent)]
    Given(#[from] GivenError),
}

/// Notices when a membership changes, whoever changed it, at the price of one look at
/// its files' times.
#[derive(Debug, Clone)]
pub struct MembershipWatch {
    source: MembershipSource,
    seen: Option<Vec<Option<Stamp>>>,
}

impl MembershipSource {
    /// Reads the membership; `None` if the node is in no domain. Touches the disk.
    ///
    /// # Errors
    /// When there is one that cannot be used.
    pub fn load(&self) -> Result<Option<Membership>, SourceError> {
        match self {
            Self::DataDir(data_dir) => Ok(Membership::load(data_dir)?),
            Self::Given(files) => Ok(Some(files.load()?)),
        }
    }

    fn stamps(&self) -> Vec<Option<Stamp>> {
        match self {
            Self::DataDir(data_dir) => vec![Stamp::of(&file_in(data_dir))],
            Self::Given(files) => files.stamps(),
        }
    }
}

impl MembershipWatch {
    /// Watches `data_dir`. The first [`check`](Self::check) tells what is there.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self::of(MembershipSource::DataDir(data_dir.to_owned()))
    }

    /// Watches any source.
    #[must_use]
    pub const fn of(source: MembershipSource) -> Self {
        Self { source, seen: None }
    }

    /// Reads the membership again if its files changed since the last call:
    /// `None` means nothing changed, `Some(Ok(None))` that the node is in no
    /// domain. Touches the disk: not for the runtime's threads.
    pub fn check(&mut self) -> Option<Result<Option<Membership>, SourceError>> {
        let stamps = self.source.stamps();
        if self.seen.as_ref() == Some(&stamps) {
            return None;
        }
        // The stamps from before reading: a change in between is seen next time.
        self.seen = Some(stamps);
        Some(self.source.load())
    }
}
