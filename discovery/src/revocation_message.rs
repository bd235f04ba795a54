//! How lists of revocations travel on control connections.

use serde::{Deserialize, Serialize};

use crate::byte_string::ByteString;
use crate::{BadList, ListStamp, SignedList};

/// A [`ListStamp`] as it travels.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct StampForm {
    version: u64,
    hash: ByteString,
}

/// A [`SignedList`] as it travels.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct ListForm {
    list: ByteString,
    signature: ByteString,
}

impl From<ListStamp> for StampForm {
    fn from(stamp: ListStamp) -> Self {
        Self {
            version: stamp.version,
            hash: ByteString(stamp.hash.to_vec()),
        }
    }
}

impl StampForm {
    /// `None` when it is no stamp.
    pub(crate) fn stamp(&self) -> Option<ListStamp> {
        Some(ListStamp {
            version: self.version,
            hash: self.hash.0.as_slice().try_into().ok()?,
        })
    }
}

impl From<&SignedList> for ListForm {
    fn from(signed: &SignedList) -> Self {
        Self {
            list: ByteString(signed.bytes().to_vec()),
            signature: ByteString(signed.signature().to_vec()),
        }
    }
}

impl ListForm {
    pub(crate) fn read(self) -> Result<SignedList, BadList> {
        SignedList::read(self.list.0, self.signature.0)
    }
}
