//! What a new node needs to join, as one text to paste or read aloud.
//!
//! ```text
//! version 1 | length 1 | header check 1 | fingerprint 16 | secret 12 |
//! expiry 4 | per address: kind 1 (4 or 6), address 4 or 16, port 2 | check 4
//! ```
//!
//! The header's own check tells a text that was cut short, or comes from another
//! version, from one that was mistyped; the last check covers everything. Later
//! versions keep the first three bytes and the last four where they are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::crockford;
use crate::domain_id::Fingerprint;
use crate::secret::Secret;

const VERSION: u8 = 1;
const HEADER: usize = 3;
const CHECK: usize = 4;
/// Bytes of a one-time secret: far more than anyone can guess at the rate at
/// which the inviting node listens.
const SECRET: usize = 12;
/// The most addresses in a code, so that it stays short enough to handle.
pub const MAX_ADDRESSES: usize = 4;
/// Longer texts than this are no codes, in bytes.
const MAX_TEXT: usize = 1024;

/// The one-time secret of an invitation.
pub(crate) type InviteSecret = Secret<SECRET>;

/// An invitation to a domain. `Debug` hides the secret; only
/// [`to_text`](Self::to_text) gives it away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinCode {
    fingerprint: Fingerprint,
    secret: InviteSecret,
    expires: u32,
    addresses: Vec<SocketAddr>,
}

/// A text that is no usable join code. None of these repeats the text: it may
/// be a secret with one letter wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinCodeError {
    /// A character that no code has, or a sum that does not come out.
    #[error("the join code is mistyped: compare it with the original, letter by letter")]
    Mistyped,
    /// A part is missing.
    #[error("the join code is cut short: a part of it is missing")]
    CutShort,
    /// It was made by a program with another idea of codes.
    #[error(
        "the join code is of version {0}, this program knows version {VERSION}: update the older of the two nodes"
    )]
    OtherVersion(u8),
}

impl JoinCode {
    /// Puts a code together. Whole seconds of `expires` count; of `addresses`
    /// the first [`MAX_ADDRESSES`].
    pub(crate) fn new(
        fingerprint: Fingerprint,
        secret: InviteSecret,
        expires: SystemTime,
        addresses: &[SocketAddr],
    ) -> Self {
        let seconds = expires
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let expires = u32::try_from(seconds).unwrap_or(u32::MAX);
        let addresses = addresses.iter().take(MAX_ADDRESSES).map(plain).collect();
        Self {
            fingerprint,
            secret,
            expires,
            addresses,
        }
    }

    /// The code as text: groups of five digits and capital letters.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut bytes = vec![VERSION, 0, 0];
        bytes.extend_from_slice(self.fingerprint.as_bytes());
        bytes.extend_from_slice(self.secret.expose());
        bytes.extend_from_slice(&self.expires.to_be_bytes());
        for address in &self.addresses {
            match address.ip() {
                IpAddr::V4(ip) => {
                    bytes.push(4);
                    bytes.extend_from_slice(&ip.octets());
                }
                IpAddr::V6(ip) => {
                    bytes.push(6);
                    bytes.extend_from_slice(&ip.octets());
                }
            }
            bytes.extend_from_slice(&address.port().to_be_bytes());
        }
        let len = bytes.len() + CHECK;
        bytes[1] = u8::try_from(len).expect("four addresses at most make 115 bytes at most");
        bytes[2] = header_check(bytes[0], bytes[1]);
        bytes.extend_from_slice(&check(&bytes));
        crockford::encode(&bytes)
    }

    /// The fingerprint of the domain's authority.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The end of the invitation.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.expires.into())
    }

    /// Where the inviting node may be reached.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    pub(crate) fn secret(&self) -> &InviteSecret {
        &self.secret
    }

    fn from_bytes(bytes: &[u8], tidy: bool) -> Result<Self, JoinCodeError> {
        let [version, len, check_of_header, ..] = *bytes else {
            return Err(JoinCodeError::CutShort);
        };
        if header_check(version, len) != check_of_header {
            return Err(JoinCodeError::Mistyped);
        }
        let len = usize::from(len);
        if bytes.len() < len {
            return Err(JoinCodeError::CutShort);
        }
        let (body, sum) = bytes
            .split_at_checked(len.saturating_sub(CHECK))
            .unwrap_or_default();
        if bytes.len() > len || !tidy || check(body) != sum {
            return Err(JoinCodeError::Mistyped);
        }
        if version != VERSION {
            return Err(JoinCodeError::OtherVersion(version));
        }
        Self::from_body(body).ok_or(JoinCodeError::Mistyped)
    }

    fn from_body(body: &[u8]) -> Option<Self> {
        let mut rest = body.get(HEADER..)?;
        let fingerprint = Fingerprint::from_bytes(take(&mut rest)?);
        let secret = InviteSecret::from_bytes(take(&mut rest)?);
        let expires = u32::from_be_bytes(take(&mut rest)?);
        let mut addresses = Vec::new();
        while !rest.is_empty() {
            let ip = match take::<1>(&mut rest)? {
                [4] => IpAddr::from(Ipv4Addr::from(take::<4>(&mut rest)?)),
                [6] => IpAddr::from(Ipv6Addr::from(take::<16>(&mut rest)?)),
                _ => return None,
            };
            addresses.push(SocketAddr::new(ip, u16::from_be_bytes(take(&mut rest)?)));
        }
        let good = addresses.len() <= MAX_ADDRESSES;
        good.then_some(Self {
            fingerprint,
            secret,
            expires,
            addresses,
        })
    }
}

impl FromStr for JoinCode {
    type Err = JoinCodeError;

    fn from_str(text: &str) -> Result<Self, JoinCodeError> {
        if text.len() > MAX_TEXT {
            return Err(JoinCodeError::Mistyped);
        }
        let (bytes, tidy) = crockford::decode(text).map_err(|_| JoinCodeError::Mistyped)?;
        Self::from_bytes(&bytes, tidy)
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}

/// A code has no room for the scope or flow of an IPv6 address.
fn plain(address: &SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

fn header_check(version: u8, len: u8) -> u8 {
    check(&[version, len])[0]
}

fn check(bytes: &[u8]) -> [u8; CHECK] {
    let hash = blake3::derive_key("potluck 2026 join code check", bytes);
    [hash[0], hash[1], hash[2], hash[3]]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_code_comes_back(
            fingerprint: [u8; 16],
            secret: [u8; 12],
            seconds: u32,
            addresses: Vec<SocketAddr>,
        ) {
            let expires = UNIX_EPOCH + Duration::from_secs(seconds.into());
            let fingerprint = Fingerprint::from_bytes(fingerprint);
            let secret = InviteSecret::from_bytes(secret);
            let code = JoinCode::new(fingerprint, secret, expires, &addresses);
            prop_assert_eq!(code.to_text().parse(), Ok(code));
        }
    }

    fn code() -> JoinCode {
        JoinCode::new(
            Fingerprint::from_bytes(*b"0123456789abcdef"),
            InviteSecret::from_bytes(*b"hush hush hu"),
            UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            &[
                "192.0.2.7:7383".parse().unwrap(),
                "[2001:db8::1]:7383".parse().unwrap(),
            ],
        )
    }

    #[test]
    fn a_code_comes_back() {
        let text = code().to_text();
        assert_eq!(text.parse(), Ok(code()));
        assert_eq!(text.replace('-', " ").to_lowercase().parse(), Ok(code()));
        assert_eq!(
            code().expires(),
            UNIX_EPOCH + Duration::from_secs(1_800_000_000)
        );
    }

    #[test]
    fn every_cut_is_told_as_a_cut() {
        let text = code().to_text();
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        for len in 0..digits.len() {
            assert_eq!(
                digits[..len].parse::<JoinCode>(),
                Err(JoinCodeError::CutShort),
                "{len}"
            );
        }
    }

    #[test]
    fn every_wrong_letter_is_told_as_mistyped() {
        let text = code().to_text();
        for (index, old) in text.char_indices().filter(|(_, c)| *c != '-') {
            for new in ['0', '7', 'Z', 'U', '?', 'é'] {
                if new != old {
                    let mut wrong = text.clone();
                    wrong.replace_range(index..=index, &new.to_string());
                    assert_eq!(
                        wrong.parse::<JoinCode>(),
                        Err(JoinCodeError::Mistyped),
                        "{index}"
                    );
                }
            }
        }
        assert_eq!(
            format!("{text}0").parse::<JoinCode>(),
            Err(JoinCodeError::Mistyped)
        );
        assert_eq!(
            format!("{text}00").parse::<JoinCode>(),
            Err(JoinCodeError::Mistyped)
        );
    }

    #[test]
    fn a_later_version_is_told() {
        let mut bytes = vec![9, 50, header_check(9, 50)];
        bytes.resize(50 - CHECK, 1);
        bytes.extend_from_slice(&check(&bytes));
        let text = crockford::encode(&bytes);
        assert_eq!(
            text.parse::<JoinCode>(),
            Err(JoinCodeError::OtherVersion(9))
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", code());
        assert!(
            !shown.contains("104") && shown.contains("Secret(…)"),
            "{shown}"
        );
    }
}
