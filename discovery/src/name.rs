//! The names of nodes and domains.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Longest name, in bytes: a host name's label has the same limit.
pub const MAX_NAME: usize = 63;

/// The name of a node or of a domain: 1 to 63 ASCII letters, digits, `-`, `_`
/// and `.`, the first a letter or digit.
///
/// Names go to terminals, logs and certificates, so nothing that could mislead
/// there is let in.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

/// A text that is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a name: it takes 1 to 63 letters, digits, '-', '_' or '.', the first a letter or digit"
)]
pub struct NameError(String);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The nearest name to any text: what does not fit becomes `-`. Meant for
    /// the host name and for certificates that others made.
    #[must_use]
    pub fn nearest(text: &str) -> Self {
        let mut name: String = text
            .chars()
            .map(|c| if allowed(c) { c } else { '-' })
            .skip_while(|c| !c.is_ascii_alphanumeric())
            .take(MAX_NAME)
            .collect();
        if name.is_empty() {
            name.push_str("unnamed");
        }
        Self(name)
    }

    /// This machine's name.
    #[must_use]
    pub fn of_this_machine() -> Self {
        Self::nearest(
            std::fs::read_to_string("/proc/sys/kernel/hostname")
                .unwrap_or_default()
                .trim(),
        )
    }
}

fn allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let good = text.len() <= MAX_NAME
            && text.chars().all(allowed)
            && text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError(text.chars().take(MAX_NAME + 1).collect()))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_taken() {
        for good in ["a", "node-1", "web.site_2", &"x".repeat(63)] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", ".", "a b", "a\n", "é", "a/b", &"x".repeat(64)] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_nearest_name_is_a_name() {
        for text in ["", "--", "my host", "\u{1b}[31mred", &"y".repeat(200)] {
            let name = Name::nearest(text);
            assert_eq!(name.as_str().parse::<Name>().unwrap(), name);
        }
        assert_eq!(Name::nearest("my host").as_str(), "my-host");
    }
}
