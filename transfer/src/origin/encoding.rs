//! Files that the origin compresses although it was asked not to.
//!
//! We ask for the file as it is (`Accept-Encoding: identity`), because ranges and digests
//! are of that. Some origins send it compressed all the same (`Content-Encoding`, RFC
//! 9110, section 8.4). Then it is unpacked here, so that the file is the one that its URL
//! names; except where the URL or the type says that the file itself is a compressed one:
//! there the field only repeats that, and whoever asked for an archive wants the archive.

use std::io::{self, Write as _};

use bytes::{Buf as _, Bytes};
use flate2::write::MultiGzDecoder;
use http::header::{self, HeaderMap};
use url::Url;

/// Compressed bytes that are unpacked at a time. Each can become a thousand; that is all
/// the memory it takes.
const STEP: usize = 4 << 10;

/// How an answer is packed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Packed {
    /// Not at all.
    No,
    /// By gzip.
    Gzip,
    /// In a way that we cannot unpack.
    Unknown(String),
}

/// Says how an answer is packed.
pub(crate) fn packed(at: &Url, headers: &HeaderMap) -> Packed {
    let fields = headers.get_all(header::CONTENT_ENCODING);
    let mut codings = fields
        .iter()
        .flat_map(|field| field.to_str().unwrap_or("?").split(','))
        .map(|coding| coding.trim().to_ascii_lowercase())
        .filter(|coding| !matches!(coding.as_str(), "" | "identity"));
    match (codings.next(), codings.next()) {
        (None, _) => Packed::No,
        (Some(coding), None) if matches!(coding.as_str(), "gzip" | "x-gzip") => {
            if is_archive(at, headers) {
                Packed::No
            } else {
                Packed::Gzip
            }
        }
        (Some(coding), _) => Packed::Unknown(coding),
    }
}

/// Whether the file is one of gzip by its own name or type.
fn is_archive(at: &Url, headers: &HeaderMap) -> bool {
    let path = at.path().to_ascii_lowercase();
    let named = [".gz", ".tgz", ".gzip", ".svgz", ".taz"];
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let typed = [
        "application/gzip",
        "application/x-gzip",
        "application/x-tgz",
    ];
    named.iter().any(|end| path.ends_with(end))
        || typed.iter().any(|name| kind.eq_ignore_ascii_case(name))
}

/// Unpacks bytes as they come.
#[derive(Debug)]
pub(crate) struct Unpacker {
    gzip: MultiGzDecoder<Vec<u8>>,
    waiting: Bytes,
}

impl Unpacker {
    pub(crate) fn new() -> Self {
        Self {
            gzip: MultiGzDecoder::new(Vec::new()),
            waiting: Bytes::new(),
        }
    }

    /// Takes packed bytes; to be called when [`Unpacker::next`] has no more.
    pub(crate) fn take(&mut self, packed: Bytes) {
        self.waiting = packed;
    }

    /// Some bytes of the file; `None` when more packed ones are needed for that.
    pub(crate) fn next(&mut self) -> io::Result<Option<Bytes>> {
        while !self.waiting.is_empty() {
            let step = self.waiting.len().min(STEP);
            self.gzip.write_all(&self.waiting[..step])?;
            self.waiting.advance(step);
            let unpacked = std::mem::take(self.gzip.get_mut());
            if !unpacked.is_empty() {
                return Ok(Some(unpacked.into()));
            }
        }
        Ok(None)
    }

    /// The last bytes, after the last packed ones. Fails when those were not the end.
    pub(crate) fn end(&mut self) -> io::Result<Option<Bytes>> {
        self.gzip.try_finish()?;
        let unpacked = std::mem::take(self.gzip.get_mut());
        Ok((!unpacked.is_empty()).then(|| unpacked.into()))
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn found(url: &str, fields: &[(&'static str, &str)]) -> Packed {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        packed(&Url::parse(url).unwrap(), &headers)
    }

    #[test]
    fn an_archive_is_wanted_as_it_is() {
        let gzip = ("content-encoding", "gzip");
        assert_eq!(found("http://o/a.txt", &[gzip]), Packed::Gzip);
        assert_eq!(
            found("http://o/a", &[("content-encoding", "X-GZIP")]),
            Packed::Gzip
        );
        assert_eq!(found("http://o/a.tar.GZ?x", &[gzip]), Packed::No);
        let kind = ("content-type", "application/x-gzip; q");
        assert_eq!(found("http://o/a", &[gzip, kind]), Packed::No);
        assert_eq!(
            found("http://o/a", &[("content-encoding", "identity")]),
            Packed::No
        );
        assert_eq!(found("http://o/a", &[]), Packed::No);
    }

    #[test]
    fn other_codings_are_named() {
        for codings in ["br", "br, gzip", "zstd"] {
            let found = found("http://o/a.gz", &[("content-encoding", codings)]);
            assert!(matches!(found, Packed::Unknown(_)), "{found:?}");
        }
    }

    #[test]
    fn what_was_packed_comes_out_whatever_the_cuts() {
        let content: Vec<u8> = (0..100_000u32)
            .flat_map(|n| (n / 7).to_le_bytes())
            .collect();
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(&content).unwrap();
        let packed = Bytes::from(packer.finish().unwrap());
        for cut in [1, 1000, packed.len()] {
            let (mut unpacker, mut out) = (Unpacker::new(), Vec::new());
            for part in packed.chunks(cut) {
                unpacker.take(Bytes::copy_from_slice(part));
                while let Some(bytes) = unpacker.next().unwrap() {
                    out.extend_from_slice(&bytes);
                }
            }
            out.extend(unpacker.end().unwrap().unwrap_or_default());
            assert!(out == content, "cut at {cut}");
        }
        let mut unpacker = Unpacker::new();
        unpacker.take(packed.slice(..packed.len() / 2));
        while unpacker.next().unwrap().is_some() {}
        assert!(unpacker.end().is_err());
    }
}
