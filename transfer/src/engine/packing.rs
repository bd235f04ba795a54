//! Where the bytes of a file of ranges lie in the remote file.

use std::ops::Range;

use potluck_plan::{FileRanges, RangesError};

/// The parts of a remote file that stand one after the other in the local one.
#[derive(Clone, Debug)]
pub(crate) struct Packing {
    spans: Vec<Range<u64>>,
    /// Bytes of them all.
    pub(crate) len: u64,
}

impl Packing {
    /// Of a remote file of `size` bytes.
    ///
    /// # Errors
    /// When a range is not in it.
    pub(crate) fn new(ranges: &FileRanges, size: u64) -> Result<Self, RangesError> {
        Ok(Self {
            spans: ranges.check(size)?,
            len: ranges.packed_len(size)?,
        })
    }

    /// Which parts of the remote file make this part of the local one, in order.
    pub(crate) fn sources_of(&self, wanted: Range<u64>) -> Vec<Range<u64>> {
        let mut sources: Vec<Range<u64>> = Vec::new();
        let mut at = 0;
        for span in &self.spans {
            let len = span.end - span.start;
            let from = wanted.start.clamp(at, at + len) - at;
            let to = wanted.end.clamp(at, at + len) - at;
            at += len;
            if from >= to {
                continue;
            }
            let source = span.start + from..span.start + to;
            match sources.last_mut() {
                // Ranges that meet are one: a request less.
                Some(last) if last.end == source.start => last.end = source.end,
                _ => sources.push(source),
            }
        }
        sources
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packing(texts: &[&str], size: u64) -> Packing {
        Packing::new(&FileRanges::parse(texts, 500).unwrap(), size).unwrap()
    }

    #[test]
    fn parts_come_from_where_their_ranges_lie() {
        let packing = packing(&["100-100", "900-100", "400-100"], 1000);
        assert_eq!(packing.len, 300);
        assert_eq!(packing.sources_of(0..300), [100..200, 900..1000, 400..500]);
        assert_eq!(packing.sources_of(50..150), [150..200, 900..950]);
        assert_eq!(packing.sources_of(199..201), [999..1000, 400..401]);
        assert!(packing.sources_of(300..300).is_empty());
    }

    #[test]
    fn ranges_that_meet_are_asked_for_as_one() {
        let packing = packing(&["10-10", "20-10", "5-5"], 1000);
        assert_eq!(packing.sources_of(0..25), [10..30, 5..10]);
    }
}
