//! What is wanted, in every way that it can be named.

use std::sync::Arc;

use potluck_cache::{Facts, PartialKey};
use potluck_content::{ContentId, Digest, Entity};
use potluck_plan::{Accounting, ErrorContext, FileRanges, RangesError};

use crate::engine::fetch::OriginSource;
use crate::engine::file_task::FileTask;
use crate::engine::packing::Packing;
use crate::engine::request::TransferError;
use crate::origin::{OriginMeta, OriginRequest};

/// What is wanted, once the origin has said what there is.
#[derive(Clone)]
pub(crate) struct Wish {
    pub(crate) source: Arc<OriginSource>,
    pub(crate) entity: Option<Entity>,
    /// Whether peers may be asked and may have it.
    pub(crate) share: bool,
    /// What the whole must hash to.
    pub(crate) digests: Vec<Digest>,
    /// Only the job says what it must hash to. That is enough for the job, but does not
    /// make any bytes those of the URL: others could be given what one user made up.
    pub(crate) job_alone: bool,
    pub(crate) key: PartialKey,
    /// Where its bytes lie at the origin, when it is not the whole.
    pub(crate) packing: Option<Packing>,
    /// Whether bytes of an earlier attempt are surely of the same version.
    pub(crate) resumable: bool,
    pub(crate) use_peers: bool,
}

impl FileTask {
    pub(super) fn wish(&self, origin: &OriginRequest, meta: OriginMeta, use_peers: bool) -> Wish {
        let request = &self.request;
        let share = (meta.shareable || request.share_personal) && !request.for_itself;
        let entity = meta.entity();
        // Of ranges, the job's digest is of what they make.
        let checksum = self
            .request
            .checksum
            .filter(|_| self.request.ranges.is_none());
        let mut digests: Vec<_> = checksum.into_iter().collect();
        digests.extend(
            meta.digests
                .iter()
                .copied()
                .filter(|d| Some(*d) != checksum),
        );
        let name = &self.request.name;
        let job_alone = checksum.is_some() && meta.digests.is_empty();
        let (key, resumable) = match (&entity, share) {
            // Shared by the jobs that name the same.
            (Some(entity), true) if job_alone => {
                let checksum = checksum.map(|digest| digest.to_string());
                let checksum = checksum.unwrap_or_default();
                (
                    PartialKey::Private(format!("{} {checksum}", entity.key())),
                    true,
                )
            }
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
            job_alone,
            key,
            packing: None,
            resumable,
            use_peers: use_peers && share,
        }
    }

    /// What is wanted where one answer brings the whole of it: nothing of another is of use
    /// to it, nor what came of it to another.
    pub(super) fn wish_apart(&self, origin: &OriginRequest, meta: OriginMeta) -> Wish {
        Wish {
            key: PartialKey::Private(self.request.name.clone()),
            resumable: false,
            ..self.wish(origin, meta, false)
        }
    }

    /// What is wanted where only parts of the whole are. It has no name that another
    /// node could ask for.
    pub(super) fn packed_wish(
        &self,
        whole: &Wish,
        ranges: &FileRanges,
        packing: Option<Packing>,
    ) -> Wish {
        let name = &self.request.name;
        Wish {
            source: Arc::clone(&whole.source),
            entity: None,
            share: false,
            digests: self.request.checksum.into_iter().collect(),
            job_alone: true,
            key: ranges_key(name, whole.entity.as_ref(), ranges),
            packing,
            resumable: whole.resumable,
            use_peers: false,
        }
    }
}

impl Wish {
    /// Its bytes, where that is known.
    pub(crate) fn size(&self) -> Option<u64> {
        match &self.packing {
            Some(packing) => Some(packing.len),
            None => self.source.meta.size,
        }
    }

    /// The content, when a digest names it.
    pub(crate) fn content(&self) -> Option<ContentId> {
        self.digests.iter().find_map(|digest| match digest {
            Digest::B3(id) => Some(*id),
            _ => None,
        })
    }

    /// The same when the origin says too what the content is.
    pub(crate) fn vouched_for(&self, content: ContentId) -> Self {
        let mut wish = self.clone();
        let digest = Digest::B3(content);
        if !wish.digests.contains(&digest) {
            wish.digests.push(digest);
        }
        wish.job_alone = false;
        wish
    }

    /// Whether bytes that came so are those of the URL for everybody.
    pub(crate) const fn names(&self, came: &Accounting) -> bool {
        self.share && (!self.job_alone || came.peers == 0 && came.cache == 0)
    }

    /// What is known of the content once it is complete and its digests are checked;
    /// `names` as [`Wish::names`] says.
    pub(crate) fn facts(&self, names: bool) -> Facts {
        Facts {
            validated: names && !self.digests.is_empty(),
            entities: self.entity.iter().filter(|_| names).cloned().collect(),
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

/// Under what an unfinished file of ranges is kept. The size of the whole is left out:
/// whoever gives the file up knows that of the parts.
#[must_use]
pub fn ranges_key(name: &str, version: Option<&Entity>, ranges: &FileRanges) -> PartialKey {
    let version = version.map(|entity| format!("{} {}", entity.url, entity.validator));
    PartialKey::Private(format!("{name} {} {ranges}", version.unwrap_or_default()))
}

/// The error of a range that is not in the file.
pub(crate) fn invalid_range(wish: &Wish, error: &RangesError) -> TransferError {
    let message = format!("{}: {error}", wish.source.meta.url);
    TransferError::new("invalid_range", ErrorContext::Origin, message, false)
}
