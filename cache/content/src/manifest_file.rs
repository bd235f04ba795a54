//! The manifest as a file beside the file it proves.
//!
//! Lines of text, an empty line, then the chaining value of each piece as it is, 32 bytes
//! each, in order, and nothing after them:
//!
//! ```text
//! potluck manifest 1
//! size 67108864
//! piece 262144
//! content b3:9bc4…
//! digest sha256:1f32…
//!
//! ```
//!
//! So `head` shows whose it is. The lines stand in this order; there are as many of
//! `digest` as there are further algorithms, also none. Lines of other names may follow,
//! for what later writers know, and are passed over. The layout of version 1 is that of
//! [`Layout`]; another way of cutting is another version.

use std::str::FromStr;

use crate::{ChainingValue, ContentId, Digest, DigestAlgorithm, Layout, Manifest, ManifestError};

/// What the name of a file gets to be that of its manifest.
pub const MANIFEST_ENDING: &str = ".potluck";

/// The media type of such a file.
pub const MANIFEST_TYPE: &str = "application/vnd.potluck.manifest";

/// No such file is longer, in bytes: the values of the most pieces are half of that.
pub const MAX_MANIFEST_FILE: usize = 1 << 20;

/// What every such file begins with, whatever its version.
const MAGIC: &str = "potluck manifest ";

/// The version that is written and read.
const VERSION: &str = "1";

/// The lines together are no longer, in bytes.
const MAX_HEAD: usize = 4096;

/// Bytes of a chaining value.
const VALUE: usize = 32;

/// A manifest and what else its file says of the content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManifestFile {
    manifest: Manifest,
    digests: Vec<Digest>,
}

/// Why bytes are no manifest's file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestFileError {
    /// It is something else.
    #[error("it does not begin as a manifest does")]
    NotOne,
    /// It is of a version that is not known.
    #[error("it is a manifest of version {0:?}, and only version {VERSION} is known")]
    Version(String),
    /// It is too long to be one.
    #[error("it is longer than the {MAX_MANIFEST_FILE} bytes that a manifest may have")]
    TooLong,
    /// The lines have no end.
    #[error("its lines do not end within {MAX_HEAD} bytes")]
    NoEnd,
    /// A line is missing, or is not what belongs in its place.
    #[error("its line {0:?} is missing or wrong")]
    Line(&'static str),
    /// The pieces are cut in another way.
    #[error("its pieces have {found} bytes, and those of a content of its size {expected}")]
    PieceLen {
        /// As this version cuts.
        expected: u64,
        /// As it says.
        found: u64,
    },
    /// The values end in the middle of one.
    #[error("its values end in the middle of one")]
    Values,
    /// What it says does not fit together.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

impl ManifestFile {
    /// The file of a manifest. Of each algorithm the first digest counts; BLAKE3 is that of
    /// the manifest.
    #[must_use]
    pub fn new(manifest: Manifest, digests: &[Digest]) -> Self {
        let mut kept: Vec<Digest> = Vec::new();
        for digest in digests {
            let algorithm = digest.algorithm();
            if algorithm != DigestAlgorithm::B3 && kept.iter().all(|it| it.algorithm() != algorithm)
            {
                kept.push(*digest);
            }
        }
        Self {
            manifest,
            digests: kept,
        }
    }

    /// The proof of the content.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Further digests of the whole. Nothing proves them but the content.
    #[must_use]
    pub fn digests(&self) -> &[Digest] {
        &self.digests
    }

    /// Whether bytes begin as every such file does, also one of a later version.
    #[must_use]
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC.as_bytes())
    }

    /// The bytes of the file: the same for the same content and digests.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let layout = self.manifest.layout();
        let mut text = format!(
            "{MAGIC}{VERSION}\nsize {}\npiece {}\ncontent {}\n",
            layout.size(),
            layout.piece_len(),
            Digest::B3(self.manifest.id()),
        );
        for digest in &self.digests {
            text.push_str(&format!("digest {digest}\n"));
        }
        text.push('\n');
        let mut bytes = text.into_bytes();
        for value in self.manifest.values() {
            bytes.extend_from_slice(value.as_bytes());
        }
        bytes
    }

    /// Reads the file. What it gives is proven: the values make the content.
    ///
    /// # Errors
    /// When it is no manifest, or what it says does not fit together.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestFileError> {
        if bytes.len() > MAX_MANIFEST_FILE {
            return Err(ManifestFileError::TooLong);
        }
        if !Self::is_one(bytes) {
            return Err(ManifestFileError::NotOne);
        }
        let head = &bytes[..bytes.len().min(MAX_HEAD)];
        let end = head.windows(2).position(|pair| pair == b"\n\n");
        let end = end.ok_or(ManifestFileError::NoEnd)?;
        let text = std::str::from_utf8(&head[..end]).map_err(|_| ManifestFileError::NotOne)?;
        let head = Head::read(text)?;
        let (values, rest) = bytes[end + 2..].as_chunks::<VALUE>();
        if !rest.is_empty() {
            return Err(ManifestFileError::Values);
        }
        let values = values.iter().copied().map(ChainingValue::from_bytes);
        Ok(Self {
            manifest: Manifest::new(head.content, head.size, values.collect())?,
            digests: head.digests,
        })
    }
}

/// What the lines say.
struct Head {
    size: u64,
    content: ContentId,
    digests: Vec<Digest>,
}

impl Head {
    fn read(text: &str) -> Result<Self, ManifestFileError> {
        let mut lines = text.split('\n').peekable();
        let version = lines.next().and_then(|line| line.strip_prefix(MAGIC));
        let version = version.ok_or(ManifestFileError::NotOne)?;
        if version != VERSION {
            return Err(ManifestFileError::Version(version.to_owned()));
        }
        let mut line = |name: &'static str| {
            let value = lines.next().and_then(|line| named(line, name));
            value.ok_or(ManifestFileError::Line(name))
        };
        let size = number(line("size")?).ok_or(ManifestFileError::Line("size"))?;
        let found = number(line("piece")?).ok_or(ManifestFileError::Line("piece"))?;
        let expected = Layout::for_size(size)
            .map_err(ManifestError::from)?
            .piece_len();
        if found != expected {
            return Err(ManifestFileError::PieceLen { expected, found });
        }
        let content = match Digest::from_str(line("content")?) {
            Ok(Digest::B3(content)) => content,
            _ => return Err(ManifestFileError::Line("content")),
        };
        let mut digests: Vec<Digest> = Vec::new();
        while let Some(text) = lines.peek().and_then(|line| named(line, "digest")) {
            let digest = Digest::from_str(text).map_err(|_| ManifestFileError::Line("digest"))?;
            let known = |it: &Digest| it.algorithm() == digest.algorithm();
            if digest.algorithm() == DigestAlgorithm::B3 || digests.iter().any(known) {
                return Err(ManifestFileError::Line("digest"));
            }
            digests.push(digest);
            lines.next();
        }
        Ok(Self {
            size,
            content,
            digests,
        })
    }
}

fn named<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.strip_prefix(name)?.strip_prefix(' ')
}

/// Digits only, and none in vain: a size is written in one way.
fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let shortest = text == "0" || !text.starts_with('0');
    (plain && shortest).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MIN_PIECE_LEN;

    fn file_of(len: u64) -> ManifestFile {
        let bytes: Vec<u8> = (0..len).map(|i| (i % 241) as u8).collect();
        let digests = [Digest::Sha256([7; 32]), Digest::Sha512([9; 64])];
        ManifestFile::new(Manifest::of(&bytes).unwrap(), &digests)
    }

    fn with_line(file: &ManifestFile, from: &str, to: &str) -> Vec<u8> {
        let bytes = file.to_bytes();
        let at = bytes.windows(from.len()).position(|w| w == from.as_bytes());
        let at = at.unwrap();
        [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat()
    }

    #[test]
    fn comes_back_as_it_was_written() {
        for len in [
            0,
            1,
            MIN_PIECE_LEN,
            MIN_PIECE_LEN + 1,
            3 * MIN_PIECE_LEN + 9,
        ] {
            let file = file_of(len);
            let bytes = file.to_bytes();
            assert_eq!(ManifestFile::from_bytes(&bytes), Ok(file), "{len} bytes");
            assert!(ManifestFile::is_one(&bytes));
        }
    }

    #[test]
    fn its_lines_are_kept() {
        let text = "potluck manifest 1\nsize 3\npiece 262144\n\
            content b3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85\n\n";
        let bytes = ManifestFile::new(Manifest::of(b"abc").unwrap(), &[]).to_bytes();
        assert!(bytes.starts_with(text.as_bytes()));
        assert_eq!(bytes.len(), text.len() + VALUE);
    }

    #[test]
    fn later_lines_are_passed_over() {
        let file = file_of(5);
        let bytes = with_line(&file, "\n\n", "\nsigned by=somebody\n\n");
        assert_eq!(ManifestFile::from_bytes(&bytes), Ok(file));
    }

    #[test]
    fn one_digest_of_each_algorithm_is_written() {
        let manifest = Manifest::of(b"x").unwrap();
        let b3 = Digest::B3(manifest.id());
        let given = [Digest::Sha256([1; 32]), b3, Digest::Sha256([2; 32])];
        let file = ManifestFile::new(manifest, &given);
        assert_eq!(file.digests(), [Digest::Sha256([1; 32])]);
    }

    #[test]
    fn the_largest_fits() {
        let values = vec![ChainingValue::from_bytes([5; 32]); crate::MAX_PIECES as usize];
        let manifest = Manifest::from_values(crate::MAX_CONTENT_SIZE, values).unwrap();
        let file = ManifestFile::new(manifest, &[Digest::Sha512([1; 64])]);
        let bytes = file.to_bytes();
        assert!(bytes.len() <= MAX_MANIFEST_FILE);
        assert_eq!(ManifestFile::from_bytes(&bytes), Ok(file));
    }

    #[test]
    fn refuses_what_does_not_fit_together() {
        use ManifestFileError as E;
        let file = file_of(3 * MIN_PIECE_LEN);
        let whole = file.to_bytes();
        let read = ManifestFile::from_bytes;
        assert_eq!(read(b""), Err(E::NotOne));
        assert_eq!(read(b"<html>"), Err(E::NotOne));
        assert_eq!(read(&whole[..40]), Err(E::NoEnd));
        assert_eq!(read(&whole[..whole.len() - 1]), Err(E::Values));
        assert!(matches!(
            read(&whole[..whole.len() - 32]),
            Err(E::Manifest(ManifestError::WrongCount { .. }))
        ));
        assert_eq!(read(&vec![b'p'; MAX_MANIFEST_FILE + 1]), Err(E::TooLong));
        let changed = |from, to| read(&with_line(&file, from, to));
        assert_eq!(
            changed("manifest 1", "manifest 2"),
            Err(E::Version("2".into()))
        );
        assert_eq!(changed("size 786432", "size +786432"), Err(E::Line("size")));
        assert_eq!(changed("size 786432", "size 0786432"), Err(E::Line("size")));
        assert_eq!(changed("size 786432\n", ""), Err(E::Line("size")));
        assert!(matches!(
            changed("size 786432", "size 99999999999999"),
            Err(E::Manifest(ManifestError::TooLarge(_)))
        ));
        assert_eq!(
            changed("piece 262144", "piece 1048576"),
            Err(E::PieceLen {
                expected: MIN_PIECE_LEN,
                found: 4 * MIN_PIECE_LEN
            })
        );
        assert_eq!(
            changed("content b3:", "content sha256:"),
            Err(E::Line("content"))
        );
        assert_eq!(
            changed("digest sha256:07", "digest sha256:7"),
            Err(E::Line("digest"))
        );
        let mut other = whole;
        let last = other.len() - 1;
        other[last] ^= 1;
        assert!(matches!(
            read(&other),
            Err(E::Manifest(ManifestError::WrongContent { .. }))
        ));
    }
}
