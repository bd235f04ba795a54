//! Which of an authority's certificates are nodes of the domain, by their DNS names.

use std::fmt;
use std::str::FromStr;

/// Longest DNS name, in bytes.
const MAX_DNS_NAME: usize = 253;

/// A DNS name, or one whose first label may be anything: `*.potluck.example`. Case does
/// not matter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamePattern {
    any_first: bool,
    /// In lower case; what comes after the first label if that may be anything.
    rest: String,
}

/// A text that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no DNS name: write till.shop.example, or *.shop.example for one label of any name"
)]
pub struct NamePatternError(String);

impl NamePattern {
    /// Whether a certificate's DNS name fits.
    #[must_use]
    pub fn fits(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        match name.split_once('.') {
            Some((first, rest)) if self.any_first => {
                rest == self.rest && !first.is_empty() && first != "*"
            }
            _ => !self.any_first && name == self.rest,
        }
    }
}

impl FromStr for NamePattern {
    type Err = NamePatternError;

    fn from_str(text: &str) -> Result<Self, NamePatternError> {
        let (any_first, rest) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        };
        if rest.len() <= MAX_DNS_NAME && rest.split('.').all(label) {
            Ok(Self {
                any_first,
                rest: rest.to_ascii_lowercase(),
            })
        } else {
            Err(NamePatternError(text.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let any = if self.any_first { "*." } else { "" };
        write!(f, "{any}{}", self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_label_may_be_anything_and_no_more() {
        let pattern: NamePattern = "*.Potluck.example".parse().unwrap();
        assert!(pattern.fits("till-3.potluck.example") && pattern.fits("A.POTLUCK.EXAMPLE"));
        for other in [
            "potluck.example",
            "a.b.potluck.example",
            ".potluck.example",
            "*.potluck.example",
            "a.potluck.example.org",
            "apotluck.example",
        ] {
            assert!(!pattern.fits(other), "{other}");
        }
        let exact: NamePattern = "till.example".parse().unwrap();
        assert!(exact.fits("Till.example") && !exact.fits("a.till.example"));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            "*",
            "*.",
            "a..b",
            "*.*.example",
            "till example",
            ".example",
        ] {
            assert!(text.parse::<NamePattern>().is_err(), "{text}");
        }
        assert_eq!("*.a.b".parse::<NamePattern>().unwrap().to_string(), "*.a.b");
    }
}
