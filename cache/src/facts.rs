//! What is known of a content besides its bytes.

use std::time::SystemTime;

use potluck_content::{ContentId, Digest, Entity};
use serde::{Deserialize, Serialize};

/// What is known of a content and kept in its sidecar.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// Whether a digest that the job or the origin gave, the application, or the end
    /// of the job vouched for the bytes. Only then may peers have it.
    pub validated: bool,
    /// Whether it stays whatever the limits say.
    pub pinned: bool,
    /// The versions of URLs that have these bytes, the newest last; the cache keeps
    /// the newest 64.
    pub entities: Vec<Entity>,
    /// Digests of other kinds that were checked against the bytes.
    pub digests: Vec<Digest>,
    /// When the origin last changed it, as the origin said.
    pub origin_mtime: Option<SystemTime>,
}

/// How many entities one content remembers: enough for a file on many mirrors, few
/// enough that an origin with ever new validators cannot fill the disk.
const MAX_ENTITIES: usize = 64;

impl Facts {
    pub(crate) fn add_entity(&mut self, entity: &Entity) {
        self.entities.retain(|known| known != entity);
        self.entities.push(entity.clone());
        let surplus = self.entities.len().saturating_sub(MAX_ENTITIES);
        self.entities.drain(..surplus);
    }

    /// Notes a digest that was checked against the bytes.
    pub fn add_digest(&mut self, digest: &Digest) {
        // The content id says the same as a BLAKE3 digest.
        if !matches!(digest, Digest::B3(_)) && !self.digests.contains(digest) {
            self.digests.push(*digest);
        }
    }

    /// Takes over what is known of the same bytes from elsewhere.
    pub fn merge(&mut self, other: &Self) {
        self.validated |= other.validated;
        self.pinned |= other.pinned;
        for entity in &other.entities {
            self.add_entity(entity);
        }
        for digest in &other.digests {
            self.add_digest(digest);
        }
        self.origin_mtime = other.origin_mtime.or(self.origin_mtime);
    }
}

/// All there is to tell about one content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContentRecord {
    /// The content.
    pub id: ContentId,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it counts to the limit and stays; otherwise it was too large and goes
    /// with its last lease.
    pub cached: bool,
    /// What is known of it.
    #[serde(flatten)]
    pub facts: Facts,
    /// When it came.
    pub added: SystemTime,
    /// When it was last leased.
    pub accessed: SystemTime,
    /// Whether somebody holds a lease on it now.
    pub leased: bool,
}

/// The short answer to whether a content is held, made without touching a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The content.
    pub id: ContentId,
    /// Its size in bytes.
    pub size: u64,
    /// Whether peers may have it: see [`Facts::validated`].
    pub validated: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use potluck_content::Validator;

    #[test]
    fn remembers_the_newest_entities_only() {
        let entity = |n: usize| Entity {
            url: format!("http://o/{n}"),
            validator: Validator::ETag("\"1\"".into()),
            size: 1,
        };
        let mut facts = Facts::default();
        for n in 0..100 {
            facts.add_entity(&entity(n));
            facts.add_entity(&entity(0));
        }
        assert_eq!(facts.entities.len(), MAX_ENTITIES);
        assert_eq!(facts.entities.last(), Some(&entity(0)));
        assert!(!facts.entities.contains(&entity(20)));
    }
}
