//! The name of a content.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::hex::{hex, unhex};

/// The BLAKE3 hash of a whole content: exactly what `b3sum` prints.
///
/// Written `b3:<64 lower-case hex digits>`; reading also takes the bare digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentId([u8; 32]);

/// A text that names no content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a content id: it takes \"b3:\" and 64 hexadecimal digits")]
pub struct IdError(String);

impl IdError {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl ContentId {
    /// Takes the 32 bytes of a BLAKE3 hash.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Hashes bytes that are at hand whole.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The 32 bytes of the hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hexadecimal digits, without the prefix, as `b3sum` prints them.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b3:{}", self.to_hex())
    }
}

impl fmt::Debug for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b3:{}…", &self.to_hex()[..8])
    }
}

impl FromStr for ContentId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits = text.strip_prefix("b3:").unwrap_or(text);
        unhex(digits).map(Self).ok_or_else(|| IdError::new(text))
    }
}

impl Serialize for ContentId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for ContentId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.parse().map_err(D::Error::custom)
        } else {
            <[u8; 32]>::deserialize(deserializer).map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_b3sum_writes_it() {
        let id = ContentId::of(b"");
        assert_eq!(
            id.to_string(),
            "b3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
        );
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_hex().parse(), Ok(id));
    }

    #[test]
    fn refuses_what_is_no_id() {
        let short = "b3:af13";
        assert_eq!(short.parse::<ContentId>(), Err(IdError(short.to_owned())));
        let not_hex = format!("b3:{}", "zz".repeat(32));
        assert!(not_hex.parse::<ContentId>().is_err());
        let not_ascii = "é".repeat(32);
        assert!(not_ascii.parse::<ContentId>().is_err());
    }

    #[test]
    fn travels_through_json_as_text() {
        let id = ContentId::of(b"potluck");
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{id}\""));
        assert_eq!(serde_json::from_str::<ContentId>(&json).unwrap(), id);
    }
}
