//! Bytes as hexadecimal digits, for files and messages.

pub(crate) use potluck_content::{hex, unhex};

/// The bytes of any even number of digits.
pub(crate) fn unhex_vec(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| unhex::<1>(std::str::from_utf8(pair).ok()?).map(|[byte]| byte))
        .collect()
}
