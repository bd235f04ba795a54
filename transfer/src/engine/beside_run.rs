//! What a transfer makes of the manifest beside its file.

use std::collections::BTreeSet;

use potluck_content::{ChainingValue, Manifest, PieceIndex};
use potluck_plan::{Holding, PeerKey, Source};

use crate::engine::file_run::{FileRun, Giver};
use crate::engine::request::TransferError;
use crate::engine::together::key_of;
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
            let left = self.leave_holders()?;
            if let Some(theirs) = self.store.manifest() {
                self.beside.set_rival(theirs, left);
            }
        }
        // The others are looked at when the plan hears of them.
        let mut differing = self.store.partial.differing(&manifest);
        differing.retain(|index| !self.plan.wants(*index));
        self.forget_pieces(&differing)?;
        self.content = Some(id);
        self.store.set_manifest(Some(manifest));
        self.beside.set_vouching(id);
        if let Some(together) = &mut self.together {
            together.audits.drop_due();
        }
        tracing::debug!(content = %id, "proven by the manifest beside the file");
        Ok(())
    }

    /// Whether a piece stays that may have been stored before the manifest came. Where it is
    /// the origin's, that is the truth.
    pub(super) fn stands(
        &mut self,
        source: Source,
        index: PieceIndex,
        value: ChainingValue,
    ) -> Result<bool, TransferError> {
        let manifest = self
            .beside
            .vouches_for()
            .and_then(|_| self.store.manifest());
        let right = manifest.and_then(|it| it.values().get(index.0 as usize).copied());
        if right.is_none_or(|right| right == value) {
            return Ok(true);
        }
        if source == Source::Origin {
            self.drop_beside()?;
            return Ok(true);
        }
        self.forget_pieces(&[index])?;
        Ok(false)
    }

    /// The file is what the origin gives, whatever its manifest says: that is dropped, and
    /// with it what was taken for being what it says.
    pub(super) fn drop_beside(&mut self) -> Result<(), TransferError> {
        self.warn_of_stale();
        self.beside.set_stale();
        self.store.set_manifest(None);
        self.content = None;
        if !self.leave_holders()?.is_empty() {
            // It looks for more who hold the same.
            self.search = None;
        }
        match self.beside.take_rival() {
            Some((manifest, holders)) => self.trust_again(manifest, holders),
            None => Ok(()),
        }
    }

    /// What peers proved counts again, unless the origin gave something else.
    fn trust_again(
        &mut self,
        manifest: Manifest,
        holders: Vec<PeerKey>,
    ) -> Result<(), TransferError> {
        let mut differing = self.store.partial.differing(&manifest);
        let of_origin = self.plan.pieces_from(Source::Origin);
        if differing
            .iter()
            .any(|index| of_origin.binary_search(index).is_ok())
        {
            self.search = None;
            return Ok(());
        }
        differing.retain(|index| !self.plan.wants(*index));
        self.forget_pieces(&differing)?;
        self.content = Some(manifest.id());
        self.store.set_manifest(Some(manifest));
        for key in holders {
            // How much they serve is measured this time.
            self.plan
                .handle_peer_joined(key, Holding::Whole, None, now());
        }
        Ok(())
    }

    /// Whether what the origin gave, in this run or before, is of another version.
    fn is_contradicted(&self, manifest: &Manifest) -> bool {
        let differing = self.store.partial.differing(manifest);
        let differs = |index: &PieceIndex| differing.binary_search(index).is_ok();
        let of_origin = self.plan.pieces_from(Source::Origin);
        let mut of_this_run: BTreeSet<_> = of_origin.iter().copied().collect();
        for place in 0..self.givers.len() {
            of_this_run.extend(self.plan.pieces_from(Source::Peer(key_of(place))));
        }
        let held = self.store.partial.bitfield();
        let earlier: Vec<_> = held
            .held()
            .filter(|index| !self.plan.wants(*index) && !of_this_run.contains(index))
            .collect();
        of_origin.iter().any(differs) || !earlier.is_empty() && earlier.iter().all(differs)
    }

    /// Goes on without those who hold a content that is not the file's, and without what
    /// they gave. Who is right is not known yet, so nobody is blamed. Members of the swarm
    /// stay: others vouch for what they give. Says who went.
    fn leave_holders(&mut self) -> Result<Vec<PeerKey>, TransferError> {
        self.leave_givers(|giver| matches!(giver, Giver::Holder(_)))
    }

    /// Goes on without some, and without what they gave. Says who went.
    pub(super) fn leave_givers(
        &mut self,
        which: impl Fn(&Giver) -> bool,
    ) -> Result<Vec<PeerKey>, TransferError> {
        let leaving = self.givers.iter().enumerate();
        let leaving = leaving.filter(|(_, giver)| which(giver));
        let mut keys: Vec<PeerKey> = leaving.map(|(place, _)| key_of(place)).collect();
        keys.retain(|key| self.plan.is_peer(*key));
        for &key in &keys {
            let pieces = self.plan.pieces_from(Source::Peer(key));
            self.plan.handle_peer_left(key, now());
            self.store.partial.discard_pieces(&pieces)?;
            self.plan.forget(&pieces, now());
            let bytes = self.bytes_of(&pieces);
            self.accounting.discard(Source::Peer(key), bytes);
        }
        self.plan.handle_window_closed(now());
        Ok(keys)
    }

    fn warn_of_stale(&self) {
        let url = &self.origin.meta.url;
        tracing::warn!(%url, "the manifest beside the file is of another version");
    }
}
