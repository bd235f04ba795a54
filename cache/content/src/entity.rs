//! One version of what a URL names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::IdError;
use crate::hex::{hex, unhex};

/// What an origin says to tell one version of a URL from the next
/// (RFC 9110, section 8.8).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Validator {
    /// A strong entity tag, with its quotes; weak ones do not vouch for bytes.
    ETag(String),
    /// The `Last-Modified` field as the origin wrote it.
    LastModified(String),
}

impl Validator {
    /// The field's value, as `If-Range` wants it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::ETag(text) | Self::LastModified(text) => text,
        }
    }
}

impl fmt::Display for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One version of one URL: the URL, the validator and the size together.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Entity {
    /// The URL without credentials and fragment.
    pub url: String,
    /// What tells this version from others.
    pub validator: Validator,
    /// Bytes in the whole.
    pub size: u64,
}

impl Entity {
    /// The name under which nodes ask each other for this entity.
    ///
    /// BLAKE3 in its key derivation mode over the fields, each with its length
    /// before it, so that who does not know the URL learns nothing of it.
    #[must_use]
    pub fn key(&self) -> EntityKey {
        let mut hasher = blake3::Hasher::new_derive_key("potluck 2026-11 entity key v1");
        let (kind, validator) = match &self.validator {
            Validator::ETag(text) => (b'e', text),
            Validator::LastModified(text) => (b'm', text),
        };
        hasher.update(&(self.url.len() as u64).to_le_bytes());
        hasher.update(self.url.as_bytes());
        hasher.update(&[kind]);
        hasher.update(&(validator.len() as u64).to_le_bytes());
        hasher.update(validator.as_bytes());
        hasher.update(&self.size.to_le_bytes());
        EntityKey(*hasher.finalize().as_bytes())
    }
}

/// A hash that names an entity to those who know it; written as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EntityKey([u8; 32]);

impl EntityKey {
    /// Takes the 32 bytes of a key.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for EntityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for EntityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", hex(&self.0[..4]))
    }
}

impl FromStr for EntityKey {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        unhex(text).map(Self).ok_or_else(|| IdError::new(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_makes_another_key() {
        let entity = Entity {
            url: "http://o/a".into(),
            validator: Validator::ETag("\"1\"".into()),
            size: 10,
        };
        let others = [
            Entity {
                url: "http://o/b".into(),
                ..entity.clone()
            },
            Entity {
                validator: Validator::ETag("\"2\"".into()),
                ..entity.clone()
            },
            Entity {
                validator: Validator::LastModified("\"1\"".into()),
                ..entity.clone()
            },
            Entity {
                size: 11,
                ..entity.clone()
            },
        ];
        for other in others {
            assert_ne!(other.key(), entity.key(), "{other:?}");
        }
        assert_eq!(
            entity.key().to_string().parse::<EntityKey>().unwrap(),
            entity.key()
        );
    }
}
