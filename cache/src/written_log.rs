//! Which pieces of an unfinished content were written, durable or not.
//!
//! ```text
//! "potluck written "   16 bytes
//! boot                 36 bytes: the run of the kernel
//! size                 u64, little-endian as all numbers here
//! index, value         4 and 32 bytes for each piece, as it was written; a value of
//!                      zeros takes it back
//! ```
//!
//! A process that is killed loses nothing of what it wrote, but the sidecar only claims
//! what was synced. While the machine stays up, the pieces that this file names are read
//! and hashed when the content is resumed, and those that have their value are held. So
//! the file needs no sync and no checksum, and after a loss of power nobody looks at it.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use potluck_content::{ChainingValue, HashedPiece, Layout, PieceIndex};

use crate::data_dir::read;
use crate::disk::Disk;
use crate::piece_map::{Begin, PieceMap};
use crate::start::this_boot;

const MAGIC: &[u8; 16] = b"potluck written ";
const BOOT: usize = 36;
const HEAD: usize = MAGIC.len() + BOOT + 8;
const RECORD: usize = 36;
const TAKEN_BACK: [u8; 32] = [0; 32];

/// Where the log of an unfinished content is.
pub(crate) fn written_path(data: &Path) -> PathBuf {
    let mut name = data.as_os_str().to_owned();
    name.push(".written");
    name.into()
}

/// The log of one unfinished content.
pub(crate) struct WrittenLog {
    path: PathBuf,
    /// Where the next record goes.
    open: Option<(File, u64)>,
}

impl WrittenLog {
    /// Nothing is logged: without a size, or where the kernel does not say which run of
    /// it this is, pieces could not be told apart.
    pub(crate) fn none(data: &Path) -> Self {
        Self {
            path: written_path(data),
            open: None,
        }
    }

    /// Goes on with the log that is there, if it is of this run of the kernel, or begins
    /// one.
    pub(crate) fn open(disk: &Disk, data: &Path, size: u64) -> Self {
        let mut log = Self::none(data);
        let Some(head) = head(size) else {
            return log;
        };
        log.open = log.resume(&head).or_else(|| log.begin(disk, &head));
        log
    }

    fn resume(&self, head: &[u8]) -> Option<(File, u64)> {
        let bytes = read(&self.path).ok()?;
        let records = bytes.strip_prefix(head)?.len() / RECORD;
        let file = File::options().write(true).open(&self.path).ok()?;
        Some((file, (head.len() + records * RECORD) as u64))
    }

    fn begin(&self, disk: &Disk, head: &[u8]) -> Option<(File, u64)> {
        disk.discard(&self.path);
        let begun = disk.create_new(&self.path).and_then(|file| {
            disk.write_at(&file, head, 0)?;
            Ok(file)
        });
        match begun {
            Ok(file) => Some((file, head.len() as u64)),
            Err(error) => {
                tracing::debug!(path = %self.path.display(), %error, "no log of pieces");
                None
            }
        }
    }

    /// Notes that a piece is written.
    pub(crate) fn wrote(&mut self, disk: &Disk, index: PieceIndex, value: ChainingValue) {
        self.append(disk, index, value.as_bytes());
    }

    /// Notes that what is written of a piece is not to be believed.
    pub(crate) fn take_back(&mut self, disk: &Disk, pieces: &[PieceIndex]) {
        for index in pieces {
            self.append(disk, *index, &TAKEN_BACK);
        }
    }

    fn append(&mut self, disk: &Disk, index: PieceIndex, value: &[u8; 32]) {
        let Some((file, at)) = &mut self.open else {
            return;
        };
        let mut record = [0; RECORD];
        record[..4].copy_from_slice(&index.0.to_le_bytes());
        record[4..].copy_from_slice(value);
        match disk.write_at(file, &record, *at) {
            Ok(()) => *at += RECORD as u64,
            Err(error) => {
                // Without one record those after it would say too much.
                tracing::debug!(path = %self.path.display(), %error, "log of pieces given up");
                self.open = None;
                disk.discard(&self.path);
            }
        }
    }
}

/// Takes in the pieces that were written and are not held yet, where the log is of this
/// run of the kernel and the bytes have the value that it says.
pub(crate) fn recover(data: &Path, file: &File, map: &mut PieceMap) {
    for (index, value) in pieces_in(data, map.layout()) {
        if map.held().has(index) || !is_there(file, map.layout(), index, value) {
            continue;
        }
        if map.begin(index, value) == Begin::Write {
            map.end(index, value, true);
        }
    }
}

/// The last that the log says of each piece.
fn pieces_in(data: &Path, layout: &Layout) -> BTreeMap<PieceIndex, ChainingValue> {
    let mut last = BTreeMap::new();
    let (Some(head), Ok(bytes)) = (head(layout.size()), read(&written_path(data))) else {
        return last;
    };
    let Some(records) = bytes.strip_prefix(&head[..]) else {
        return last;
    };
    for record in records.chunks_exact(RECORD) {
        let (index, value) = record.split_at(4);
        let number = index.iter().rev();
        let index = PieceIndex(number.fold(0, |sum, byte| sum << 8 | u32::from(*byte)));
        let mut bytes = TAKEN_BACK;
        bytes.copy_from_slice(value);
        if bytes == TAKEN_BACK {
            last.remove(&index);
        } else if layout.contains(index) {
            last.insert(index, ChainingValue::from_bytes(bytes));
        }
    }
    last
}

fn is_there(file: &File, layout: &Layout, index: PieceIndex, value: ChainingValue) -> bool {
    let mut bytes = vec![0; layout.len_of(index)];
    let read = file.read_exact_at(&mut bytes, layout.span(index).start);
    let piece = read
        .ok()
        .and_then(|()| HashedPiece::new(*layout, index, Bytes::from(bytes)).ok());
    piece.is_some_and(|piece| piece.value() == value)
}

/// Whether a log can still be gone on with.
pub(crate) fn is_of_this_boot(log: &Path) -> bool {
    let (Some(head), Ok(bytes)) = (head(0), read(log)) else {
        return false;
    };
    bytes.starts_with(&head[..MAGIC.len() + BOOT])
}

/// How a log of this run of the kernel begins.
fn head(size: u64) -> Option<Vec<u8>> {
    let boot = this_boot().filter(|boot| boot.len() == BOOT)?;
    let mut head = Vec::with_capacity(HEAD);
    head.extend(MAGIC);
    head.extend(boot.as_bytes());
    head.extend(size.to_le_bytes());
    Some(head)
}

#[cfg(test)]
mod tests {
    use potluck_content::MIN_PIECE_LEN;

    use super::*;

    const SIZE: u64 = 4 * MIN_PIECE_LEN;

    fn piece(index: u32) -> HashedPiece {
        let layout = Layout::for_size(SIZE).unwrap();
        let bytes = vec![index as u8 + 1; MIN_PIECE_LEN as usize];
        HashedPiece::new(layout, PieceIndex(index), Bytes::from(bytes)).unwrap()
    }

    /// A content of which pieces 0, 1 and 3 are logged, and 0 and 1 written.
    fn written(dir: &Path) -> (PathBuf, File) {
        let data = dir.join("data");
        let file = crate::disk::private_file()
            .create(true)
            .open(&data)
            .unwrap();
        file.set_len(SIZE).unwrap();
        let disk = Disk::default();
        let mut log = WrittenLog::open(&disk, &data, SIZE);
        for index in [0, 1, 3] {
            let piece = piece(index);
            if index != 3 {
                let at = piece.layout().span(piece.index()).start;
                file.write_all_at(piece.bytes(), at).unwrap();
            }
            log.wrote(&disk, piece.index(), piece.value());
        }
        (data, file)
    }

    fn held(data: &Path, file: &File) -> Vec<u32> {
        let mut map = PieceMap::new(Layout::for_size(SIZE).unwrap(), None);
        recover(data, file, &mut map);
        map.held().held().map(|index| index.0).collect()
    }

    #[test]
    fn what_is_not_there_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let (data, file) = written(dir.path());
        assert_eq!(held(&data, &file), [0, 1]);
        file.write_all_at(b"!", MIN_PIECE_LEN + 7).unwrap();
        assert_eq!(held(&data, &file), [0]);
    }

    #[test]
    fn what_was_taken_back_stays_so() {
        let dir = tempfile::tempdir().unwrap();
        let (data, file) = written(dir.path());
        let disk = Disk::default();
        WrittenLog::open(&disk, &data, SIZE).take_back(&disk, &[PieceIndex(0)]);
        assert_eq!(held(&data, &file), [1]);
        let again = piece(0);
        WrittenLog::open(&disk, &data, SIZE).wrote(&disk, again.index(), again.value());
        assert_eq!(held(&data, &file), [0, 1]);
    }

    #[test]
    fn another_run_of_the_kernel_another_size_and_torn_ends_count_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (data, file) = written(dir.path());
        let log = written_path(&data);
        let whole = std::fs::read(&log).unwrap();
        std::fs::write(&log, &whole[..HEAD + RECORD + 5]).unwrap();
        assert_eq!(held(&data, &file), [0]);
        let mut other = whole.clone();
        other[MAGIC.len()] ^= 1;
        std::fs::write(&log, &other).unwrap();
        assert_eq!(held(&data, &file), [] as [u32; 0]);
        let mut other = whole;
        other[HEAD - 1] ^= 1;
        std::fs::write(&log, &other).unwrap();
        assert_eq!(held(&data, &file), [] as [u32; 0]);
    }
}
