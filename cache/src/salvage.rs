//! What is still good of a content that was damaged.

use std::path::Path;
use std::sync::Arc;

use potluck_content::{Bitfield, PieceIndex};

use crate::data_dir::{DataDir, meta_path};
use crate::disk::private_file;
use crate::inner::Inner;
use crate::meta::Meta;
use crate::partial_meta;
use crate::partial_open::NameClaim;
use crate::piece_map::PieceMap;
use crate::{CacheError, Damage, Notice, PartialKey};

impl Inner {
    /// Takes out a content of which some pieces are bad, or that has `found` bytes and
    /// not its own number. The good pieces become an unfinished content under its newest
    /// entity, where the next transfer finds them; else the file is set aside.
    pub(crate) fn salvage(
        self: &Arc<Self>,
        meta: &Meta,
        bad_pieces: Vec<PieceIndex>,
        found: u64,
    ) -> Damage {
        let (id, size) = (meta.manifest.id(), meta.manifest.size());
        let _edit = self.edit(&id);
        let held = self.index.get(&id).is_some();
        let _change = self.changes.note_removal(&id);
        let kept = if held {
            self.keep_good(meta, &bad_pieces).unwrap_or_else(|error| {
                tracing::warn!(content = %id, %error, "good pieces not kept");
                0
            })
        } else {
            0
        };
        let pieces = meta.manifest.layout().pieces();
        let damage = Damage {
            id,
            file: self.dir.content(&id),
            reason: if found == size {
                format!(
                    "{} of {pieces} pieces are not what they were",
                    bad_pieces.len()
                )
            } else {
                format!("it has {found} bytes, not {size}")
            },
            bad_pieces,
            kept,
        };
        if !held {
            return damage;
        }
        tracing::warn!(content = %id, reason = damage.reason, kept, "content is damaged and taken out");
        let mut shelf = self.shelf();
        if kept > 0 {
            let mut trash = Vec::new();
            self.take_off(&mut shelf, &id, &mut trash);
            drop(shelf);
            self.dir.throw_out(trash);
        } else {
            self.set_aside(shelf, &id);
        }
        self.dir.notices.add(Notice::Damaged(damage.clone()));
        damage
    }

    /// Makes an unfinished content of the good pieces. Says how many bytes they have; 0
    /// when there is nothing to keep or nobody who would go on with it.
    fn keep_good(self: &Arc<Self>, meta: &Meta, bad: &[PieceIndex]) -> Result<u64, CacheError> {
        let layout = meta.manifest.layout();
        let mut held = Bitfield::full(layout.pieces());
        for index in bad {
            held.clear(*index);
        }
        let Some(entity) = meta.facts.entities.last().filter(|_| !held.is_empty()) else {
            return Ok(0);
        };
        let key = PartialKey::Entity(entity.key());
        let name = key.file_name();
        if !self.shelf().partials.insert(name.clone()) {
            // It is being fetched already.
            return Ok(0);
        }
        let _claim = NameClaim {
            inner: self,
            name: &name,
        };
        let partial = self.dir.partials().join(&name);
        if partial.exists() || meta_path(&partial).exists() {
            return Ok(0);
        }
        let _change = self.changes.note(&meta.manifest.id())?;
        // The pieces are what they were, and no more is said: what the next transfer brings
        // is measured by what its origin has, not by what was here.
        let values = meta.manifest.values().to_vec();
        let map = PieceMap::restore(*layout, None, held, values);
        let sidecar = partial_meta::encode(&key, &map, map.held());
        // A sidecar without bytes is swept away; bytes without a sidecar would be too.
        self.dir.replace(&meta_path(&partial), &sidecar)?;
        let data = self.dir.content(&meta.manifest.id());
        let moved = self
            .dir
            .sync_dir(&self.dir.partials())
            .and_then(|()| move_to(&self.dir, &data, &partial, layout.size()));
        if let Err(error) = moved {
            self.dir.disk.discard(&meta_path(&partial));
            return Err(error);
        }
        Ok(map.held_bytes())
    }
}

/// Moves the bytes, and makes them as many as they must be.
fn move_to(dir: &DataDir, data: &Path, partial: &Path, size: u64) -> Result<(), CacheError> {
    let fail = |e| CacheError::io(data, e);
    let file = private_file().open(data).map_err(fail)?;
    dir.disk.rename(data, partial).map_err(fail)?;
    dir.disk
        .set_len(&file, size)
        .and_then(|()| dir.disk.sync(&file))
        .map_err(|e| CacheError::io(partial, e))?;
    for path in [data, partial] {
        path.parent()
            .map_or(Ok(()), |parent| dir.sync_dir(parent))?;
    }
    Ok(())
}
