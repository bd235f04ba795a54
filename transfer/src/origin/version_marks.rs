//! What an answer says of its version, word for word: to notice another one. Pure.
//!
//! A validator ties parts of a file together, so it must be a strong one. To see that
//! something is *not* the same any more, weaker words will do as well.

use http::HeaderMap;
use http::header;

use crate::origin::answer_fields::{is_settled, text};

/// The words of one answer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VersionMarks {
    /// The entity tag, weak or strong.
    tag: Option<String>,
    /// The date of the last change.
    modified: Option<String>,
    /// Whether the date is older than the answer. Some origins call everything changed
    /// just now, each time they are asked.
    settled: bool,
}

impl VersionMarks {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let word = |name| text(headers, name).map(|word| word.trim().to_owned());
        let modified = word(header::LAST_MODIFIED);
        Self {
            tag: word(header::ETAG).filter(|tag| opaque(tag).starts_with('"')),
            settled: modified.as_ref().is_some_and(|at| is_settled(at, headers)),
            modified,
        }
    }

    /// Whether a later answer speaks of another version.
    ///
    /// Strong tags that are the same are enough, whatever the dates. What an answer leaves
    /// out says nothing, as long as something is left to compare by: the answer to a part
    /// need not have every field.
    pub(crate) fn differ(&self, now: &Self) -> bool {
        let tags = self.tag.as_deref().zip(now.tag.as_deref());
        if let Some((before, now)) = tags
            && (opaque(before) != opaque(now) || before.starts_with('"') && now.starts_with('"'))
        {
            return opaque(before) != opaque(now);
        }
        let dates = self.modified.as_deref().filter(|_| self.settled);
        if let Some((before, now)) = dates.zip(now.modified.as_deref()) {
            return before != now;
        }
        let had = self.tag.is_some() || dates.is_some();
        let has = now.tag.is_some() || now.modified.is_some();
        tags.is_none() && had && has
    }
}

/// A tag without the sign of weakness.
fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const NEW: &str = "Sun, 06 Nov 1994 09:00:00 GMT";

    fn marks(tag: &str, modified: &str, answered: &str) -> VersionMarks {
        let fields = [
            (header::ETAG, tag),
            (header::LAST_MODIFIED, modified),
            (header::DATE, answered),
        ];
        let fields = fields.into_iter().filter(|(_, value)| !value.is_empty());
        VersionMarks::of(&HeaderMap::from_iter(
            fields.map(|(name, value)| (name, value.parse().unwrap())),
        ))
    }

    #[test]
    fn any_word_that_differs_tells_another_version() {
        for (before, now, other) in [
            (marks("\"a\"", OLD, NEW), marks("\"b\"", OLD, NEW), true),
            (marks("\"a\"", OLD, NEW), marks("\"a\"", NEW, NEW), false),
            (marks("W/\"a\"", OLD, NEW), marks("W/\"b\"", OLD, NEW), true),
            (marks("W/\"a\"", OLD, NEW), marks("W/\"a\"", NEW, NEW), true),
            (marks("W/\"a\"", OLD, NEW), marks("\"a\"", OLD, NEW), false),
            // Changed within the second of the answer.
            (marks("", OLD, NEW), marks("", NEW, NEW), true),
            (marks("", OLD, NEW), marks("", OLD, NEW), false),
            // Another kind of word.
            (marks("\"a\"", "", NEW), marks("", NEW, NEW), true),
            (marks("", OLD, NEW), marks("\"b\"", "", NEW), true),
            // Left out of the answer to a part.
            (marks("\"a\"", OLD, NEW), marks("\"a\"", "", NEW), false),
            (marks("\"a\"", OLD, NEW), marks("", OLD, NEW), false),
            (marks("\"a\"", OLD, NEW), marks("", "", NEW), false),
            // Nothing was known, or each answer is of just now.
            (marks("", "", NEW), marks("\"a\"", OLD, NEW), false),
            (marks("", OLD, OLD), marks("", NEW, NEW), false),
            (
                marks("W/\"a\"", OLD, OLD),
                marks("W/\"a\"", NEW, NEW),
                false,
            ),
        ] {
            assert_eq!(before.differ(&now), other, "{before:?} {now:?}");
        }
    }
}
