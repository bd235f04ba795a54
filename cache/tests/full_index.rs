//! What becomes of the index when its disk is full. A small filesystem in memory is the
//! disk, which only root can mount: leave out the module `needs_root` elsewhere.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

mod needs_root {
    use std::fs::{self, File};
    use std::io::Write;
    use std::path::PathBuf;
    use std::process::Command;

    use potluck_cache::{Cache, CacheError, Config};
    use potluck_content::ContentId;
    use tempfile::TempDir;

    use crate::common::{blob, entity, read, store};

    /// A filesystem that is gone with the test.
    struct SmallDisk {
        temp: TempDir,
    }

    impl SmallDisk {
        fn new() -> Self {
            let temp = tempfile::tempdir().unwrap();
            let status = Command::new("mount")
                .args(["-t", "tmpfs", "-o", "size=160m", "tmpfs"])
                .arg(temp.path())
                .status()
                .unwrap();
            assert!(status.success(), "this test mounts a tmpfs: run it as root");
            Self { temp }
        }

        fn data(&self) -> PathBuf {
            self.temp.path().join("data")
        }

        fn open(&self) -> Cache {
            Cache::open(Config::new(self.data(), 1 << 30)).unwrap()
        }

        /// Leaves no byte.
        fn fill(&self) {
            let mut file = File::create(self.filler()).unwrap();
            for len in [1 << 20, 1] {
                let block = vec![7; len];
                while file.write_all(&block).is_ok() {}
            }
        }

        fn make_room(&self) {
            fs::remove_file(self.filler()).unwrap();
        }

        fn filler(&self) -> PathBuf {
            self.temp.path().join("filler")
        }
    }

    impl Drop for SmallDisk {
        fn drop(&mut self) {
            let _ = Command::new("umount")
                .arg("-l")
                .arg(self.temp.path())
                .status();
        }
    }

    fn add(cache: &Cache, seed: u64) -> ContentId {
        let bytes = blob(seed, 400);
        let id = store(cache, &bytes).id();
        cache
            .link_entity(&entity("http://o/x", &bytes), &id)
            .unwrap();
        id
    }

    fn check(cache: &Cache, ids: &[ContentId]) {
        for id in ids {
            assert_eq!(ContentId::of(&read(&cache.lease(id).unwrap())), *id);
        }
        assert_eq!(cache.usage().contents, ids.len() as u64);
    }

    fn is_refused(cache: &Cache) -> bool {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, blob(99, 300_000)).unwrap();
        let added = cache.add_file(file.path(), |_| {});
        matches!(added, Err(CacheError::NoSpace { .. }))
    }

    #[test]
    fn what_is_held_is_served_from_a_full_disk() {
        let disk = SmallDisk::new();
        let cache = disk.open();
        let ids = [1, 2, 3].map(|seed| add(&cache, seed));
        disk.fill();
        check(&cache, &ids);
        assert!(is_refused(&cache));
        // Removing needs no room, and noting what was used may fail.
        assert!(cache.remove(&ids[0]).unwrap());
        cache.flush();
        cache.flush();
        check(&cache, &ids[1..]);
        drop(cache);
        disk.fill();
        let cache = disk.open();
        check(&cache, &ids[1..]);
        disk.make_room();
        cache.flush();
        let new = add(&cache, 4);
        check(&cache, &[ids[1], ids[2], new]);
        drop(cache);
        check(&disk.open(), &[ids[1], ids[2], new]);
    }

    #[test]
    fn a_cache_without_an_index_opens_on_a_full_disk() {
        let disk = SmallDisk::new();
        let ids = [1, 2, 3].map(|seed| add(&disk.open(), seed));
        fs::remove_dir_all(disk.data().join("index")).unwrap();
        disk.fill();
        check(&disk.open(), &ids);
        let cache = disk.open();
        check(&cache, &ids);
        let refused = cache.set_validated(&ids[0], true);
        assert!(
            matches!(refused, Err(CacheError::NoSpace { .. })),
            "{refused:?}"
        );
        disk.make_room();
        // As the daemon does now and then.
        cache.flush();
        cache.set_validated(&ids[0], true).unwrap();
        drop(cache);
        let cache = disk.open();
        check(&cache, &ids);
        assert!(cache.held(&ids[0]).is_some_and(|held| held.validated));
    }
}
