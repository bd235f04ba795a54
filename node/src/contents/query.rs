//! Which contents are asked for, and from where on.

use std::fmt::Write as _;
use std::time::SystemTime;

use potluck_cache::Filter;
use potluck_content::ContentId;
use serde::{Deserialize, Serialize};

use super::naming::as_kept;
use super::{ContentsError, id_of};
use crate::client::escaped;
use crate::timestamp::parse_rfc3339;

/// Contents of a page when nobody says how many, and at most.
const PAGE: usize = 1_000;
/// Contents of a page at most.
pub const MAX_PAGE: usize = 10_000;

/// A page of contents that is wanted. What is not said is not looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// One of its URLs is this.
    pub url: Option<String>,
    /// One of its URLs has this in it.
    pub url_part: Option<String>,
    /// It has at least so many bytes.
    pub min_size: Option<u64>,
    /// It has at most so many bytes.
    pub max_size: Option<u64>,
    /// It was last used before this time (RFC 3339).
    pub accessed_before: Option<String>,
    /// It came before this time (RFC 3339).
    pub added_before: Option<String>,
    /// Whether it is vouched for.
    pub validated: Option<bool>,
    /// Whether it stays whatever the limits.
    pub pinned: Option<bool>,
    /// Whether somebody uses it now.
    pub in_use: Option<bool>,
    /// The content that the page before ended with.
    pub after: Option<String>,
    /// How many at most: 1,000 unless said, never more than 10,000.
    pub limit: Option<usize>,
}

impl PageQuery {
    /// What the cache is asked.
    pub(super) fn read(&self) -> Result<(Filter, Option<ContentId>, usize), ContentsError> {
        let time = |text: &Option<String>| text.as_deref().map(time).transpose();
        let filter = Filter {
            url: self.url.as_deref().map(as_kept),
            url_part: self.url_part.clone(),
            min_size: self.min_size,
            max_size: self.max_size,
            accessed_before: time(&self.accessed_before)?,
            added_before: time(&self.added_before)?,
            validated: self.validated,
            pinned: self.pinned,
            in_use: self.in_use,
        };
        let after = self.after.as_deref().map(id_of).transpose()?;
        Ok((filter, after, self.limit.unwrap_or(PAGE).min(MAX_PAGE)))
    }

    /// As it is written after the question mark.
    #[must_use]
    pub fn to_query(&self) -> String {
        let mut query = String::new();
        let fields = serde_json::to_value(self).unwrap_or_default();
        for (name, value) in fields.as_object().into_iter().flatten() {
            let value = match value {
                serde_json::Value::Null => continue,
                serde_json::Value::String(text) => escaped(text),
                other => other.to_string(),
            };
            let sign = if query.is_empty() { '?' } else { '&' };
            // Writing to a string does not fail.
            let _ = write!(query, "{sign}{name}={value}");
        }
        query
    }
}

fn time(text: &str) -> Result<SystemTime, ContentsError> {
    parse_rfc3339(text).ok_or_else(|| {
        ContentsError::Invalid(format!("{text:?} is no time: write 2026-11-21T06:45:10Z"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_written_as_it_is_read() {
        let query = PageQuery {
            url_part: Some("a&b=c/".to_owned()),
            min_size: Some(5),
            pinned: Some(false),
            ..PageQuery::default()
        };
        assert_eq!(
            query.to_query(),
            "?min_size=5&pinned=false&url_part=a%26b%3Dc%2F"
        );
        assert_eq!(PageQuery::default().to_query(), "");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let wrong_time = PageQuery {
            added_before: Some("yesterday".to_owned()),
            ..PageQuery::default()
        };
        let wrong_id = PageQuery {
            after: Some("b3:12".to_owned()),
            ..PageQuery::default()
        };
        for query in [wrong_time, wrong_id] {
            assert!(matches!(query.read(), Err(ContentsError::Invalid(_))));
        }
        let greedy = PageQuery {
            limit: Some(usize::MAX),
            ..PageQuery::default()
        };
        assert_eq!(greedy.read().unwrap().2, MAX_PAGE);
    }
}
