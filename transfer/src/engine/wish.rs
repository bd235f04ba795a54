//! What is wanted, in every way that it can be named.

use std::sync::Arc;

use potluck_cache::{Facts, PartialKey};
use potluck_content::{ContentId, Digest, Entity};
use potluck_plan::ErrorContext;

use crate::engine::fetch::OriginSource;
use crate::engine::file_task::FileTask;
use crate::engine::request::TransferError;
use crate::origin::{OriginMeta, OriginRequest};

/// What is wanted, once the origin has said what there is.
pub(crate) struct Wish {
    pub(crate) source: Arc<OriginSource>,
    pub(crate) entity: Option<Entity>,
    /// Whether peers may be asked and may have it.
    pub(crate) share: bool,
    /// What the whole must hash to.
    pub(crate) digests: Vec<Digest>,
    pub(crate) key: PartialKey,
    /// Whether bytes of an earlier attempt are surely of the same version.
    pub(crate) resumable: bool,
    pub(crate) use_peers: bool,
}

impl FileTask {
    pub(super) fn wish(&self, origin: &OriginRequest, meta: OriginMeta, use_peers: bool) -> Wish {
        let share = meta.shareable || self.request.share_personal;
        let entity = meta.entity();
        let mut digests: Vec<_> = self.request.checksum.into_iter().collect();
        digests.extend(
            meta.digests
                .iter()
                .copied()
                .filter(|d| Some(*d) != self.request.checksum),
        );
        let name = &self.request.name;
        let (key, resumable) = match (&entity, share) {
            (Some(entity), true) => (PartialKey::Entity(entity.key()), true),
            (Some(entity), false) => (
                PartialKey::Private(format!("{name} {}", entity.key())),
                true,
            ),
            (None, _) => (PartialKey::Private(name.clone()), false),
        };
        let (client, request) = (self.inner.origin.clone(), origin.clone());
        let source = Arc::new(OriginSource {
            client,
            request,
            meta,
        });
        Wish {
            source,
            entity,
            share,
            digests,
            key,
            resumable,
            use_peers: use_peers && share,
        }
    }
}

impl Wish {
    /// The content, when a digest names it.
    pub(crate) fn content(&self) -> Option<ContentId> {
        self.digests.iter().find_map(|digest| match digest {
            Digest::B3(id) => Some(*id),
            _ => None,
        })
    }

    /// What is known of the content once it is complete and its digests are checked.
    pub(crate) fn facts(&self) -> Facts {
        Facts {
            validated: self.share && !self.digests.is_empty(),
            entities: self.entity.iter().filter(|_| self.share).cloned().collect(),
            digests: if self.share {
                self.digests.clone()
            } else {
                Vec::new()
            },
            origin_mtime: self.source.meta.modified,
            ..Facts::default()
        }
    }
}

/// The error of a whole that is not what its digests say.
pub(crate) fn mismatch(wish: &Wish, wrong: &[Digest]) -> TransferError {
    let wrong: Vec<_> = wrong.iter().map(ToString::to_string).collect();
    let message = format!("{} is not {}", wish.source.meta.url, wrong.join(", "));
    TransferError::new("checksum_mismatch", ErrorContext::Origin, message, false)
}
