//! A disk that does not take what was written to it: it says so once, and who asks again is
//! told that all is well.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock};

use common::{Dir, blob, entity, read, store};
use potluck_cache::{Cache, CacheError, DiskStep, DiskWatcher, PlaceError, place_many};
use potluck_content::ContentId;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Held by who needs files, and by who takes them all.
static FILES: RwLock<()> = RwLock::new(());

/// Fails to sync one file or directory, and notes the other files.
#[derive(Default)]
struct Disk {
    bad: Mutex<Option<PathBuf>>,
    synced: Mutex<Vec<PathBuf>>,
    /// What got another name, and which.
    renamed: Mutex<Vec<(PathBuf, PathBuf)>>,
}

impl Disk {
    /// The next sync of this one fails, and only that.
    fn spoil(&self, path: PathBuf) {
        *self.bad.lock().unwrap() = Some(path);
    }

    fn take_synced(&self) -> Vec<PathBuf> {
        std::mem::take(&mut *self.synced.lock().unwrap())
    }
}

impl DiskWatcher for Disk {
    fn before(&self, step: &DiskStep<'_>) -> io::Result<()> {
        let name = match step {
            DiskStep::SyncFile { file } => name_of(file),
            DiskStep::SyncDir { path } => path.to_path_buf(),
            _ => return Ok(()),
        };
        let mut bad = self.bad.lock().unwrap();
        if bad.take_if(|bad| *bad == name).is_some() {
            return Err(rustix::io::Errno::IO.into());
        }
        Ok(())
    }

    fn after(&self, step: &DiskStep<'_>) {
        if let DiskStep::SyncFile { file } = step {
            self.synced.lock().unwrap().push(name_of(file));
        }
        if let DiskStep::Rename { from, to } = step {
            let names = (from.to_path_buf(), to.to_path_buf());
            self.renamed.lock().unwrap().push(names);
        }
    }
}

fn name_of(file: &File) -> PathBuf {
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap()
}

#[test]
fn what_did_not_get_to_the_disk_is_not_held_and_who_leases_it_can_tell() {
    let _files = FILES.read();
    let bytes = [blob(1, 10_000), blob(2, 10_000)];
    let ids = bytes.each_ref().map(|bytes| ContentId::of(bytes));
    for of_sidecar in [false, true] {
        let (dir, disk) = (Dir::new(10 << 20), Arc::new(Disk::default()));
        let cache = dir.open_watched(&disk);
        let leases = bytes.each_ref().map(|bytes| store(&cache, bytes));
        let bad = match of_sidecar {
            true => dir.meta(&ids[0]),
            false => dir.content(&ids[0]),
        };
        disk.spoil(bad.clone());
        let Err(CacheError::Lost { contents, path, .. }) = cache.sync_contents() else {
            panic!("it was not said that something is lost");
        };
        assert_eq!((&contents[..], path), (&ids[..1], bad));
        assert_eq!(
            leases.each_ref().map(|lease| lease.is_lost()),
            [true, false]
        );
        assert!(cache.held(&ids[0]).is_none() && !dir.content(&ids[0]).exists());
        // It is lost once; and what comes again is another's.
        cache.sync_contents().unwrap();
        let again = store(&cache, &bytes[0]);
        cache.sync_contents().unwrap();
        assert!(!again.is_lost() && leases[0].is_lost());
        assert!(cache.held(&ids[0]).is_some());
    }
}

#[test]
fn a_change_that_is_to_be_durable_fails_where_the_bytes_are_not() {
    let _files = FILES.read();
    let (dir, disk) = (Dir::new(10 << 20), Arc::new(Disk::default()));
    let cache = dir.open_watched(&disk);
    let lease = store(&cache, &blob(1, 10_000));
    disk.spoil(dir.content(&lease.id()));
    assert!(cache.set_validated(&lease.id(), true).is_err());
    assert!(lease.is_lost() && cache.held(&lease.id()).is_none());
}

#[test]
fn the_journal_is_durable_before_what_it_names() {
    let _files = FILES.read();
    let (dir, disk) = (Dir::new(10 << 20), Arc::new(Disk::default()));
    let cache = dir.open_watched(&disk);
    // With a turn of the journal before the sync, and without.
    let syncs: [fn(&Cache); 2] = [|cache| cache.sync_contents().unwrap(), Cache::flush];
    for (seed, sync) in syncs.iter().enumerate() {
        let id = store(&cache, &blob(seed as u64, 10_000)).id();
        let journals = dir.path().join("changes");
        let named_in = fs::read_dir(&journals)
            .unwrap()
            .map(|it| it.unwrap().path());
        let mut named_in =
            named_in.filter(|path| fs::read_to_string(path).unwrap().contains(&id.to_hex()));
        let journal = named_in.next().unwrap();
        disk.take_synced();
        sync(&cache);
        let synced = disk.take_synced();
        let at = |path: &PathBuf| synced.iter().position(|synced| synced == path);
        assert!(
            at(&journal).is_some() && at(&journal) < at(&dir.meta(&id)),
            "{synced:?}"
        );
    }
}

#[test]
fn what_is_durable_is_not_replaced_by_what_is_not() {
    let _files = FILES.read();
    let (dir, disk) = (Dir::new(10 << 20), Arc::new(Disk::default()));
    let cache = dir.open_watched(&disk);
    let bytes = blob(1, 10_000);
    let id = store(&cache, &bytes).id();
    cache.sync_contents().unwrap();
    let before = disk.renamed.lock().unwrap().len();
    // So often that the sidecar is written anew.
    for version in 0..60 {
        let link = entity(&format!("http://o/{version}"), &bytes);
        disk.take_synced();
        let renamed = disk.renamed.lock().unwrap().len();
        cache.vouch(&id, Some(&link)).unwrap();
        let synced = disk.take_synced();
        let renamed = disk.renamed.lock().unwrap()[renamed..].to_vec();
        for (from, to) in renamed {
            assert!(
                synced.contains(&from),
                "{} to {}",
                from.display(),
                to.display()
            );
        }
    }
    assert!(disk.renamed.lock().unwrap().len() > before);
}

#[test]
fn what_is_to_be_durable_now_is_so_where_nothing_changes() {
    let _files = FILES.read();
    let (dir, disk) = (Dir::new(10 << 20), Arc::new(Disk::default()));
    let cache = dir.open_watched(&disk);
    let bytes = blob(1, 10_000);
    let id = store(&cache, &bytes).id();
    cache.vouch(&id, None).unwrap();
    assert!(!disk.take_synced().contains(&dir.content(&id)));
    cache.set_validated(&id, true).unwrap();
    assert!(disk.take_synced().contains(&dir.content(&id)));
    // Once is enough.
    cache.set_validated(&id, true).unwrap();
    cache.sync_contents().unwrap();
    assert!(!disk.take_synced().contains(&dir.content(&id)));
}

/// Does something while a file is about to be synced.
struct Meanwhile(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl DiskWatcher for Meanwhile {
    fn before(&self, step: &DiskStep<'_>) -> io::Result<()> {
        if let DiskStep::SyncFile { .. } = step {
            let act = self.0.lock().unwrap().take();
            act.into_iter().for_each(|act| act());
        }
        Ok(())
    }

    fn after(&self, _: &DiskStep<'_>) {}
}

#[test]
fn who_wants_it_durable_now_does_not_rely_on_a_sync_under_way() {
    let _files = FILES.read();
    let (dir, disk) = (Dir::new(10 << 20), Arc::new(Meanwhile(Mutex::default())));
    let cache = dir.open_watched(&disk);
    let id = store(&cache, &blob(1, 10_000)).id();
    cache.vouch(&id, None).unwrap();
    let is_written_anew = {
        let (cache, meta) = (cache.clone(), dir.meta(&id));
        move || {
            let before = fs::read(&meta).unwrap();
            cache.set_validated(&id, true).unwrap();
            assert_ne!(fs::read(&meta).unwrap(), before);
        }
    };
    *disk.0.lock().unwrap() = Some(Box::new(is_written_anew));
    cache.sync_contents().unwrap();
    assert!(disk.0.lock().unwrap().is_none());
}

#[test]
fn what_was_removed_may_come_back_only_where_that_is_said() {
    let _files = FILES.read();
    let (dir, disk) = (Dir::new(10 << 20), Arc::new(Disk::default()));
    let cache = dir.open_watched(&disk);
    let [id, other] = [1, 2].map(|seed| store(&cache, &blob(seed, 10_000)).id());
    disk.spoil(dir.content(&id).parent().unwrap().to_path_buf());
    assert!(cache.remove(&id).is_err());
    assert!(cache.held(&id).is_none());
    disk.spoil(dir.content(&other).parent().unwrap().to_path_buf());
    assert!(cache.clear(false).is_err());
    assert!(cache.held(&other).is_none());
}

/// Takes all the files that this process may have open.
fn take_all_files() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

#[test]
fn what_cannot_be_opened_just_now_is_neither_durable_nor_lost() {
    let _alone = FILES.write();
    let (dir, disk) = (Dir::new(10 << 20), Arc::new(Disk::default()));
    let cache = dir.open_watched(&disk);
    let [id, other] = [1, 2].map(|seed| store(&cache, &blob(seed, 10_000)).id());
    disk.take_synced();
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(200);
    setrlimit(Resource::Nofile, limit).unwrap();

    let others = take_all_files();
    let synced = cache.sync_contents();
    assert!(matches!(synced, Err(CacheError::Io { .. })), "{synced:?}");
    assert!(cache.set_validated(&other, true).is_err());
    drop(others);
    assert!(cache.held(&id).is_some() && cache.held(&other).is_some());
    assert!(!disk.take_synced().contains(&dir.content(&id)));

    cache.sync_contents().unwrap();
    let synced = disk.take_synced();
    for id in [&id, &other] {
        assert!(synced.contains(&dir.content(id)) && synced.contains(&dir.meta(id)));
    }
    // And that was that.
    cache.sync_contents().unwrap();
    assert!(!disk.take_synced().contains(&dir.content(&id)));
}

#[test]
fn what_is_put_in_its_place_is_what_it_should_be() {
    let _files = FILES.read();
    let dir = Dir::new(10 << 20);
    let cache = dir.open();
    let bytes = blob(1, 10_000);
    let out = dir.temp.path().join("out");
    fs::write(&out, "before").unwrap();
    for len in [10_000, 9_000] {
        let lease = store(&cache, &bytes);
        // As where the disk did not take them, and they were read again later.
        let file = OpenOptions::new()
            .write(true)
            .open(dir.content(&lease.id()));
        let file = file.unwrap();
        file.write_all_at(&[0; 512], 4096).unwrap();
        file.set_len(len).unwrap();
        let placed = lease.place(&out, None);
        assert!(matches!(placed, Err(PlaceError::Damaged(id)) if id == lease.id()));
        let placed = place_many(&[(lease.clone(), out.clone(), None)]);
        assert!(matches!(placed[..], [Err(PlaceError::Damaged(_))]));
        assert_eq!(fs::read(&out).unwrap(), b"before");
        assert!(lease.is_lost() && cache.held(&lease.id()).is_none());
    }
    let lease = store(&cache, &bytes);
    lease.place(&out, None).unwrap();
    assert_eq!(
        (fs::read(&out).unwrap(), read(&lease)),
        (bytes.to_vec(), bytes.to_vec())
    );
}
