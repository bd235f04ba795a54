//! As much CBOR as it takes to write messages that no honest node would.

/// One value, in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Cbor(pub(crate) Vec<u8>);

impl Cbor {
    pub(crate) fn uint(n: u64) -> Self {
        Self(head(0, n))
    }

    pub(crate) fn bytes(bytes: &[u8]) -> Self {
        Self([&head(2, bytes.len() as u64), bytes].concat())
    }

    pub(crate) fn text(text: &str) -> Self {
        Self([&head(3, text.len() as u64), text.as_bytes()].concat())
    }

    pub(crate) fn array(items: &[Self]) -> Self {
        let mut all = head(4, items.len() as u64);
        for item in items {
            all.extend_from_slice(&item.0);
        }
        Self(all)
    }

    pub(crate) fn map(fields: &[(&str, Self)]) -> Self {
        let mut all = head(5, fields.len() as u64);
        for (name, value) in fields {
            all.extend(Self::text(name).0);
            all.extend_from_slice(&value.0);
        }
        Self(all)
    }

    /// Bytes of which only the length is there, and it is a lie.
    pub(crate) fn endless_bytes() -> Self {
        Self(head(2, u64::MAX / 2))
    }

    /// The same for a list.
    pub(crate) fn endless_array() -> Self {
        Self(head(4, u64::MAX / 2))
    }

    /// Lists within lists.
    pub(crate) fn nested(depth: usize) -> Self {
        Self(vec![0x81; depth])
    }
}

/// The shortest form: others are not read.
fn head(major: u8, n: u64) -> Vec<u8> {
    let bytes = n.to_be_bytes();
    match n {
        0..24 => vec![major << 5 | bytes[7]],
        24..0x100 => vec![major << 5 | 24, bytes[7]],
        0x100..0x1_0000 => [&[major << 5 | 25], &bytes[6..]].concat(),
        0x1_0000..0x1_0000_0000 => [&[major << 5 | 26], &bytes[4..]].concat(),
        _ => [&[major << 5 | 27], &bytes[..]].concat(),
    }
}
