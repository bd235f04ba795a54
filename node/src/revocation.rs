//! Revoking a node: which one an operator means, and what is said of it.

use potluck_discovery::{Name, PeerId, Revocation, RevocationError, RevocationList, Revocations};
use serde::{Deserialize, Serialize};

use crate::timestamp::rfc3339;

/// What nearly every PeerId begins with.
const COMMON: &str = "12D3KooW";
/// The shortest beginning of a PeerId that is taken for one, after the common one.
const MIN_PREFIX: usize = 8;
/// The shortest whole PeerId, that of a hashed key. Shorter texts that could be read as
/// one are beginnings.
const WHOLE: usize = 46;
/// What a node is called of which only the PeerId is known.
const NO_NAME: &str = "unknown";

/// A node that was heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) id: PeerId,
    pub(crate) name: String,
}

/// A revoked node. Times are RFC 3339.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RevocationDocument {
    /// Its PeerId.
    pub id: String,
    /// What it was called.
    pub name: String,
    /// When it was revoked.
    pub revoked_at: String,
    /// Why, if that was said.
    pub reason: Option<String>,
}

/// The revocations of the domain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RevocationsDocument {
    /// Counts the changes; 0 when nobody was ever revoked.
    pub version: u64,
    /// When the list was signed.
    pub issued: Option<String>,
    /// The revoked nodes, the latest first.
    pub nodes: Vec<RevocationDocument>,
}

/// Why nobody was revoked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RevokeError {
    #[error("no node {0} is known: name it by its whole peer id")]
    Unknown(String),
    #[error("{text} may be any of {}: name one by its peer id", .ids.join(", "))]
    Several { text: String, ids: Vec<String> },
    #[error("{0} was revoked already")]
    Already(PeerId),
    #[error(transparent)]
    Revocation(#[from] RevocationError),
}

/// Revokes the node that is meant. Blocks.
pub(crate) fn revoke(
    revocations: &Revocations,
    node: &str,
    reason: &str,
    known: &[Known],
) -> Result<RevocationDocument, RevokeError> {
    let found = find(node, known)?;
    let name = Name::nearest(if found.name.is_empty() {
        NO_NAME
    } else {
        &found.name
    });
    let entry = Revocation::new(name, reason, std::time::SystemTime::now());
    let document = document(&found.id, &entry);
    match revocations.revoke_here(found.id, entry)? {
        Some(_) => Ok(document),
        None => Err(RevokeError::Already(found.id)),
    }
}

/// The node that a text means: a PeerId, a beginning of one, or a name.
fn find(text: &str, known: &[Known]) -> Result<Known, RevokeError> {
    if text.len() >= WHOLE
        && let Ok(id) = text.parse::<PeerId>()
    {
        let found = known.iter().find(|it| it.id == id && !it.name.is_empty());
        let name = found.map(|it| it.name.clone()).unwrap_or_default();
        return Ok(Known { id, name });
    }
    let fits = |it: &&Known| it.name == text || begins_with(&it.id, text);
    let mut found: Vec<&Known> = known.iter().filter(fits).collect();
    found.sort_by_key(|it| (it.id, it.name.is_empty()));
    found.dedup_by_key(|it| it.id);
    match found.as_slice() {
        [] => Err(RevokeError::Unknown(text.to_owned())),
        [one] => Ok((*one).clone()),
        several => Err(RevokeError::Several {
            text: text.to_owned(),
            ids: several.iter().map(|it| it.id.to_string()).collect(),
        }),
    }
}

fn begins_with(id: &PeerId, text: &str) -> bool {
    let id = id.to_string();
    let (id, text) = match (id.strip_prefix(COMMON), text.strip_prefix(COMMON)) {
        (Some(id), Some(text)) => (id, text),
        (Some(id), None) => (id, text),
        (None, _) => (id.as_str(), text),
    };
    text.len() >= MIN_PREFIX && id.starts_with(text)
}

impl RevocationsDocument {
    /// What a list says.
    #[must_use]
    pub fn of(list: &RevocationList) -> Self {
        let mut entries: Vec<_> = list.entries.iter().collect();
        entries.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.revoked_at));
        let nodes = entries.into_iter().map(|(id, entry)| document(id, entry));
        Self {
            version: list.version,
            issued: (list.version > 0).then(|| rfc3339(list.issued)),
            nodes: nodes.collect(),
        }
    }
}

fn document(id: &PeerId, entry: &Revocation) -> RevocationDocument {
    RevocationDocument {
        id: id.to_string(),
        name: entry.name.to_string(),
        revoked_at: rfc3339(entry.revoked_at),
        reason: (!entry.reason.is_empty()).then(|| entry.reason.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The node with this key.
    fn known(key: u8, name: &str) -> Known {
        let id = [&[0, 36, 8, 1, 18, 32], &[key; 32][..]].concat();
        Known {
            id: PeerId::from_bytes(&id).unwrap(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn a_node_is_named_by_id_beginning_or_name() {
        let known = [known(1, "till"), known(200, "bar"), known(1, "")];
        let id = known[0].id.to_string();
        for text in [&id, &id[..16], &id[8..16], "till"] {
            assert_eq!(find(text, &known).unwrap(), known[0], "{text}");
        }
        for text in [&id[..8], &id[..12], &id[8..15], "cellar"] {
            let unknown = find(text, &known);
            assert!(matches!(unknown, Err(RevokeError::Unknown(_))), "{text}");
        }
        assert_eq!(find(&id, &[]).unwrap().name, "");
    }

    #[test]
    fn a_name_that_two_nodes_bear_is_not_guessed() {
        let known = [known(1, "till"), known(2, "till")];
        let several = find("till", &known);
        let Err(RevokeError::Several { ids, .. }) = several else {
            panic!("{several:?}");
        };
        assert_eq!(ids.len(), 2);
    }
}
