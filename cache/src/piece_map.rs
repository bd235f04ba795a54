//! Which pieces of an unfinished content are held, and what they hash to. Pure.

use std::collections::BTreeMap;

use potluck_content::{
    Bitfield, ChainingValue, HashedPiece, Layout, Manifest, ManifestError, PieceIndex,
};

/// What became of a piece that was put.
#[derive(Debug)]
#[must_use]
pub enum PutOutcome {
    /// It is written and held now.
    Stored,
    /// The same piece was held already; nothing was written.
    AlreadyHeld,
    /// It differs from what the manifest says, or from the piece that is held. It is
    /// given back, and is not held.
    Mismatch(HashedPiece),
}

/// The pieces of an unfinished content.
///
/// A piece is held only after its bytes are written. Two writers of one piece at a time
/// must write the same bytes: who comes with others waits.
#[derive(Debug, Clone)]
pub(crate) struct PieceMap {
    layout: Layout,
    manifest: Option<Manifest>,
    held: Bitfield,
    /// The values of held pieces; those of others mean nothing.
    values: Vec<ChainingValue>,
    writing: BTreeMap<PieceIndex, (ChainingValue, u32)>,
}

/// What the one who comes with a piece does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// Write it, then call [`PieceMap::end`].
    Write,
    AlreadyHeld,
    Mismatch,
    /// Somebody writes other bytes in its place: wait for the end of that.
    Wait,
}

const NO_VALUE: ChainingValue = ChainingValue::from_bytes([0; 32]);

impl PieceMap {
    pub(crate) fn new(layout: Layout, manifest: Option<Manifest>) -> Self {
        let held = Bitfield::empty(layout.pieces());
        Self::restore(layout, manifest, held, Vec::new())
    }

    /// What was held before; missing values are those of no held piece.
    pub(crate) fn restore(
        layout: Layout,
        manifest: Option<Manifest>,
        held: Bitfield,
        mut values: Vec<ChainingValue>,
    ) -> Self {
        values.resize(layout.pieces() as usize, NO_VALUE);
        Self {
            layout,
            manifest,
            held,
            values,
            writing: BTreeMap::new(),
        }
    }

    pub(crate) const fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) const fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    pub(crate) const fn held(&self) -> &Bitfield {
        &self.held
    }

    pub(crate) fn held_bytes(&self) -> u64 {
        let last = PieceIndex(self.layout.pieces().saturating_sub(1));
        let short = if self.held.has(last) {
            self.layout.piece_len() - self.layout.len_of(last) as u64
        } else {
            0
        };
        u64::from(self.held.count()) * self.layout.piece_len() - short
    }

    /// All values that are known, in the order of the pieces.
    pub(crate) fn values(&self) -> &[ChainingValue] {
        self.manifest
            .as_ref()
            .map_or(&self.values, Manifest::values)
    }

    /// Takes in that a piece of this value is about to be written.
    pub(crate) fn begin(&mut self, index: PieceIndex, value: ChainingValue) -> Begin {
        let known = self.manifest.as_ref().map(|m| m.values()[index.0 as usize]);
        if known.is_some_and(|known| known != value) {
            return Begin::Mismatch;
        }
        if self.held.has(index) {
            let same = self.values()[index.0 as usize] == value;
            return if same {
                Begin::AlreadyHeld
            } else {
                Begin::Mismatch
            };
        }
        let writer = self.writing.entry(index).or_insert((value, 0));
        if writer.0 != value {
            return Begin::Wait;
        }
        writer.1 += 1;
        Begin::Write
    }

    /// Takes in that the writing ended. Says whether the piece is held now: not if it
    /// failed, nor if a manifest came meanwhile and says otherwise.
    pub(crate) fn end(&mut self, index: PieceIndex, value: ChainingValue, written: bool) -> bool {
        if let Some(writer) = self.writing.get_mut(&index) {
            writer.1 -= 1;
            if writer.1 == 0 {
                self.writing.remove(&index);
            }
        }
        let known = self.manifest.as_ref().map(|m| m.values()[index.0 as usize]);
        if !written || known.is_some_and(|known| known != value) {
            return false;
        }
        self.values[index.0 as usize] = value;
        self.held.set(index);
        true
    }

    /// The pieces that a manifest of the same layout would not have.
    pub(crate) fn differing(&self, manifest: &Manifest) -> Vec<PieceIndex> {
        let (mine, theirs) = (self.values(), manifest.values());
        self.held
            .held()
            .filter(|index| mine[index.0 as usize] != theirs[index.0 as usize])
            .collect()
    }

    /// Takes a manifest of the same layout; pieces that it does not have are not held
    /// any more. Says how many bytes these have.
    pub(crate) fn set_manifest(&mut self, manifest: Manifest) -> u64 {
        let differing = self.differing(&manifest);
        for index in &differing {
            self.held.clear(*index);
        }
        self.values.copy_from_slice(manifest.values());
        self.manifest = Some(manifest);
        let bytes = differing
            .iter()
            .map(|index| self.layout.len_of(*index) as u64);
        bytes.sum()
    }

    pub(crate) fn discard(&mut self, pieces: &[PieceIndex]) {
        for index in pieces.iter().filter(|index| self.layout.contains(**index)) {
            self.held.clear(*index);
        }
    }

    pub(crate) fn missing(&self) -> Vec<PieceIndex> {
        self.held.missing().collect()
    }

    /// The manifest that the pieces make, when all are held.
    pub(crate) fn merged(&self) -> Result<Manifest, ManifestError> {
        self.manifest.clone().map_or_else(
            || Manifest::from_values(self.layout.size(), self.values.clone()),
            Ok,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(byte: u8) -> ChainingValue {
        ChainingValue::from_bytes([byte; 32])
    }

    fn map(pieces: u64) -> PieceMap {
        let layout = Layout::for_size(pieces * potluck_content::MIN_PIECE_LEN).unwrap();
        PieceMap::new(layout, None)
    }

    const FIRST: PieceIndex = PieceIndex(0);

    #[test]
    fn a_piece_is_held_when_it_is_written_not_before() {
        let mut map = map(2);
        assert_eq!(map.begin(FIRST, value(1)), Begin::Write);
        assert!(!map.held().has(FIRST));
        assert!(map.end(FIRST, value(1), true));
        assert_eq!(map.begin(FIRST, value(1)), Begin::AlreadyHeld);
        assert_eq!(map.begin(FIRST, value(2)), Begin::Mismatch);
    }

    #[test]
    fn a_failed_write_leaves_the_piece_missing() {
        let mut map = map(2);
        assert_eq!(map.begin(FIRST, value(1)), Begin::Write);
        assert!(!map.end(FIRST, value(1), false));
        assert_eq!(map.missing().len(), 2);
        assert_eq!(map.begin(FIRST, value(2)), Begin::Write);
    }

    #[test]
    fn other_bytes_wait_and_the_same_do_not() {
        let mut map = map(2);
        assert_eq!(map.begin(FIRST, value(1)), Begin::Write);
        assert_eq!(map.begin(FIRST, value(1)), Begin::Write);
        assert_eq!(map.begin(FIRST, value(2)), Begin::Wait);
        map.end(FIRST, value(1), false);
        assert_eq!(map.begin(FIRST, value(2)), Begin::Wait);
        map.end(FIRST, value(1), false);
        assert_eq!(map.begin(FIRST, value(2)), Begin::Write);
    }

    #[test]
    fn a_manifest_drops_what_differs_also_while_it_is_written() {
        let mut map = map(3);
        for (index, byte) in [(0, 1), (1, 9)] {
            let _ = map.begin(PieceIndex(index), value(byte));
            assert!(map.end(PieceIndex(index), value(byte), true));
        }
        assert_eq!(map.begin(PieceIndex(2), value(8)), Begin::Write);
        let values = vec![value(1), value(2), value(3)];
        let manifest = Manifest::from_values(map.layout().size(), values).unwrap();
        assert_eq!(map.differing(&manifest), [PieceIndex(1)]);
        assert_eq!(
            map.set_manifest(manifest.clone()),
            potluck_content::MIN_PIECE_LEN
        );
        assert!(!map.end(PieceIndex(2), value(8), true));
        assert_eq!(map.missing(), [PieceIndex(1), PieceIndex(2)]);
        assert_eq!(map.merged().unwrap(), manifest);
    }
}
