//! Hashing a content from its first byte to its last.

use blake3::hazmat::HasherExt;

use crate::{ChainingValue, Layout, MAX_CONTENT_SIZE, MIN_PIECE_LEN, Manifest, TooLarge};

/// Makes a manifest of bytes that come in order, also when their number is not
/// known before they end.
///
/// It hashes blocks of [`MIN_PIECE_LEN`]; when the size is known at the end, the
/// values of neighbouring blocks merge to those of the pieces.
pub struct ContentHasher {
    block: blake3::Hasher,
    in_block: u64,
    size: u64,
    values: Vec<ChainingValue>,
}

impl Default for ContentHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl ContentHasher {
    /// Starts with no bytes.
    #[must_use]
    pub fn new() -> Self {
        Self {
            block: blake3::Hasher::new(),
            in_block: 0,
            size: 0,
            values: Vec::new(),
        }
    }

    /// Bytes hashed so far.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// When they go beyond [`MAX_CONTENT_SIZE`].
    pub fn update(&mut self, mut bytes: &[u8]) -> Result<(), TooLarge> {
        let size = self.size + bytes.len() as u64;
        if size > MAX_CONTENT_SIZE {
            return Err(TooLarge(size));
        }
        while !bytes.is_empty() {
            // A full block is closed only when more comes: the last one may be the
            // whole content, which is hashed as a root.
            if self.in_block == MIN_PIECE_LEN {
                self.values
                    .push(ChainingValue::from_bytes(self.block.finalize_non_root()));
                // Not `reset`: it keeps the offset of the block before.
                self.block = blake3::Hasher::new();
                self.block.set_input_offset(self.size);
                self.in_block = 0;
            }
            let room = usize::try_from(MIN_PIECE_LEN - self.in_block).expect("at most a block");
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.block.update(now);
            self.in_block += now.len() as u64;
            self.size += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    /// The manifest of all bytes taken.
    #[must_use]
    pub fn finish(mut self) -> Manifest {
        let layout = Layout::for_size(self.size).expect("checked in update");
        let last = match (self.size, self.values.is_empty()) {
            (0, _) => None,
            (_, true) => Some(*self.block.finalize().as_bytes()),
            (_, false) => Some(self.block.finalize_non_root()),
        };
        self.values.extend(last.map(ChainingValue::from_bytes));
        let blocks = usize::try_from(layout.piece_len() / MIN_PIECE_LEN).expect("small");
        let values = self
            .values
            .chunks(blocks)
            .map(ChainingValue::merge)
            .collect();
        Manifest::from_values(self.size, values).expect("one value for each piece")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_hashing_by_pieces() {
        let p = MIN_PIECE_LEN as usize;
        for len in [0, 1, p - 1, p, p + 1, 3 * p, 4 * p + 7] {
            let content: Vec<u8> = (0..len).map(|i| (i * 7 % 255) as u8).collect();
            for step in [1000, p, 3 * p - 1] {
                let mut hasher = ContentHasher::new();
                for part in content.chunks(step) {
                    hasher.update(part).unwrap();
                }
                assert_eq!(
                    hasher.finish(),
                    Manifest::of(&content).unwrap(),
                    "{len} by {step}"
                );
            }
        }
    }

    #[test]
    fn blocks_merge_to_longer_pieces() {
        // 4 GiB and a little: pieces of two blocks, the last of one short block.
        let mut hasher = ContentHasher::new();
        let block = vec![0; 64 << 20];
        for _ in 0..64 {
            hasher.update(&block).unwrap();
        }
        hasher.update(b"end").unwrap();
        let mut whole = blake3::Hasher::new();
        for _ in 0..64 {
            whole.update(&block);
        }
        whole.update(b"end");
        let manifest = hasher.finish();
        assert_eq!(manifest.layout().piece_len(), 2 * MIN_PIECE_LEN);
        assert_eq!(manifest.id().as_bytes(), whole.finalize().as_bytes());
    }
}
