//! How wanted things are written in questions.

use potluck_content::{Digest, EntityKey};

use crate::Wanted;

/// `e:` and the key, or a digest as people write it.
pub(crate) fn wanted_text(wanted: &Wanted) -> String {
    match wanted {
        Wanted::Entity(key) => format!("e:{key}"),
        Wanted::Content(id) => Digest::B3(*id).to_string(),
        Wanted::Digest(digest) => digest.to_string(),
    }
}

/// Something that this node has no name for it does not hold.
pub(crate) fn wanted_of(text: &str) -> Option<Wanted> {
    if let Some(key) = text.strip_prefix("e:") {
        return key.parse::<EntityKey>().ok().map(Wanted::Entity);
    }
    match text.parse().ok()? {
        Digest::B3(id) => Some(Wanted::Content(id)),
        digest => Some(Wanted::Digest(digest)),
    }
}
