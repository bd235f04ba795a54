//! Writing the manifest of a file beside it, for an origin to serve.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256, SHA512};
use potluck_content::{
    ContentHasher, Digest, DigestAlgorithm, MANIFEST_ENDING, ManifestFile, TooLarge,
};

/// Bytes that are read at once: enough for the hash to run at full speed.
const BLOCK: usize = 1 << 20;

/// As many bytes show whether a file is a manifest.
const BEGINNING: u64 = 64;

/// Why a manifest was not written.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A file cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is no plain file.
    #[error("{} is not a file", .0.display())]
    NotAFile(PathBuf),
    /// It is larger than a content may be.
    #[error("{path}: {source}", path = path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// The limit.
        source: TooLarge,
    },
    /// Somebody wrote to it, or put another in its place, while it was read.
    #[error(
        "{} changed while it was read: no manifest was written; publish it again when it is complete", .0.display()
    )]
    Changed(PathBuf),
    /// Something that is no manifest has the name.
    #[error("{} is there already and is no manifest: move it away", .0.display())]
    InTheWay(PathBuf),
}

/// A manifest that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Where it is.
    pub path: PathBuf,
    /// What it says.
    pub manifest: ManifestFile,
}

/// Whether a path is that of a manifest, by its name and by what is in it.
#[must_use]
pub fn is_manifest(path: &Path) -> bool {
    let named = path
        .extension()
        .is_some_and(|it| it == &MANIFEST_ENDING[1..]);
    named && begins_as_manifest(path).unwrap_or(false)
}

/// Reads a file from its first byte to its last and writes its manifest beside it, or into
/// a directory, in one step: nobody ever sees half of it. One that is there already is
/// replaced. Blocks.
///
/// # Errors
/// When the file cannot be read or changes meanwhile, or when something else has the name.
pub fn publish(
    file: &Path,
    into: Option<&Path>,
    algorithms: &[DigestAlgorithm],
) -> Result<Published, PublishError> {
    let fail = |path: &Path, source| PublishError::Io {
        path: path.to_owned(),
        source,
    };
    let target = target(file, into)?;
    match begins_as_manifest(&target) {
        Ok(true) => {}
        Ok(false) => return Err(PublishError::InTheWay(target)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(fail(&target, error)),
    }
    let mut source = File::open(file).map_err(|e| fail(file, e))?;
    let before = source.metadata().map_err(|e| fail(file, e))?;
    if !before.is_file() {
        return Err(PublishError::NotAFile(file.to_owned()));
    }
    let manifest = read(&mut source, file, algorithms)?;
    let after = source.metadata().map_err(|e| fail(file, e))?;
    let named = fs::metadata(file).map_err(|e| fail(file, e))?;
    let size = manifest.manifest().size();
    if [&after, &named].map(state) != [state(&before); 2] || after.len() != size {
        return Err(PublishError::Changed(file.to_owned()));
    }
    write(&target, &manifest, &before).map_err(|e| fail(&target, e))?;
    Ok(Published {
        path: target,
        manifest,
    })
}

fn target(file: &Path, into: Option<&Path>) -> Result<PathBuf, PublishError> {
    let name = file.file_name();
    let mut name = name
        .ok_or_else(|| PublishError::NotAFile(file.to_owned()))?
        .to_owned();
    name.push(MANIFEST_ENDING);
    let dir = into.or(file.parent()).unwrap_or(Path::new(""));
    Ok(dir.join(name))
}

fn begins_as_manifest(path: &Path) -> io::Result<bool> {
    let mut beginning = Vec::new();
    let file = File::open(path)?;
    file.take(BEGINNING).read_to_end(&mut beginning)?;
    Ok(ManifestFile::is_one(&beginning))
}

/// What differs once a file is not the one it was.
fn state(of: &Metadata) -> (u64, u64, u64, i64, i64) {
    (of.dev(), of.ino(), of.len(), of.mtime(), of.mtime_nsec())
}

fn read(
    source: &mut File,
    path: &Path,
    algorithms: &[DigestAlgorithm],
) -> Result<ManifestFile, PublishError> {
    let mut hasher = ContentHasher::new();
    let mut others: Vec<_> = algorithms.iter().filter_map(|it| context(*it)).collect();
    let mut block = vec![0; BLOCK];
    loop {
        let read = match source.read(&mut block) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => {
                let path = path.to_owned();
                return Err(PublishError::Io { path, source });
            }
        };
        let bytes = &block[..read];
        let taken = hasher.update(bytes);
        taken.map_err(|source| PublishError::TooLarge {
            path: path.to_owned(),
            source,
        })?;
        others.iter_mut().for_each(|(_, it)| it.update(bytes));
    }
    let digests: Vec<_> = others.into_iter().filter_map(digest).collect();
    Ok(ManifestFile::new(hasher.finish(), &digests))
}

/// BLAKE3 is in every manifest.
fn context(algorithm: DigestAlgorithm) -> Option<(DigestAlgorithm, Context)> {
    let of = match algorithm {
        DigestAlgorithm::B3 => return None,
        DigestAlgorithm::Sha256 => &SHA256,
        DigestAlgorithm::Sha512 => &SHA512,
    };
    Some((algorithm, Context::new(of)))
}

fn digest((algorithm, context): (DigestAlgorithm, Context)) -> Option<Digest> {
    let found = context.finish();
    match algorithm {
        DigestAlgorithm::B3 => None,
        DigestAlgorithm::Sha256 => Some(Digest::Sha256(found.as_ref().try_into().ok()?)),
        DigestAlgorithm::Sha512 => Some(Digest::Sha512(found.as_ref().try_into().ok()?)),
    }
}

/// Whoever may read the file may read its manifest.
fn write(target: &Path, manifest: &ManifestFile, file: &Metadata) -> io::Result<()> {
    let dir = target.parent().filter(|dir| !dir.as_os_str().is_empty());
    let mut temporary = tempfile::Builder::new()
        .prefix(".potluck-")
        .tempfile_in(dir.unwrap_or(Path::new(".")))?;
    temporary.write_all(&manifest.to_bytes())?;
    let mode = file.mode() & 0o666;
    let written = temporary.as_file();
    written.set_permissions(Permissions::from_mode(mode))?;
    written.sync_all()?;
    temporary.persist(target).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests;
