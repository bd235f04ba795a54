//! Whether a file that is here is still what its origin has.

use potluck_content::Validator;

use super::fetch::{FetchError, FetchRequest, Fetcher};

/// Whether what an origin says now is of another version than the one it had. That it has no
/// word for its version any more is one as well: a file that changed this very second has none.
pub(super) fn is_other(had: &Option<Validator>, now: &Option<Validator>) -> bool {
    had.is_some() && had != now
}

/// Asks the origin of a file whether it has another version than this one now. As soon as
/// that is known nothing more is fetched; where the version is in the cache, nothing is.
pub(super) async fn has_changed(
    fetcher: &dyn Fetcher,
    request: FetchRequest,
    version: &Option<Validator>,
) -> Result<bool, FetchError> {
    if version.is_none() {
        // Versions of this file cannot be told from each other.
        return Ok(false);
    }
    let mut fetch = fetcher.fetch(request);
    loop {
        tokio::select! {
            biased;
            outcome = &mut fetch.outcome => return Ok(is_other(version, &outcome?.validator)),
            Ok(()) = fetch.progress.changed() => {
                let found = fetch.progress.borrow_and_update().clone();
                if found.connected {
                    return Ok(is_other(version, &found.validator));
                }
            }
        }
    }
}
