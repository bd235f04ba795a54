//! Files that the origin compresses although it was asked not to.
//!
//! We ask for the file as it is (`Accept-Encoding: identity`), because ranges and digests
//! are of that. Some origins send it compressed all the same (`Content-Encoding`, RFC
//! 9110, section 8.4). Then it is unpacked here, so that the file is the one that its URL
//! names; except where the URL or the type says that the file itself is a compressed one:
//! there the field only repeats that, and whoever asked for an archive wants the archive.

use std::fmt;
use std::io::{self, Write};

use brotli_decompressor::DecompressorWriter;
use bytes::{Buf as _, Bytes};
use flate2::write::MultiGzDecoder;
use http::header::{self, HeaderMap};
use url::Url;

/// Compressed bytes that are unpacked at a time.
const STEP: usize = 4 << 10;
/// As much as these may become: that is all the memory it takes. Of gzip each becomes a
/// thousand at most; brotli has no such bound.
const MOST_AT_ONCE: usize = 16 << 20;

/// How an answer is packed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Packed {
    /// Not at all.
    No,
    /// In a way that is known here.
    By(Coding),
    /// In a way that we cannot unpack.
    Unknown(String),
}

/// A way to pack that is known here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Coding {
    Gzip,
    /// RFC 7932.
    Brotli,
}

impl Coding {
    fn named(name: &str) -> Option<Self> {
        match name {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "br" => Some(Self::Brotli),
            _ => None,
        }
    }

    /// How files end that are packed so by themselves.
    const fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Gzip => &[".gz", ".tgz", ".gzip", ".svgz", ".taz"],
            Self::Brotli => &[".br"],
        }
    }

    /// Their types.
    const fn types(self) -> &'static [&'static str] {
        match self {
            Self::Gzip => &[
                "application/gzip",
                "application/x-gzip",
                "application/x-tgz",
            ],
            Self::Brotli => &[],
        }
    }
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
        (Some(name), None) => match Coding::named(&name) {
            Some(coding) if is_archive(coding, at, headers) => Packed::No,
            Some(coding) => Packed::By(coding),
            None => Packed::Unknown(name),
        },
        (Some(name), _) => Packed::Unknown(name),
    }
}

/// Whether the file is a packed one by its own name or type.
fn is_archive(coding: Coding, at: &Url, headers: &HeaderMap) -> bool {
    let path = at.path().to_ascii_lowercase();
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    coding.endings().iter().any(|end| path.ends_with(end))
        || coding
            .types()
            .iter()
            .any(|name| kind.eq_ignore_ascii_case(name))
}

/// Unpacks bytes as they come.
pub(crate) struct Unpacker {
    decoder: Decoder,
    waiting: Bytes,
}

enum Decoder {
    Gzip(Box<MultiGzDecoder<Room>>),
    Brotli(Box<DecompressorWriter<Room>>),
}

/// Where unpacked bytes wait to be taken.
#[derive(Default)]
struct Room(Vec<u8>);

impl Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MOST_AT_ONCE {
            let reason = "a little of it becomes too much";
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Decoder {
    fn write_all(&mut self, packed: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(gzip) => gzip.write_all(packed),
            Self::Brotli(brotli) => brotli.write_all(packed),
        }
    }

    fn end(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(gzip) => gzip.try_finish(),
            Self::Brotli(brotli) => brotli.close(),
        }
    }

    fn take(&mut self) -> Vec<u8> {
        let room = match self {
            Self::Gzip(gzip) => gzip.get_mut(),
            Self::Brotli(brotli) => brotli.get_mut(),
        };
        std::mem::take(&mut room.0)
    }
}

impl Unpacker {
    pub(crate) fn new(coding: Coding) -> Self {
        let room = Room::default();
        Self {
            decoder: match coding {
                Coding::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(room))),
                Coding::Brotli => Decoder::Brotli(Box::new(DecompressorWriter::new(room, STEP))),
            },
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
            self.decoder.write_all(&self.waiting[..step])?;
            self.waiting.advance(step);
            let unpacked = self.decoder.take();
            if !unpacked.is_empty() {
                return Ok(Some(unpacked.into()));
            }
        }
        Ok(None)
    }

    /// The last bytes, after the last packed ones. Fails when those were not the end.
    pub(crate) fn end(&mut self) -> io::Result<Option<Bytes>> {
        self.decoder.end()?;
        let unpacked = self.decoder.take();
        Ok((!unpacked.is_empty()).then(|| unpacked.into()))
    }
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacker")
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
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
        assert_eq!(found("http://o/a.txt", &[gzip]), Packed::By(Coding::Gzip));
        assert_eq!(
            found("http://o/a", &[("content-encoding", "X-GZIP")]),
            Packed::By(Coding::Gzip)
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
        for codings in ["br, gzip", "zstd"] {
            let found = found("http://o/a.gz", &[("content-encoding", codings)]);
            assert!(matches!(found, Packed::Unknown(_)), "{found:?}");
        }
    }

    /// Whole, whatever the cuts; half of it is an error.
    fn comes_out(coding: Coding, packed: &Bytes, content: &[u8]) {
        for cut in [1, 1000, packed.len()] {
            let (mut unpacker, mut out) = (Unpacker::new(coding), Vec::new());
            for part in packed.chunks(cut) {
                unpacker.take(Bytes::copy_from_slice(part));
                while let Some(bytes) = unpacker.next().unwrap() {
                    out.extend_from_slice(&bytes);
                }
            }
            out.extend(unpacker.end().unwrap().unwrap_or_default());
            assert!(out == content, "cut at {cut}");
        }
        let mut unpacker = Unpacker::new(coding);
        unpacker.take(packed.slice(..packed.len() / 2));
        while unpacker.next().unwrap().is_some() {}
        assert!(unpacker.end().is_err(), "it is not whole");
    }

    #[test]
    fn what_was_packed_comes_out_whatever_the_cuts() {
        let content: Vec<u8> = (0..100_000u32)
            .flat_map(|n| (n / 7).to_le_bytes())
            .collect();
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(&content).unwrap();
        let packed = Bytes::from(packer.finish().unwrap());
        comes_out(Coding::Gzip, &packed, &content);
    }

    /// The simplest stream of RFC 7932: blocks as they are.
    fn brotli(content: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        for (number, block) in content.chunks(1 << 16).enumerate() {
            let head = (block.len() as u32 - 1) << 3 | 1 << 19;
            // The first has the size of the window before it.
            let head = if number == 0 { head << 1 } else { head };
            packed.extend_from_slice(&head.to_le_bytes()[..3]);
            packed.extend_from_slice(block);
        }
        packed.push(3);
        packed
    }

    #[test]
    fn brotli_comes_out_as_well() {
        let br = ("content-encoding", "br");
        assert_eq!(found("http://o/a", &[br]), Packed::By(Coding::Brotli));
        assert_eq!(found("http://o/a.br", &[br]), Packed::No);
        let content: Vec<u8> = (0..50_000u32).flat_map(u32::to_le_bytes).collect();
        let packed = Bytes::from(brotli(&content));
        comes_out(Coding::Brotli, &packed, &content);
        let mut noise = Unpacker::new(Coding::Brotli);
        noise.take(Bytes::from(vec![0xff; 5000]));
        assert!(noise.next().is_err());
    }

    #[test]
    fn a_little_does_not_take_all_memory() {
        let mut room = Room(vec![0; MOST_AT_ONCE - 1]);
        assert!(room.write(&[0]).is_ok());
        assert!(room.write(&[0]).is_err());
    }
}
