//! Digests that others give: registries, package managers, users, HTTP servers.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ContentId;
use crate::hex::{hex, unhex};

/// A digest algorithm by which a content can be named or checked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum DigestAlgorithm {
    /// BLAKE3, 256 bits.
    B3,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl DigestAlgorithm {
    /// Every algorithm there is.
    pub const ALL: [Self; 3] = [Self::B3, Self::Sha256, Self::Sha512];

    /// The name before the colon.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::B3 => "b3",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

/// A digest of a whole content, written `<algorithm>:<hex>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Digest {
    /// BLAKE3: the content id itself.
    B3(ContentId),
    /// SHA-256.
    Sha256([u8; 32]),
    /// SHA-512.
    Sha512([u8; 64]),
}

/// A text that is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// No algorithm, or one that is not known.
    #[error("{0:?} names no digest: it takes b3:HEX, sha256:HEX or sha512:HEX")]
    Algorithm(String),
    /// The hexadecimal digits are too many, too few or none.
    #[error("a {algorithm} digest has {digits} hexadecimal digits; {found:?} is none")]
    Digits {
        /// The algorithm that was named.
        algorithm: &'static str,
        /// Digits that its digests have.
        digits: usize,
        /// What came after the colon.
        found: String,
    },
}

impl Digest {
    /// The algorithm that made it.
    #[must_use]
    pub const fn algorithm(&self) -> DigestAlgorithm {
        match self {
            Self::B3(_) => DigestAlgorithm::B3,
            Self::Sha256(_) => DigestAlgorithm::Sha256,
            Self::Sha512(_) => DigestAlgorithm::Sha512,
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::B3(id) => id.as_bytes(),
            Self::Sha256(bytes) => bytes,
            Self::Sha512(bytes) => bytes,
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm().name(), hex(self.as_bytes()))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}…",
            self.algorithm().name(),
            hex(&self.as_bytes()[..4])
        )
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let unknown = || DigestError::Algorithm(text.to_owned());
        let (name, digits) = text.split_once(':').ok_or_else(unknown)?;
        let algorithm = DigestAlgorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
            .ok_or_else(unknown)?;
        let (digest, expected) = match algorithm {
            DigestAlgorithm::B3 => (
                unhex(digits).map(|b| Self::B3(ContentId::from_bytes(b))),
                64,
            ),
            DigestAlgorithm::Sha256 => (unhex(digits).map(Self::Sha256), 64),
            DigestAlgorithm::Sha512 => (unhex(digits).map(Self::Sha512), 128),
        };
        digest.ok_or_else(|| DigestError::Digits {
            algorithm: algorithm.name(),
            digits: expected,
            found: digits.to_owned(),
        })
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in [
            format!("b3:{}", "0a".repeat(32)),
            format!("sha512:{}", "f1".repeat(64)),
        ] {
            assert_eq!(text.parse::<Digest>().unwrap().to_string(), text);
        }
        let upper = format!("SHA256:{}", "AB".repeat(32));
        assert_eq!(
            upper.parse::<Digest>().unwrap().to_string(),
            upper.to_lowercase()
        );
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(
            "md5:00".parse::<Digest>(),
            Err(DigestError::Algorithm("md5:00".into()))
        );
        assert_eq!(
            "plain".parse::<Digest>(),
            Err(DigestError::Algorithm("plain".into()))
        );
        assert_eq!(
            "sha256:00".parse::<Digest>(),
            Err(DigestError::Digits {
                algorithm: "sha256",
                digits: 64,
                found: "00".into()
            })
        );
    }
}
