//! A `.torrent` for the files of an origin, which is named in it as the web seed (BEP 3
//! and BEP 19 of bittorrent.org).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use super::{Load, Site};

/// What usual programs choose for some 64 MiB.
const PIECE: usize = 256 << 10;

/// Writes it into the lab's directory.
pub(super) fn write(site: &Site<'_>) -> Result<PathBuf> {
    let path = site.lab().dir().join("files.torrent");
    let load = site.load();
    let url = match load.directory() {
        // Clients put the torrent's name and the path behind it.
        Some(_) => site.nginx().url(""),
        None => site.nginx().url(load.name()),
    };
    fs::write(&path, encode(load, &url)).context("the torrent")?;
    Ok(path)
}

/// Where a client that saves into `dir` puts the files.
pub(super) fn output(site: &Site<'_>, dir: &Path) -> PathBuf {
    match site.load().directory() {
        Some(directory) => dir.join(directory),
        None => dir.to_owned(),
    }
}

fn encode(load: &Load, url: &str) -> Vec<u8> {
    let mut out = b"d4:infod".to_vec();
    match load.directory() {
        Some(_) => {
            string(&mut out, b"files");
            out.push(b'l');
            for (name, blob) in load.files() {
                out.push(b'd');
                length(&mut out, blob.size());
                string(&mut out, b"path");
                out.push(b'l');
                string(&mut out, name.as_bytes());
                out.extend(b"ee");
            }
            out.push(b'e');
        }
        None => length(&mut out, load.size()),
    }
    string(&mut out, b"name");
    string(&mut out, load.name().as_bytes());
    string(&mut out, b"piece length");
    out.extend(format!("i{PIECE}e").bytes());
    string(&mut out, b"pieces");
    string(&mut out, &piece_digests(load));
    out.push(b'e');
    string(&mut out, b"url-list");
    string(&mut out, url.as_bytes());
    out.push(b'e');
    out
}

/// SHA-1 of each piece; a piece goes over the ends of files.
fn piece_digests(load: &Load) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(load.size() as usize);
    for (_, blob) in load.files() {
        bytes.extend(blob.bytes());
    }
    let digests = bytes
        .chunks(PIECE)
        .map(|piece| digest(&SHA1_FOR_LEGACY_USE_ONLY, piece));
    digests
        .flat_map(|digest| digest.as_ref().to_vec())
        .collect()
}

fn length(out: &mut Vec<u8>, size: u64) {
    string(out, b"length");
    out.extend(format!("i{size}e").bytes());
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(format!("{}:", bytes.len()).bytes());
    out.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::Wanted;

    #[test]
    fn one_file_and_many() {
        let dir = tempfile::tempdir().unwrap();
        let one = Load::write(Wanted::One(3), 7, dir.path()).unwrap();
        let text = encode(&one, "http://o/7.bin");
        let start = b"d4:infod6:lengthi3e4:name5:7.bin12:piece lengthi262144e6:pieces20:";
        assert!(text.starts_with(start));
        assert!(text.ends_with(b"e8:url-list14:http://o/7.bine"));
        let wanted = Wanted::Many {
            count: 2,
            from: 5,
            to: 5,
        };
        let many = Load::write(wanted, 7, dir.path()).unwrap();
        let text = encode(&many, "http://o/");
        let start = b"d4:infod5:filesld6:lengthi5e4:pathl5:0.bineed6:lengthi5e4:pathl5:1.bineee";
        assert!(text.starts_with(start));
    }
}
