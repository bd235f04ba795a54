//! The cache on filesystems that can more or less than another: it works on each, and
//! places files from each to each.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

/// These make filesystems in files and mount them, which only root may.
mod needs_root_loop_filesystems {
    use std::fs::{self, File};
    use std::os::unix::fs::MetadataExt as _;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use bytes::Bytes;
    use potluck_cache::{Cache, Config};
    use potluck_content::ContentId;
    use tempfile::TempDir;

    use crate::common::{blob, pieces, read, spec, store};

    const MIB: u64 = 1 << 20;
    /// So large that sharing its bytes, or having its holes, shows beside all else.
    const LARGE: u64 = 24 * MIB;

    /// What a filesystem does with two files of the same bytes.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Copies {
        Shares,
        Keeps,
    }

    struct Disk {
        temp: TempDir,
        copies: Copies,
    }

    impl Disk {
        /// A filesystem in memory.
        fn memory() -> Self {
            let temp = tempfile::tempdir().unwrap();
            fs::create_dir(temp.path().join("disk")).unwrap();
            let size = "size=256m";
            run(
                "mount",
                &["-t", "tmpfs", "-o", size, "tmpfs"],
                &temp.path().join("disk"),
            );
            let copies = Copies::Keeps;
            Self { temp, copies }
        }

        /// A filesystem in a file, made by `mkfs.KIND`.
        fn made(kind: &str, options: &[&str], copies: Copies) -> Self {
            let temp = tempfile::tempdir().unwrap();
            let (image, path) = (temp.path().join("image"), temp.path().join("disk"));
            fs::create_dir(&path).unwrap();
            // Has holes but for what is written.
            File::create(&image).unwrap().set_len(512 * MIB).unwrap();
            run(&format!("mkfs.{kind}"), options, &image);
            let image = image.to_string_lossy().into_owned();
            run("mount", &["-t", kind, "-o", "loop", &image], &path);
            Self { temp, copies }
        }

        fn all() -> Vec<Self> {
            vec![
                Self::memory(),
                Self::made("ext2", &["-q", "-m0"], Copies::Keeps),
                Self::made("ext4", &["-q", "-m0"], Copies::Keeps),
                Self::made("xfs", &["-q", "-m", "reflink=1"], Copies::Shares),
                Self::made("btrfs", &["-q"], Copies::Shares),
            ]
        }

        fn path(&self) -> PathBuf {
            self.temp.path().join("disk")
        }

        fn open(&self) -> Cache {
            Cache::open(Config::new(self.path().join("data"), 200 * MIB)).unwrap()
        }

        fn used(&self) -> u64 {
            run("sync", &["-f"], &self.path());
            let stat = rustix::fs::statvfs(self.path()).unwrap();
            (stat.f_blocks - stat.f_bfree) * stat.f_frsize
        }
    }

    impl Drop for Disk {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(self.path()).status();
        }
    }

    fn run(program: &str, args: &[&str], path: &Path) {
        let done = Command::new(program).args(args).arg(path).output().unwrap();
        assert!(
            done.status.success(),
            "{program}, which needs root: {done:?}"
        );
    }

    fn large() -> Bytes {
        blob(1, LARGE as usize)
    }

    #[test]
    fn the_cache_works_on_each() {
        for disk in Disk::all() {
            let cache = disk.open();
            let id = store(&cache, &large()).id();
            let small = store(&cache, &blob(2, 100)).id();
            let partial = cache.partial(spec("half", LARGE as usize)).unwrap();
            let last = pieces(&large()).pop().unwrap();
            let _ = partial.put_hashed(last.clone()).unwrap();
            partial.checkpoint().unwrap();
            drop(partial);
            drop(cache);

            let cache = disk.open();
            assert_eq!(read(&cache.lease(&id).unwrap()), large());
            assert!(cache.verify(&small, |_| {}).unwrap());
            let partial = cache.partial(spec("half", LARGE as usize)).unwrap();
            assert_eq!(partial.held_bytes(), last.bytes().len() as u64);
            partial.abandon();
            assert!(cache.remove(&id).unwrap());
            assert_eq!(cache.usage().contents, 1);
        }
    }

    #[test]
    fn files_are_placed_from_each_to_each() {
        let disks = Disk::all();
        for from in &disks {
            let cache = from.open();
            let lease = store(&cache, &large());
            for to in &disks {
                let target = to.path().join("placed");
                fs::write(&target, "what was there").unwrap();
                lease.place(&target, None).unwrap();
                assert_eq!(ContentId::of(&fs::read(&target).unwrap()), lease.id());
                assert_eq!(fs::metadata(&target).unwrap().nlink(), 1, "a copy, no link");
                fs::remove_file(&target).unwrap();
            }
        }
    }

    #[test]
    fn where_copies_can_share_their_bytes_they_do() {
        for disk in Disk::all() {
            let cache = disk.open();
            let lease = store(&cache, &large());
            let before = disk.used();
            let target = disk.path().join("placed");
            lease.place(&target, None).unwrap();
            let shares = match disk.used().saturating_sub(before) {
                0..MIB => Copies::Shares,
                _ => Copies::Keeps,
            };
            assert_eq!(shares, disk.copies, "{}", disk.path().display());
            // What is done to the copy is done to it alone.
            fs::write(&target, "something else").unwrap();
            assert_eq!(read(&lease), large());
        }
    }
}
