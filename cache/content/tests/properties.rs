//! What must hold for every content, whatever its size and bytes.

#![allow(clippy::unwrap_used)] // a failing unwrap is a failing test

use bytes::Bytes;
use potluck_content::{
    Bitfield, ContentHasher, ContentId, Layout, MAX_CONTENT_SIZE, MAX_PIECES, MIN_PIECE_LEN,
    Manifest, PieceIndex,
};
use proptest::prelude::*;

fn content() -> impl Strategy<Value = Vec<u8>> {
    let near = |n: u64| (n.saturating_sub(2)..n + 3).prop_map(|n| usize::try_from(n).unwrap());
    let sizes = prop_oneof![
        0..5000_usize,
        near(MIN_PIECE_LEN),
        near(2 * MIN_PIECE_LEN),
        near(3 * MIN_PIECE_LEN),
        0..(5 * MIN_PIECE_LEN as usize),
    ];
    (sizes, any::<u64>()).prop_map(|(len, seed)| {
        let mut bytes = vec![0; len];
        blake3::Hasher::new()
            .update(&seed.to_le_bytes())
            .finalize_xof()
            .fill(&mut bytes);
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_manifest_is_of_the_hash_of_the_whole(bytes in content(), step in 1..400_000_usize) {
        let manifest = Manifest::of(&bytes).unwrap();
        prop_assert_eq!(*manifest.id().as_bytes(), *blake3::hash(&bytes).as_bytes());
        let mut hasher = ContentHasher::new();
        for part in bytes.chunks(step) {
            hasher.update(part).unwrap();
        }
        prop_assert_eq!(hasher.finish(), manifest);
    }

    #[test]
    fn one_flipped_bit_is_one_refused_piece(bytes in content(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        prop_assume!(!bytes.is_empty());
        let manifest = Manifest::of(&bytes).unwrap();
        let at = at.index(bytes.len());
        let mut wrong = bytes.clone();
        wrong[at] ^= 1 << bit;
        let wrong = Bytes::from(wrong);
        for index in manifest.layout().indices() {
            let span = manifest.layout().span(index);
            let piece = wrong.slice(span.start as usize..span.end as usize);
            let hit = span.contains(&(at as u64));
            prop_assert_eq!(manifest.verify(index, piece).is_err(), hit);
        }
    }

    #[test]
    fn lengths_from_outside_never_panic(bytes in content(), index in any::<u32>(), size in any::<u64>()) {
        let manifest = Manifest::of(&bytes).unwrap();
        let _ = manifest.verify(PieceIndex(index), Bytes::from(bytes.clone()));
        let other = Manifest::new(manifest.id(), size, manifest.values().to_vec());
        if let Ok(other) = other {
            prop_assert_eq!(other.layout().pieces(), manifest.layout().pieces());
        }
    }

    #[test]
    fn every_layout_covers_its_content_once(size in 0..=MAX_CONTENT_SIZE) {
        let layout = Layout::for_size(size).unwrap();
        prop_assert!(u64::from(layout.pieces()) <= MAX_PIECES);
        prop_assert!(layout.piece_len().is_power_of_two());
        let mut at = 0;
        for index in layout.indices() {
            let span = layout.span(index);
            prop_assert_eq!(span.start, at);
            prop_assert!(span.end > at);
            at = span.end;
        }
        prop_assert_eq!(at, size);
    }

    #[test]
    fn a_bitfield_is_what_was_set(pieces in 0..300_u32, set in prop::collection::btree_set(0..300_u32, 0..40)) {
        let set: Vec<_> = set.into_iter().filter(|index| *index < pieces).map(PieceIndex).collect();
        let mut field = Bitfield::empty(pieces);
        for index in &set {
            prop_assert!(field.set(*index));
        }
        prop_assert_eq!(field.held().collect::<Vec<_>>(), set);
        prop_assert_eq!(field.missing().count() as u32 + field.count(), pieces);
        prop_assert_eq!(&Bitfield::from_bytes(pieces, field.as_bytes().to_vec()).unwrap(), &field);
    }

    #[test]
    fn readers_of_text_and_bytes_never_panic(text in ".{0,80}", raw in prop::collection::vec(any::<u8>(), 0..60), pieces in any::<u32>()) {
        let _ = text.parse::<ContentId>();
        let _ = text.parse::<potluck_content::Digest>();
        let _ = text.parse::<potluck_content::EntityKey>();
        let _ = Bitfield::from_bytes(pieces, raw);
    }
}
