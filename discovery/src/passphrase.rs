//! What protects an authority's key on the disk.

use std::fmt;

use zeroize::Zeroizing;

/// The longest passphrase, in bytes.
const MAX: usize = 1024;

/// A passphrase: never shown by `Debug`, wiped from memory when dropped.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

/// A text that is no passphrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a passphrase has between one character and {MAX} bytes")]
pub struct PassphraseError;

impl Passphrase {
    /// Takes a text as it is.
    pub fn new(text: Zeroizing<String>) -> Result<Self, PassphraseError> {
        if text.is_empty() || text.len() > MAX {
            return Err(PassphraseError);
        }
        Ok(Self(text))
    }

    /// The text, for those who use it and do not print it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}
