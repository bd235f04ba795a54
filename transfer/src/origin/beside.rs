//! Fetching the manifest that lies beside a file.

use http::{Method, StatusCode, header};
use potluck_content::{MANIFEST_ENDING, MAX_MANIFEST_FILE, ManifestFileError};
use url::Url;

use crate::origin::answer::failure;
use crate::origin::answer_fields::length;
use crate::origin::encoding::{Packed, packed};
use crate::origin::redirect::{RedirectChain, is_redirect};
use crate::origin::{OriginBody, OriginClient, OriginError, OriginMeta, OriginRequest};

/// Why there is no manifest beside a file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BesideError {
    /// It is said to be somewhere that the file does not come from.
    #[error("{0} is not where the file comes from")]
    Elsewhere(Url),
    /// It is longer than any manifest.
    #[error("{0} is longer than the {MAX_MANIFEST_FILE} bytes that a manifest may have")]
    TooLong(String),
    /// What came is none.
    #[error("{url} is no manifest: {reason}")]
    NotOne {
        /// What was asked for.
        url: String,
        /// Why it is none.
        reason: ManifestFileError,
    },
    /// The origin does not give it.
    #[error(transparent)]
    Origin(#[from] OriginError),
}

/// Where the manifest of a URL is by convention: its path and [`MANIFEST_ENDING`]. Nowhere
/// for what is no file by its name, what a query makes, and what may be a manifest itself.
pub(crate) fn manifest_by_name(file: &Url) -> Option<Url> {
    let path = file.path();
    if file.query().is_some() || path.ends_with('/') || path.ends_with(MANIFEST_ENDING) {
        return None;
    }
    let mut url = file.clone();
    url.set_path(&format!("{path}{MANIFEST_ENDING}"));
    Some(url)
}

impl OriginClient {
    /// Asks for a manifest, as the file is asked for. Only where the file itself comes from
    /// is asked, also after redirects: whoever else answered would vouch for what it does
    /// not give.
    pub(crate) async fn beside(
        &self,
        request: &OriginRequest,
        meta: &OriginMeta,
        manifest: Url,
    ) -> Result<OriginBody, BesideError> {
        let mut chain = RedirectChain::new(manifest, request.options());
        let (at, answer) = loop {
            let at = chain.at().clone();
            if !request.is_meant_for(&at) && at.origin() != meta.final_url.origin() {
                return Err(BesideError::Elsewhere(at));
            }
            let answer = self.ask_at(Method::GET, request, &at).await?;
            if !is_redirect(answer.status()) {
                break (at, answer);
            }
            let location = answer.headers().get(header::LOCATION);
            chain.follow(location.and_then(|value| value.to_str().ok()))?;
        };
        if answer.status() != StatusCode::OK {
            return Err(failure(&at, &answer).into());
        }
        let expected = length(answer.headers());
        if expected.is_some_and(|bytes| bytes > MAX_MANIFEST_FILE as u64) {
            return Err(BesideError::TooLong(at.to_string()));
        }
        let coding = match packed(&at, answer.headers()) {
            Packed::By(coding) => Some(coding),
            Packed::No | Packed::Unknown(_) => None,
        };
        Ok(self.body(&at, answer, expected, coding))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_name_is_that_of_the_file_and_an_ending() {
        let by_name = |url| manifest_by_name(&Url::parse(url).unwrap()).map(String::from);
        let found = Some("http://o/a%20b/c.iso.potluck".to_owned());
        assert_eq!(by_name("http://o/a%20b/c.iso"), found);
        for none in [
            "http://o/",
            "http://o/a/",
            "http://o/a?id=3",
            "http://o/a.potluck",
        ] {
            assert_eq!(by_name(none), None, "{none}");
        }
    }
}
