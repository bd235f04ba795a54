//! Whether a file that is here is still what its origin has.

use potluck_content::Validator;

use super::fetch::{FetchError, FetchRequest, Fetcher};

/// Whether both are known and not the same.
pub(super) fn is_other(one: &Option<Validator>, other: &Option<Validator>) -> bool {
    one.is_some() && other.is_some() && one != other
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
                let found = fetch.progress.borrow_and_update().validator.clone();
                if found.is_some() {
                    return Ok(is_other(version, &found));
                }
            }
        }
    }
}
