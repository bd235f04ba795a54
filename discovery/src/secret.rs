//! Bytes that must not be seen.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;

/// `N` secret bytes: never shown by `Debug`, compared in constant time.
#[derive(Clone)]
pub struct Secret<const N: usize>([u8; N]);

/// The key that seals a domain's beacons. Every member has it.
pub type BeaconKey = Secret<32>;

impl<const N: usize> Secret<N> {
    /// Draws a new secret; `None` if the system gives no random numbers.
    #[must_use]
    pub fn generate() -> Option<Self> {
        let mut bytes = [0; N];
        aws_lc_rs::rand::fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// Takes the bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    /// The bytes, for those who use them and do not print them.
    #[must_use]
    pub const fn expose(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl<const N: usize> Eq for Secret<N> {}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        let secret = Secret::from_bytes([7; 4]);
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert_eq!(secret, Secret::from_bytes([7; 4]));
        assert_ne!(secret, Secret::from_bytes([8; 4]));
    }
}
