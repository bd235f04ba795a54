//! A disk that is full, or read-only, for real: at every kind of write the cache says so,
//! and what it has can be read meanwhile; when that is over, everything goes on.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

/// These mount small filesystems, which only root may.
mod needs_root {
    use std::fs::{self, File};
    use std::io::Write;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use bytes::Bytes;
    use potluck_cache::{
        Cache, CacheError, Config, FinishError, Lease, Limits, Partial, PartialSpec,
    };
    use potluck_content::ContentId;
    use tempfile::TempDir;

    use crate::common::{blob, entity, filled, pieces, read, spec, store};

    const MIB: usize = 1 << 20;

    /// A filesystem of a few MiB, gone with the test.
    struct SmallDisk(TempDir);

    impl SmallDisk {
        fn new() -> Self {
            let disk = Self(tempfile::tempdir().unwrap());
            fs::create_dir(disk.path()).unwrap();
            disk
        }

        /// In memory.
        fn mount() -> Self {
            let disk = Self::new();
            run(
                "mount",
                &["-t", "tmpfs", "-o", "size=24m", "tmpfs"],
                &disk.path(),
            );
            disk
        }

        /// In a file, as most disks are formatted; read-only after an error.
        fn mount_ext4() -> Self {
            let disk = Self::new();
            let image = File::create(disk.image()).unwrap();
            image.set_len(48 * MIB as u64).unwrap();
            run("mkfs.ext4", &["-q", "-m0"], &disk.image());
            disk.mount_image();
            disk
        }

        fn image(&self) -> PathBuf {
            self.0.path().join("image")
        }

        fn mount_image(&self) {
            let image = self.image();
            let options = ["-o", "loop,errors=remount-ro", &image.to_string_lossy()];
            run("mount", &options, &self.path());
        }

        /// The kernel finds the disk broken.
        fn break_down(&self) {
            let device = run("findmnt", &["-no", "SOURCE"], &self.path());
            let device = device.trim().trim_start_matches("/dev/").to_owned();
            fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1").unwrap();
        }

        fn repair(&self) {
            run("umount", &[], &self.path());
            // 1 says that something was mended.
            let checked = Command::new("fsck.ext4")
                .arg("-fy")
                .arg(self.image())
                .output();
            assert!(checked.unwrap().status.code().is_some_and(|code| code < 2));
            self.mount_image();
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("disk")
        }

        fn open(&self) -> Cache {
            Cache::open(Config::new(self.path().join("data"), 100 << 20)).unwrap()
        }

        /// Somebody else takes all that is left.
        fn fill(&self) -> PathBuf {
            let path = self.path().join("filler");
            let mut file = File::create(&path).unwrap();
            for block in [MIB, 4096, 1] {
                while file.write_all(&vec![0; block]).is_ok() {}
            }
            path
        }
    }

    impl Drop for SmallDisk {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(self.path()).status();
        }
    }

    fn run(program: &str, args: &[&str], path: &Path) -> String {
        let done = Command::new(program).args(args).arg(path).output().unwrap();
        assert!(
            done.status.success(),
            "{program}, which needs root: {done:?}"
        );
        String::from_utf8(done.stdout).unwrap()
    }

    fn no_space<T>(done: Result<T, CacheError>) {
        match done {
            Err(CacheError::NoSpace { .. }) => {}
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("there was room"),
        }
    }

    /// A content that is there, one that lacks only its end, and one whose bytes came.
    struct Before {
        kept: Lease,
        half: Partial,
        whole: Partial,
    }

    fn half() -> Bytes {
        blob(2, 2 * MIB)
    }

    fn whole() -> Bytes {
        blob(3, MIB)
    }

    fn before(cache: &Cache) -> Before {
        let kept = store(cache, &blob(1, MIB));
        let half = cache.partial(spec("half", 2 * MIB)).unwrap();
        let _ = half.put_hashed(pieces(&self::half())[0].clone()).unwrap();
        half.checkpoint().unwrap();
        let whole = filled(cache, &whole());
        whole.checkpoint().unwrap();
        Before { kept, half, whole }
    }

    /// Whatever is asked now, what is there can be read.
    fn still_reads(cache: &Cache, kept: &Lease) {
        assert_eq!(read(kept), blob(1, MIB));
        let again = cache.lease(&kept.id()).unwrap();
        assert_eq!(read(&again), blob(1, MIB));
        assert!(cache.verify(&kept.id(), |_| {}).unwrap());
        cache.flush();
    }

    fn goes_on(cache: &Cache, half: &Partial) {
        for piece in pieces(&self::half()) {
            let _ = half.put_hashed(piece).unwrap();
        }
        half.checkpoint().unwrap();
        assert_eq!(half.merged(), Some(ContentId::of(&self::half())));
        assert!(store(cache, &blob(5, MIB)).is_cached());
    }

    #[test]
    fn every_write_says_that_the_disk_is_full_and_goes_on_when_it_is_not() {
        let disk = SmallDisk::mount();
        let cache = disk.open();
        let Before { kept, half, whole } = before(&cache);
        // So that there is something to write for `flush`.
        let noted = store(&cache, &blob(4, 1000));
        let path = disk.path().join("file");
        fs::write(&path, blob(6, MIB)).unwrap();
        let filler = disk.fill();

        no_space(half.put_hashed(pieces(&self::half())[1].clone()));
        no_space(cache.partial(spec("new", MIB)));
        no_space(cache.add_file(&path, |_| {}));
        let stream = PartialSpec {
            size: None,
            ..spec("stream", 0)
        };
        // On this filesystem even a name needs room.
        no_space(
            cache
                .partial(stream)
                .and_then(|stream| stream.append(&[0; MIB])),
        );
        no_space(cache.set_validated(&noted.id(), true));
        no_space(cache.link_entity(&entity("http://o/x", &half_of(&noted)), &noted.id()));
        let Err(FinishError::Cache { partial, source }) = whole.finish(None) else {
            panic!("there was room for a sidecar");
        };
        no_space::<()>(Err(source));
        still_reads(&cache, &kept);
        // Removing needs no room.
        assert!(cache.remove(&noted.id()).unwrap());

        fs::remove_file(&filler).unwrap();
        let lease = partial.finish(Some(ContentId::of(&self::whole()))).unwrap();
        assert_eq!(read(&lease), self::whole());
        goes_on(&cache, &half);
        drop((kept, half, lease, noted));
        drop(cache);
        let cache = disk.open();
        for bytes in [blob(1, MIB), self::whole(), blob(5, MIB)] {
            let lease = cache.lease(&ContentId::of(&bytes)).unwrap();
            assert_eq!(read(&lease), bytes);
        }
    }

    /// Bytes that still fit on the disk.
    fn free(disk: &SmallDisk) -> u64 {
        let free = rustix::fs::statvfs(disk.path()).unwrap();
        free.f_bavail * free.f_frsize
    }

    #[test]
    fn what_has_no_end_empties_neither_the_cache_nor_the_disk() {
        let disk = SmallDisk::mount();
        let cache = disk.open();
        let kept: Vec<_> = (0..4)
            .map(|n| store(&cache, &blob(10 + n, MIB)).id())
            .collect();
        cache.set_limits(Limits {
            max_size: 4 << 20,
            min_free: 1 << 20,
            ..cache.limits()
        });
        let free_before = free(&disk);
        let stream = cache.partial(PartialSpec {
            size: None,
            ..spec("stream", 0)
        });
        let stream = stream.unwrap();
        let mut came = 0;
        let error = loop {
            match stream.append(&blob(20, MIB)) {
                Ok(()) => came += 1 << 20,
                Err(error) => break error,
            }
        };
        assert!(
            matches!(error, CacheError::Endless { came: told } if told == came),
            "{error}"
        );
        assert!(
            (5 << 20..=free_before / 2 + (1 << 20)).contains(&came),
            "{came}"
        );
        let left = kept.iter().filter(|id| cache.held(id).is_some()).count();
        assert!(left >= 3, "no more went than a quarter of the cache");
        drop(stream);
        assert!(cache.partials().unwrap().is_empty());
        assert!(free(&disk) + (1 << 20) >= free_before);
    }

    fn half_of(lease: &Lease) -> Bytes {
        Bytes::from(read(lease)).slice(..500)
    }

    #[test]
    fn a_cache_opens_on_a_full_disk_and_serves() {
        let disk = SmallDisk::mount();
        let cache = disk.open();
        let id = store(&cache, &blob(1, MIB)).id();
        drop(cache);
        let filler = disk.fill();
        let cache = disk.open();
        let kept = cache.lease(&id).unwrap();
        still_reads(&cache, &kept);
        no_space(cache.partial(spec("new", MIB)));
        fs::remove_file(filler).unwrap();
        cache.flush();
        assert!(store(&cache, &blob(5, MIB)).is_cached());
        drop((kept, cache));
        let cache = disk.open();
        assert_eq!(cache.usage().contents, 2);
    }

    /// And a disk in a file.
    mod needs_root_loop {
        use super::*;

        #[test]
        fn a_disk_that_turns_read_only_is_read_and_once_mended_written_again() {
            let disk = SmallDisk::mount_ext4();
            let cache = disk.open();
            let Before { kept, half, whole } = before(&cache);
            disk.break_down();
            let refused = [
                half.put_hashed(pieces(&self::half())[1].clone()).map(drop),
                half.checkpoint(),
                cache.partial(spec("new", MIB)).map(drop),
                cache.set_validated(&kept.id(), true),
                whole.finish(None).map(drop).map_err(|error| match error {
                    FinishError::Cache { source, .. } => source,
                    other => panic!("{other}"),
                }),
            ];
            for refused in refused {
                let error = refused.unwrap_err();
                assert!(matches!(error, CacheError::Io { .. }), "{error}");
                assert!(error.to_string().contains("Read-only"), "{error}");
            }
            still_reads(&cache, &kept);
            drop((kept, half));
            drop(cache);
            let Err(error) = Cache::open(Config::new(disk.path().join("data"), 100 << 20)) else {
                panic!("opened");
            };
            assert!(error.to_string().contains("Read-only"), "{error}");

            disk.repair();
            let cache = disk.open();
            let kept = cache.lease(&ContentId::of(&blob(1, MIB))).unwrap();
            still_reads(&cache, &kept);
            let whole = cache.partial(spec(&ContentId::of(&self::whole()).to_hex(), MIB));
            assert!(whole.unwrap().finish(None).unwrap().is_cached());
            let half = cache.partial(spec("half", 2 * MIB)).unwrap();
            assert!(half.held_bytes() > 0);
            goes_on(&cache, &half);
        }
    }
}
