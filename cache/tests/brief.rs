//! Contents of one piece, which are there or not and nothing between.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;

use common::{Dir, blob, filled, read, spec, store};
use potluck_content::ContentId;

const MIB: u64 = 1 << 20;

#[test]
fn one_piece_needs_no_files_of_an_unfinished_content() {
    let dir = Dir::new(MIB);
    let cache = dir.open();
    let files = |name: &str| fs::read_dir(dir.path().join(name)).unwrap().count();
    for len in [0, 1, 262_144] {
        let bytes = blob(1, len);
        let partial = filled(&cache, &bytes);
        partial.checkpoint().unwrap();
        assert_eq!((files("partial"), files("scratch")), (0, 1), "{len}");
        drop(partial);
        assert_eq!(files("scratch"), 0, "{len}");
        let again = cache.partial(spec(&ContentId::of(&bytes).to_hex(), len));
        assert_eq!(again.unwrap().held_bytes(), 0, "{len}");
        let lease = store(&cache, &bytes);
        assert_eq!(read(&lease), bytes, "{len}");
        assert_eq!((files("partial"), files("scratch")), (0, 0), "{len}");
    }
}
