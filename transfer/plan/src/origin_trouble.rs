//! What makes an origin hard to fetch from, though it can be fetched from.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a file moves in a less good way than it could. None of these is an error.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OriginTrouble {
    /// The origin sends the whole file whatever part is asked for.
    NoRanges,
    /// The origin does not say how long the file is.
    NoLength,
    /// The origin says nothing that would tell one version of the file from another.
    NoValidator,
    /// The origin compresses the file although it is asked not to.
    Encoded,
    /// The origin speaks HTTP/1.0.
    #[serde(rename = "http_1_0")]
    Http10,
    /// The file changed at the origin while it was fetched.
    Changed,
    /// The origin's answers are of several versions, each by itself a whole one.
    Inconsistent,
    /// The manifest beside the file is of another version of it.
    StaleManifest,
}

impl OriginTrouble {
    /// A short fixed word that scripts may compare.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoRanges => "no_ranges",
            Self::NoLength => "no_length",
            Self::NoValidator => "no_validator",
            Self::Encoded => "encoded",
            Self::Http10 => "http_1_0",
            Self::Changed => "changed",
            Self::Inconsistent => "inconsistent",
            Self::StaleManifest => "stale_manifest",
        }
    }
}

impl fmt::Display for OriginTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NoRanges => {
                "the origin sends no parts of files: one connection, and from the start after an interruption"
            }
            Self::NoLength => {
                "the origin does not say how long the file is: one connection, and from the start after an interruption"
            }
            Self::NoValidator => {
                "the origin says nothing that tells versions of the file apart: one connection, and from the start after an interruption"
            }
            Self::Encoded => {
                "the origin compresses the file although it is asked not to: one connection, unpacked here, and from the start after an interruption"
            }
            Self::Http10 => "the origin speaks HTTP/1.0: a new connection for each request",
            Self::Changed => "the file changed at the origin while it was fetched: begun again",
            Self::Inconsistent => {
                "the origin's answers do not agree on one version, as when servers that differ have one name: what a single answer brings, and from the start after an interruption"
            }
            Self::StaleManifest => {
                "the manifest beside the file is of another version and was left aside: the file is to be published again"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_name_is_kept() {
        for trouble in [OriginTrouble::NoRanges, OriginTrouble::StaleManifest] {
            let json = serde_json::to_string(&trouble).unwrap();
            assert_eq!(json, format!("\"{}\"", trouble.code()));
        }
    }
}
