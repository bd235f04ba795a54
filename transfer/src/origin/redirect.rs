//! Where a redirect leads. Pure.

use std::collections::HashSet;

use http::{Method, StatusCode};
use url::Url;

use crate::origin::{OriginError, OriginOptions, Redirects};

/// Redirects that are followed for one answer.
pub(crate) const MAX_REDIRECTS: usize = 20;

/// Follows one chain of redirects.
///
/// Invariant: `at` is a URL that was not visited before, and never http after https
/// unless the job allows that.
pub(crate) struct RedirectChain {
    start: Url,
    at: Url,
    visited: HashSet<Url>,
    policy: Redirects,
    allow_downgrade: bool,
}

impl RedirectChain {
    pub(crate) fn new(start: Url, options: &OriginOptions) -> Self {
        Self {
            at: start.clone(),
            visited: HashSet::from([start.clone()]),
            start,
            policy: options.redirects,
            allow_downgrade: options.allow_downgrade,
        }
    }

    /// The URL to ask now.
    pub(crate) fn at(&self) -> &Url {
        &self.at
    }

    /// Takes a step. `location` is the text of the answer's `Location` field.
    pub(crate) fn follow(&mut self, location: Option<&str>) -> Result<(), OriginError> {
        let bad = || OriginError::BadRedirect {
            url: self.at.to_string(),
            location: location.unwrap_or_default().to_owned(),
        };
        let mut next = self.at.join(location.ok_or_else(bad)?).map_err(|_| bad())?;
        next.set_fragment(None);
        // Credentials in a redirect are the other server's words, not the user's.
        let _ = next.set_username("");
        let _ = next.set_password(None);
        if !matches!(next.scheme(), "http" | "https") {
            return Err(bad());
        }
        if self.policy == Redirects::Forbid {
            return Err(OriginError::RedirectForbidden {
                url: self.at.to_string(),
                location: next.to_string(),
            });
        }
        if !self.allow_downgrade && self.at.scheme() == "https" && next.scheme() == "http" {
            return Err(OriginError::InsecureRedirect {
                url: self.at.to_string(),
                location: next.to_string(),
            });
        }
        if !self.visited.insert(next.clone()) {
            return Err(OriginError::RedirectLoop {
                url: next.to_string(),
            });
        }
        if self.visited.len() > MAX_REDIRECTS + 1 {
            return Err(OriginError::TooManyRedirects {
                url: self.start.to_string(),
                limit: MAX_REDIRECTS,
            });
        }
        self.at = next;
        Ok(())
    }
}

/// Whether an answer leads elsewhere. 300 and 304 do not.
pub(crate) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The method after a redirect (RFC 9110, section 15.4): 303 leads to an answer that is to
/// be got, and so do 301 and 302 of a POST, as everybody has it.
pub(crate) fn method_after(status: StatusCode, method: &Method) -> Method {
    let got = match status.as_u16() {
        303 => *method != Method::HEAD,
        301 | 302 => *method == Method::POST,
        _ => false,
    };
    if got { Method::GET } else { method.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(start: &str) -> RedirectChain {
        RedirectChain::new(Url::parse(start).unwrap(), &OriginOptions::default())
    }

    #[test]
    fn follows_relative_and_absolute_locations() {
        let mut chain = chain("http://a/x/y");
        chain.follow(Some("z?q=1#f")).unwrap();
        assert_eq!(chain.at().as_str(), "http://a/x/z?q=1");
        chain.follow(Some("https://u:p@b/")).unwrap();
        assert_eq!(chain.at().as_str(), "https://b/");
        assert!(matches!(
            chain.follow(Some("http://c/")),
            Err(OriginError::InsecureRedirect { .. })
        ));
    }

    #[test]
    fn stops_at_circles_dead_ends_and_long_chains() {
        let mut circle = chain("http://a/1");
        circle.follow(Some("/2")).unwrap();
        assert!(matches!(
            circle.follow(Some("/1")),
            Err(OriginError::RedirectLoop { .. })
        ));
        assert!(matches!(
            chain("http://a/").follow(None),
            Err(OriginError::BadRedirect { .. })
        ));
        assert!(matches!(
            chain("http://a/").follow(Some("ftp://b/")),
            Err(OriginError::BadRedirect { .. })
        ));
        let mut long = chain("http://a/0");
        for step in 1..=MAX_REDIRECTS {
            long.follow(Some(&format!("/{step}"))).unwrap();
        }
        assert!(matches!(
            long.follow(Some("/end")),
            Err(OriginError::TooManyRedirects { .. })
        ));
    }

    #[test]
    fn a_job_may_forbid_redirects_or_allow_more() {
        let start = Url::parse("https://a/").unwrap();
        let forbid = OriginOptions {
            redirects: Redirects::Forbid,
            ..OriginOptions::default()
        };
        let refused = RedirectChain::new(start.clone(), &forbid).follow(Some("/b"));
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("https://a/b"), "{refused}");
        let allow = OriginOptions {
            allow_downgrade: true,
            ..OriginOptions::default()
        };
        let mut chain = RedirectChain::new(start, &allow);
        chain.follow(Some("http://c/")).unwrap();
        assert_eq!(chain.at().as_str(), "http://c/");
    }

    #[test]
    fn what_was_posted_is_got_afterwards() {
        let after = |status: u16, method: Method| {
            method_after(StatusCode::from_u16(status).unwrap(), &method)
        };
        assert_eq!(after(302, Method::POST), Method::GET);
        assert_eq!(after(303, Method::PUT), Method::GET);
        assert_eq!(after(303, Method::HEAD), Method::HEAD);
        assert_eq!(after(307, Method::POST), Method::POST);
        assert_eq!(after(301, Method::HEAD), Method::HEAD);
    }
}
