//! Whatever bytes stand beside a file: they prove a content, or they are refused.

#![allow(clippy::unwrap_used)] // a failing unwrap is a failing test

use potluck_content::{ChainingValue, Digest, Layout, MIN_PIECE_LEN, Manifest, ManifestFile};
use proptest::prelude::*;

fn manifest() -> impl Strategy<Value = ManifestFile> {
    let digests = prop::collection::vec(
        prop_oneof![
            any::<[u8; 32]>().prop_map(Digest::Sha256),
            (any::<[u8; 32]>(), any::<[u8; 32]>())
                .prop_map(|(a, b)| { Digest::Sha512([a, b].concat().try_into().unwrap()) }),
        ],
        0..4,
    );
    (0..40 * MIN_PIECE_LEN, any::<[u8; 32]>(), digests).prop_map(|(size, seed, digests)| {
        let pieces = Layout::for_size(size).unwrap().indices();
        let value = |index: u32| blake3::keyed_hash(&seed, &index.to_be_bytes());
        let values = pieces.map(|index| ChainingValue::from_bytes(*value(index.0).as_bytes()));
        let manifest = Manifest::from_values(size, values.collect()).unwrap();
        ManifestFile::new(manifest, &digests)
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(file in manifest()) {
        prop_assert_eq!(ManifestFile::from_bytes(&file.to_bytes()), Ok(file));
    }

    /// What is read after a change is the same, as where a digest that nothing proves was
    /// changed; never another content.
    #[test]
    fn a_changed_byte_never_makes_another_content(
        file in manifest(),
        at in any::<prop::sample::Index>(),
        by in 1..=255_u8,
    ) {
        let mut bytes = file.to_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        if let Ok(read) = ManifestFile::from_bytes(&bytes) {
            prop_assert_eq!(read.manifest().id(), file.manifest().id());
            prop_assert_eq!(read.manifest().values(), file.manifest().values());
        }
    }

    #[test]
    fn a_part_is_refused(file in manifest(), at in any::<prop::sample::Index>()) {
        let bytes = file.to_bytes();
        let cut = at.index(bytes.len());
        prop_assert!(ManifestFile::from_bytes(&bytes[..cut]).is_err());
        let more = [&bytes[..], &[0; 32][..cut % 32 + 1]].concat();
        prop_assert!(ManifestFile::from_bytes(&more).is_err());
    }

    #[test]
    fn anything_at_all_is_read_without_a_panic(
        text in "potluck manifest 1\n(size [0-9]{1,20}\n)?(piece [0-9]{1,20}\n)?(content b3:[0-9a-f]{0,64}\n)?\\PC{0,40}\n\n",
        rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = ManifestFile::from_bytes(&[text.as_bytes(), &rest].concat());
        let _ = ManifestFile::from_bytes(&rest);
    }
}
