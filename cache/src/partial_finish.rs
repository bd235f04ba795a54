//! From an unfinished content to a complete one.

use std::sync::PoisonError;

use potluck_content::{Bitfield, ContentId, Manifest, PieceIndex};

use crate::data_dir::meta_path;
use crate::inner::lock;
use crate::partial::{Body, pieces};
use crate::piece_map::PieceMap;
use crate::room::Room;
use crate::unsynced::When;
use crate::written_log::written_path;
use crate::{CacheError, Facts, FinishError, Lease, Partial};

impl Partial {
    /// Makes it a complete content, not validated yet. See [`Partial::finish_with`].
    ///
    /// # Errors
    /// As [`Partial::finish_with`].
    pub fn finish(self, expected: Option<ContentId>) -> Result<Lease, FinishError> {
        self.finish_with(expected, &Facts::default())
    }

    /// Makes it a complete content of which `facts` are known, and leases it. When it
    /// does not fit under the limit, it stays only until the last lease is dropped.
    ///
    /// It is durable when this returns; a content of one piece only after the next
    /// [`Cache::sync_contents`](crate::Cache::sync_contents) or
    /// [`Cache::flush`](crate::Cache::flush). Until then a loss of power may take it.
    ///
    /// # Errors
    /// When pieces are missing, when they make another content than `expected`, or when
    /// the disk fails. The error gives the partial back.
    pub fn finish_with(
        mut self,
        expected: Option<ContentId>,
        facts: &Facts,
    ) -> Result<Lease, FinishError> {
        let manifest = match self.complete() {
            Ok(Ok(manifest)) => manifest,
            Ok(Err(missing)) => {
                let partial = Box::new(self);
                return Err(FinishError::Incomplete { partial, missing });
            }
            Err(source) => {
                let partial = Box::new(self);
                return Err(FinishError::Cache { partial, source });
            }
        };
        let found = manifest.id();
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(FinishError::WrongContent {
                partial: Box::new(self),
                expected,
                found,
            });
        }
        let claimed = lock(&self.claimed).clone();
        let (ready, when) = if self.is_brief {
            (Ok(()), When::Soon)
        } else {
            (self.sync(&claimed), When::Now)
        };
        let admitted = ready.and_then(|()| {
            self.inner
                .admit(&self.path, manifest, facts, Room::IfItFits, when)
        });
        match admitted {
            Ok(open) => {
                if !self.is_brief {
                    self.disk().discard(&meta_path(&self.path));
                    self.disk().discard(&written_path(&self.path));
                }
                self.inner.sync_if_many();
                Ok(Lease::new(open).with_copy(self.early_copy.take()))
            }
            Err(source) => Err(FinishError::Cache {
                partial: Box::new(self),
                source,
            }),
        }
    }

    /// The manifest when everything is there, or else what is missing. A stream ends
    /// here: from now on it is a content of known size.
    fn complete(&mut self) -> Result<Result<Manifest, Vec<PieceIndex>>, CacheError> {
        let body = self.body.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Body::Stream(hasher) = body {
            let manifest = std::mem::take(hasher).finish();
            let (layout, values) = (*manifest.layout(), manifest.values().to_vec());
            let held = Bitfield::full(layout.pieces());
            *body = Body::Pieces(PieceMap::restore(layout, None, held, values));
            let claimed = self.claimed.get_mut();
            *claimed.unwrap_or_else(PoisonError::into_inner) = Bitfield::empty(layout.pieces());
        }
        let map = pieces(body)?;
        if !map.held().is_full() {
            return Ok(Err(map.missing()));
        }
        map.merged()
            .map(Ok)
            .map_err(|_| CacheError::Foreign("a piece"))
    }
}
