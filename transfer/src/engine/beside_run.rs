//! What a transfer makes of the manifest beside its file.

use std::collections::BTreeSet;

use potluck_content::{Manifest, PieceIndex};
use potluck_plan::{PeerKey, Source};

use crate::engine::file_run::FileRun;
use crate::engine::request::TransferError;
use crate::rates::now;

impl FileRun {
    /// The manifest came: pieces are checked against it from now on, and so are those that
    /// are held. Where it is not of what the origin gave so far, it is left aside.
    pub(super) fn adopt_beside(&mut self, manifest: Manifest) -> Result<(), TransferError> {
        let id = manifest.id();
        if !self.beside.fits(&manifest, self.store.layout.size()) || self.is_contradicted(&manifest)
        {
            self.warn_of_stale();
            self.beside.set_stale();
            return Ok(());
        }
        if self.content.is_some_and(|content| content != id) {
            tracing::warn!(content = %id, "peers hold something else than the origin's manifest says");
            self.leave_peers()?;
        }
        // What is still on its way into the plan is looked at when all is here.
        let mut differing = self.store.partial.differing(&manifest);
        differing.retain(|index| !self.plan.wants(*index));
        self.forget_pieces(&differing)?;
        self.content = Some(id);
        self.store.set_manifest(Some(manifest));
        self.beside.set_vouching(id);
        tracing::debug!(content = %id, "proven by the manifest beside the file");
        Ok(())
    }

    /// The file is what the origin gives, whatever its manifest says: that is dropped, and
    /// with it what peers gave for being what it says.
    pub(super) fn drop_beside(&mut self) -> Result<(), TransferError> {
        self.warn_of_stale();
        self.beside.set_stale();
        self.store.set_manifest(None);
        self.content = None;
        self.leave_peers()
    }

    /// Everything is here: a piece that came from the origin just before the manifest may
    /// not be what that says. Whether pieces are missing after that.
    pub(super) fn settle_beside(&mut self) -> Result<bool, TransferError> {
        let vouched = self.beside.vouches_for();
        if vouched.is_some() && self.store.partial.merged() != vouched {
            self.drop_beside()?;
        }
        let mut indices = self.store.layout.indices();
        Ok(indices.any(|index| self.plan.wants(index)))
    }

    /// Whether what the origin gave, in this run or before, is of another version.
    fn is_contradicted(&self, manifest: &Manifest) -> bool {
        let differing = self.store.partial.differing(manifest);
        let differs = |index: &PieceIndex| differing.binary_search(index).is_ok();
        let of_origin = self.plan.pieces_from(Source::Origin);
        let of_peers = self.pieces_of_peers().into_iter().flat_map(|it| it.1);
        let of_this_run: BTreeSet<_> = of_peers.chain(of_origin.iter().copied()).collect();
        // Whose it is that is not in the plan yet nobody knows, but for where only the
        // origin's is stored.
        let arriving = |index: &PieceIndex| self.content.is_none() && self.plan.wants(*index);
        let held = self.store.partial.bitfield();
        let earlier: Vec<_> = held
            .held()
            .filter(|index| !self.plan.wants(*index) && !of_this_run.contains(index))
            .collect();
        of_origin.iter().any(differs)
            || differing.iter().any(arriving)
            || !earlier.is_empty() && earlier.iter().all(differs)
    }

    fn pieces_of_peers(&self) -> Vec<(PeerKey, Vec<PieceIndex>)> {
        let keys =
            (0..self.givers.len()).map(|key| PeerKey(u32::try_from(key).unwrap_or(u32::MAX)));
        keys.map(|key| (key, self.plan.pieces_from(Source::Peer(key))))
            .collect()
    }

    /// Goes on without peers, and without what they gave. Who is right nobody knows, so
    /// nobody is blamed.
    fn leave_peers(&mut self) -> Result<(), TransferError> {
        self.search = None;
        for (key, pieces) in self.pieces_of_peers() {
            self.plan.handle_peer_left(key, now());
            self.store.partial.discard_pieces(&pieces)?;
            self.plan.forget(&pieces, now());
            let bytes = self.bytes_of(&pieces);
            self.accounting.discard(Source::Peer(key), bytes);
        }
        self.plan.handle_window_closed(now());
        Ok(())
    }

    fn warn_of_stale(&self) {
        let url = &self.origin.meta.url;
        tracing::warn!(%url, "the manifest beside the file is of another version");
    }
}
