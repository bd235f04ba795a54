//! A file that names the contents that change.
//!
//! ```text
//! potluck changes 1 <cache> <boot> <check>    the first line
//! <content> <check>                           for each content, before it changes
//! closed <check>                              when the cache was closed
//! ```
//!
//! `cache` tells caches apart, `boot` the runs of the kernel. A check is the first eight
//! hexadecimal digits of the BLAKE3 hash of the file's number and its line.

use potluck_content::ContentId;

/// What the first line of a journal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// Which cache it is of.
    pub(crate) cache: String,
    /// During which run of the kernel it was written.
    pub(crate) boot: String,
}

/// A journal, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Journal {
    /// Its number, one more than that of the journal before.
    pub(crate) generation: u64,
    pub(crate) header: Header,
    /// Contents that changed, or were about to.
    pub(crate) ids: Vec<ContentId>,
    /// Whether the cache was closed with it.
    pub(crate) closed: bool,
    /// Whether something at its end cannot be read: it was cut off, or was on its way
    /// to the disk when the machine went down.
    pub(crate) torn: bool,
}

const MAGIC: &str = "potluck changes 1";
const CLOSED: &str = "closed";

/// The first line.
pub(crate) fn header_line(generation: u64, header: &Header) -> String {
    line(
        generation,
        &format!("{MAGIC} {} {}", header.cache, header.boot),
    )
}

/// The line for a content.
pub(crate) fn change_line(generation: u64, id: &ContentId) -> String {
    line(generation, &id.to_hex())
}

/// The last line.
pub(crate) fn closed_line(generation: u64) -> String {
    line(generation, CLOSED)
}

impl Journal {
    /// Reads a journal. `None` when it says nothing that can be relied on: then neither
    /// it nor the index tells what changed.
    pub(crate) fn parse(generation: u64, bytes: &[u8]) -> Option<Self> {
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
        let header = unchecked(generation, lines.next()?)?;
        let (cache, boot) = header.strip_prefix(MAGIC)?.trim().split_once(' ')?;
        let mut journal = Self {
            generation,
            header: Header {
                cache: cache.to_owned(),
                boot: boot.to_owned(),
            },
            ids: Vec::new(),
            closed: false,
            torn: false,
        };
        for line in lines {
            match unchecked(generation, line) {
                // Something is lost in the middle: who knows what.
                Some(_) if journal.torn => return None,
                Some(CLOSED) => journal.closed = true,
                Some(id) => {
                    journal.closed = false;
                    journal.ids.push(id.parse().ok()?);
                }
                None => journal.torn = true,
            }
        }
        Some(journal)
    }
}

fn line(generation: u64, text: &str) -> String {
    format!("{text} {}\n", check(generation, text))
}

fn check(generation: u64, text: &str) -> String {
    let hash = ContentId::of(format!("{generation} {text}").as_bytes());
    hash.to_hex()[..8].to_owned()
}

/// The text of a line that is whole.
fn unchecked(generation: u64, line: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (text, sum) = line.rsplit_once(' ')?;
    (sum == check(generation, text)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            cache: "c".to_owned(),
            boot: "b".to_owned(),
        }
    }

    fn written() -> (String, [ContentId; 2]) {
        let ids = [b"a", b"b"].map(|bytes| ContentId::of(bytes));
        let lines = ids.map(|id| change_line(7, &id));
        (header_line(7, &header()) + &lines.concat(), ids)
    }

    #[test]
    fn reads_what_it_wrote() {
        let (text, ids) = written();
        let read = Journal::parse(7, text.as_bytes()).unwrap();
        assert_eq!((read.header, &read.ids[..]), (header(), &ids[..]));
        assert!(!read.closed && !read.torn);
        let closed = header_line(7, &header()) + &closed_line(7);
        assert!(Journal::parse(7, closed.as_bytes()).unwrap().closed);
        // Under another number it is another's.
        assert_eq!(Journal::parse(8, text.as_bytes()), None);
    }

    #[test]
    fn a_torn_end_costs_only_the_end() {
        let (text, ids) = written();
        let first = text.len() - 74;
        for len in first..text.len() {
            let read = Journal::parse(7, &text.as_bytes()[..len]).unwrap();
            assert_eq!(read.ids, ids[..1], "{len}");
            assert_eq!(read.torn, len > first);
        }
        let zeros = [text.as_bytes(), &[0; 100]].concat();
        assert_eq!(Journal::parse(7, &zeros).unwrap().ids, ids);
    }

    #[test]
    fn damage_in_the_middle_is_not_passed_over() {
        let (text, _) = written();
        let middle = text.len() - 100;
        for bit in 0..8 {
            let mut bad = text.clone().into_bytes();
            bad[middle] ^= 1 << bit;
            assert_eq!(Journal::parse(7, &bad), None);
        }
        assert_eq!(Journal::parse(7, b""), None);
    }
}
