//! The sidecar of a complete content.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::SystemTime;

use potluck_content::{ChainingValue, ContentHasher, ContentId, MIN_PIECE_LEN, Manifest};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::Facts;
use crate::data_dir::{meta_path, read};
use crate::index_row::Entry;
use crate::plain::open_plain;
use crate::sidecar::{Sidecar, SidecarError};
use crate::start::{booted, this_boot};

const KIND: &str = "content";
const VERSION: u32 = 1;
/// Of the sidecars that say that the bytes may not be on the disk: who does not know that
/// must not believe them.
const VERSION_UNSYNCED: u32 = 2;

/// So many bytes in a sidecar, and nothing is added to it any more.
const MANY_ADDED: usize = 4096;

/// Everything that the disk says about a complete content.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Meta {
    pub(crate) manifest: Manifest,
    pub(crate) cached: bool,
    pub(crate) added: SystemTime,
    pub(crate) facts: Facts,
    /// The run of the kernel in which the bytes were written, where they were not synced
    /// before this was. In a later run they are believed only when they are right.
    pub(crate) unsynced: Option<String>,
}

/// Why a content on disk cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MetaError {
    #[error("it is gone")]
    Missing,
    #[error("its sidecar cannot be read: {0}")]
    Io(io::Error),
    #[error("its sidecar: {0}")]
    Sidecar(#[from] SidecarError),
    #[error("it is no plain file")]
    NotAFile,
    #[error("it has {found} bytes, not {expected}")]
    Size { expected: u64, found: u64 },
    #[error("it was on its way to the disk when the machine went down")]
    Lost,
}

#[derive(Serialize, Deserialize)]
struct Text {
    id: ContentId,
    size: u64,
    cached: bool,
    added: SystemTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unsynced: Option<String>,
    #[serde(flatten)]
    facts: Facts,
}

impl Meta {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut text = Text {
            id: self.manifest.id(),
            size: self.manifest.size(),
            cached: self.cached,
            added: self.added.max(SystemTime::UNIX_EPOCH),
            unsynced: self.unsynced.clone(),
            facts: self.facts.clone(),
        };
        // Times before 1970 have no written form; origins with a broken clock send them.
        let after_1970 = |time: &SystemTime| *time >= SystemTime::UNIX_EPOCH;
        text.facts.origin_mtime = text.facts.origin_mtime.filter(after_1970);
        // One piece or none: the id is the only value, and says it already.
        let blob = match self.manifest.values() {
            [] | [_] => Vec::new(),
            values => values_to_bytes(values),
        };
        Sidecar {
            text: serde_json::to_vec(&text).expect("plain data has a JSON form"),
            blob,
        }
        .encode(
            KIND,
            self.unsynced.as_ref().map_or(VERSION, |_| VERSION_UNSYNCED),
        )
    }

    pub(crate) fn decode(id: &ContentId, bytes: &[u8]) -> Result<Self, SidecarError> {
        let sidecar = match Sidecar::decode(bytes, KIND, VERSION) {
            Err(SidecarError::Newer(VERSION_UNSYNCED)) => {
                Sidecar::decode_last(bytes, KIND, VERSION_UNSYNCED)?.0
            }
            found => found?,
        };
        let text: Text = serde_json::from_slice(&sidecar.text).map_err(senseless)?;
        if text.id != *id {
            return Err(senseless(format!("it belongs to {}", text.id)));
        }
        let mut values = bytes_to_values(&sidecar.blob)?;
        if values.is_empty() && text.size > 0 {
            values.push(ChainingValue::from_bytes(*id.as_bytes()));
        }
        let manifest = Manifest::new(*id, text.size, values).map_err(senseless)?;
        Ok(Self {
            manifest,
            cached: text.cached || text.facts.pinned,
            added: text.added,
            facts: text.facts,
            unsynced: text.unsynced,
        })
    }

    /// Where in a sidecar what is written next goes. `None` where it is to be written anew:
    /// only to one that says that it may be on its way to the disk others are added, and not
    /// for ever.
    pub(crate) fn end_of(bytes: &[u8]) -> Option<u64> {
        let is_unsynced = matches!(
            Sidecar::decode_last(bytes, KIND, VERSION),
            Err(SidecarError::Newer(VERSION_UNSYNCED))
        );
        let (_, end) = Sidecar::decode_last(bytes, KIND, VERSION_UNSYNCED).ok()?;
        (is_unsynced && end < MANY_ADDED).then_some(end as u64)
    }

    /// Reads the sidecar of the content at `data` and checks that the bytes are as
    /// many as it says; also that they are right, where they may never have got to the
    /// disk.
    pub(crate) fn read(id: &ContentId, data: &Path) -> Result<Self, MetaError> {
        let mut meta = Self::look(id, data)?;
        if meta.is_doubtful() {
            if hash(data).map_err(io_error)? != *id {
                return Err(MetaError::Lost);
            }
            // They were read from the disk.
            meta.unsynced = None;
        }
        Ok(meta)
    }

    /// The same for who wants to know of the content and not its bytes: these are not looked
    /// at.
    pub(crate) fn look(id: &ContentId, data: &Path) -> Result<Self, MetaError> {
        let meta = match Self::read_sidecar(id, data) {
            Err(MetaError::Sidecar(SidecarError::Damaged)) if never_came(&meta_path(data)) => {
                return Self::of_bytes(id, data);
            }
            found => found?,
        };
        let file = fs::symlink_metadata(data).map_err(io_error)?;
        if !file.is_file() {
            return Err(MetaError::NotAFile);
        }
        let found = file.len();
        let expected = meta.manifest.size();
        if found != expected {
            // Its length may have been on its way as well.
            return Err(match meta.is_doubtful() {
                true => MetaError::Lost,
                false => MetaError::Size { expected, found },
            });
        }
        Ok(meta)
    }

    /// What is known of a content whose sidecar did not get to the disk: its bytes, if
    /// they did. Only those of one piece are without a sync so long.
    fn of_bytes(id: &ContentId, data: &Path) -> Result<Self, MetaError> {
        let file = fs::symlink_metadata(data).map_err(io_error)?;
        if !file.is_file() || file.len() > MIN_PIECE_LEN {
            return Err(SidecarError::Damaged.into());
        }
        let bytes = read(data).map_err(io_error)?;
        if ContentId::of(&bytes) != *id {
            return Err(MetaError::Lost);
        }
        Ok(Self {
            manifest: Manifest::of(&bytes).map_err(senseless)?,
            cached: true,
            added: file.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            facts: Facts::default(),
            unsynced: None,
        })
    }

    /// Whether the machine went down since the bytes were written.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.unsynced.is_some() && self.unsynced.as_deref() != this_boot()
    }

    /// Reads the sidecar of the content at `data`, whatever bytes there are.
    pub(crate) fn read_sidecar(id: &ContentId, data: &Path) -> Result<Self, MetaError> {
        let bytes = read(&meta_path(data)).map_err(io_error)?;
        Ok(Self::decode(id, &bytes)?)
    }
}

impl MetaError {
    /// Whether somebody should hear of it. That a content was lost with the power is nothing
    /// to look at, but what is pinned was durable before it was said to be.
    pub(crate) fn is_damage_of(&self, known: Option<&Entry>) -> bool {
        let is_pinned = known.is_some_and(|known| known.pinned);
        self.is_damage() || (matches!(self, Self::Lost) && is_pinned)
    }

    /// Whether the files are there but cannot be trusted.
    pub(crate) const fn is_damage(&self) -> bool {
        match self {
            Self::Missing | Self::Io(_) | Self::Sidecar(SidecarError::Newer(_)) | Self::Lost => {
                false
            }
            Self::Sidecar(_) | Self::NotAFile | Self::Size { .. } => true,
        }
    }
}

pub(crate) fn values_to_bytes(values: &[ChainingValue]) -> Vec<u8> {
    values.iter().flat_map(|value| *value.as_bytes()).collect()
}

pub(crate) fn bytes_to_values(bytes: &[u8]) -> Result<Vec<ChainingValue>, SidecarError> {
    let (values, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() {
        return Err(SidecarError::Damaged);
    }
    Ok(values
        .iter()
        .copied()
        .map(ChainingValue::from_bytes)
        .collect())
}

#[allow(clippy::needless_pass_by_value, reason = "made for map_err")]
pub(crate) fn senseless(error: impl ToString) -> SidecarError {
    SidecarError::Senseless(error.to_string())
}

/// Whether a sidecar was on its way to the disk when the machine went down: then it is
/// found empty, or as zeros. Since, nobody wrote to it.
fn never_came(path: &Path) -> bool {
    let modified = fs::symlink_metadata(path).and_then(|file| file.modified());
    let before = modified.is_ok_and(|time| booted().is_some_and(|booted| time < booted));
    before && read(path).is_ok_and(|bytes| bytes.iter().all(|byte| *byte == 0))
}

fn hash(data: &Path) -> io::Result<ContentId> {
    let mut file = open_plain(data)?;
    let (mut hasher, mut block) = (ContentHasher::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hasher.finish().id()),
            read => hasher.update(&block[..read]).map_err(io::Error::other)?,
        }
    }
}

fn io_error(error: io::Error) -> MetaError {
    match Errno::from_io_error(&error) {
        Some(Errno::NOENT) => MetaError::Missing,
        // A link, or a directory.
        Some(Errno::LOOP | Errno::ISDIR) => MetaError::NotAFile,
        _ => MetaError::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(len: usize) -> Meta {
        Meta {
            manifest: Manifest::of(&vec![7; len]).unwrap(),
            cached: true,
            added: SystemTime::now(),
            facts: Facts {
                validated: true,
                digests: vec![format!("sha256:{}", "ab".repeat(32)).parse().unwrap()],
                origin_mtime: Some(SystemTime::UNIX_EPOCH),
                ..Facts::default()
            },
            unsynced: None,
        }
    }

    #[test]
    fn reads_what_it_wrote() {
        for len in [0, 1, MIN_PIECE_LEN as usize, 3 * MIN_PIECE_LEN as usize + 1] {
            let meta = meta(len);
            let bytes = meta.encode();
            assert_eq!(Meta::decode(&meta.manifest.id(), &bytes), Ok(meta));
        }
    }

    #[test]
    fn one_piece_needs_no_values() {
        assert!(meta(9).encode().len() < 512);
    }

    #[test]
    fn the_sidecar_of_another_content_is_refused() {
        for len in [9, MIN_PIECE_LEN as usize + 1] {
            let bytes = meta(len).encode();
            let other = ContentId::of(b"other");
            // A sidecar of one piece carries no value, so the id in its text decides.
            assert!(Meta::decode(&other, &bytes).is_err(), "{len}");
        }
    }

    #[test]
    fn without_its_sidecar_a_content_is_what_its_bytes_say() {
        let temp = tempfile::tempdir().unwrap();
        let data = temp.path().join("data");
        let id = meta(9).manifest.id();
        let write = |sidecar: &[u8], time: SystemTime| {
            fs::write(meta_path(&data), sidecar).unwrap();
            let file = fs::File::options().write(true).open(meta_path(&data));
            file.unwrap().set_modified(time).unwrap();
            Meta::read(&id, &data)
        };
        let before = SystemTime::UNIX_EPOCH;
        for sidecar in [&[][..], &[0; 300]] {
            fs::write(&data, [7; 9]).unwrap();
            let found = write(sidecar, before).unwrap();
            assert_eq!(found.manifest, meta(9).manifest);
            assert_eq!((found.facts, found.unsynced), (Facts::default(), None));
            // While the machine is up, no sidecar goes by itself.
            assert!(write(sidecar, SystemTime::now()).unwrap_err().is_damage());
            for lost in [&[0; 9][..], &[7; 8], b""] {
                fs::write(&data, lost).unwrap();
                assert!(matches!(write(sidecar, before), Err(MetaError::Lost)));
            }
        }
        fs::write(&data, [7; 9]).unwrap();
        assert!(write(b"something else", before).unwrap_err().is_damage());
    }

    #[test]
    fn bytes_that_may_not_have_got_to_the_disk_are_believed_when_they_are_right() {
        let temp = tempfile::tempdir().unwrap();
        let data = temp.path().join("data");
        let write = |meta: &Meta, bytes: &[u8]| {
            fs::write(&data, bytes).unwrap();
            fs::write(meta_path(&data), meta.encode()).unwrap();
        };
        let here = Meta {
            unsynced: Some(this_boot().unwrap().to_owned()),
            ..meta(9)
        };
        let before = Meta {
            unsynced: Some("another run".to_owned()),
            ..here.clone()
        };
        let id = here.manifest.id();
        // While the machine is up, what was written can be read.
        write(&here, &[0; 9]);
        assert_eq!(Meta::read(&id, &data).unwrap(), here);
        for lost in [&[0; 9][..], &[7; 8], b""] {
            write(&before, lost);
            assert!(matches!(Meta::read(&id, &data), Err(MetaError::Lost)));
        }
        write(&before, &[7; 9]);
        let found = Meta::read(&id, &data).unwrap();
        assert_eq!(found.unsynced, None);
        // One that does not know of this does not believe it.
        let newer = Sidecar::decode(&before.encode(), KIND, VERSION);
        assert_eq!(newer, Err(SidecarError::Newer(VERSION_UNSYNCED)));
        assert!(Sidecar::decode(&found.encode(), KIND, VERSION).is_ok());
    }
}
