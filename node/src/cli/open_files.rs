//! How many files and connections the daemon may have open.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Takes all that the system allows. What it gives unasked, mostly 1,024, is for programs
/// that cannot count further; a daemon with many callers, peers and files needs more.
pub(super) fn take_all() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
