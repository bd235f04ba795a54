//! The parts of a file that a job wants.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// How the end of a file is written where a length is expected.
const TO_END: &str = "eof";

/// One part of a remote file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct FileRange {
    /// Its first byte, counted from 0.
    pub offset: u64,
    /// Its bytes. `None`: to the end of the file.
    pub length: Option<u64>,
}

/// The parts of a remote file that make one local file, in the order in which they
/// stand there.
///
/// Invariant: there is at least one, none is empty, no two have a byte in common.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "Vec<FileRange>", into = "Vec<FileRange>")]
pub struct FileRanges(Vec<FileRange>);

/// Ranges that cannot be had.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RangesError {
    /// The text is no range.
    #[error("{0:?} is no range: write OFFSET-LENGTH or OFFSET-eof, in bytes")]
    Syntax(String),
    /// There is none.
    #[error("no range is named; leave the ranges away for the whole file")]
    None,
    /// There are more than are allowed for one file.
    #[error(
        "{found} ranges are too many: {most} are allowed for one file (transfer.max_ranges_per_file)"
    )]
    TooMany {
        /// How many there are.
        found: usize,
        /// How many are allowed.
        most: usize,
    },
    /// One is of no bytes, or ends beyond what can be counted.
    #[error("the range {0} has no bytes that a file could have")]
    Empty(FileRange),
    /// Two have bytes in common.
    #[error("the ranges {0} and {1} overlap")]
    Overlap(FileRange, FileRange),
    /// One is not in the file.
    #[error("the range {range} is not in the file, which has {size} bytes")]
    Outside {
        /// The range.
        range: FileRange,
        /// Bytes in the file.
        size: u64,
    },
}

impl FileRange {
    /// Reads `100-50` (50 bytes from byte 100 on) or `100-eof`.
    ///
    /// # Errors
    /// [`RangesError::Syntax`].
    pub fn parse(text: &str) -> Result<Self, RangesError> {
        let syntax = || RangesError::Syntax(text.to_owned());
        let (offset, length) = text.trim().split_once('-').ok_or_else(syntax)?;
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits
                .then(|| text.parse().ok())
                .flatten()
                .ok_or_else(syntax)
        };
        let length = if length.eq_ignore_ascii_case(TO_END) {
            None
        } else {
            Some(number(length)?)
        };
        Ok(Self {
            offset: number(offset)?,
            length,
        })
    }

    /// From its first byte to before this one; as far as one can count where it has no
    /// length. `None` when it has no bytes.
    fn span(self) -> Option<Range<u64>> {
        let end = match self.length {
            Some(length) => self.offset.checked_add(length)?,
            None => u64::MAX,
        };
        (self.offset < end).then_some(self.offset..end)
    }
}

impl fmt::Display for FileRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.length {
            Some(length) => write!(f, "{}-{length}", self.offset),
            None => write!(f, "{}-{TO_END}", self.offset),
        }
    }
}

impl FileRanges {
    /// Takes ranges, at most `most` of them.
    ///
    /// # Errors
    /// When there are none or too many, one is empty, or two overlap.
    pub fn new(ranges: Vec<FileRange>, most: usize) -> Result<Self, RangesError> {
        if ranges.is_empty() {
            return Err(RangesError::None);
        }
        if ranges.len() > most {
            let found = ranges.len();
            return Err(RangesError::TooMany { found, most });
        }
        let mut spans = Vec::with_capacity(ranges.len());
        for range in &ranges {
            spans.push((range.span().ok_or(RangesError::Empty(*range))?, *range));
        }
        spans.sort_by_key(|(span, _)| span.start);
        for pair in spans.windows(2) {
            if let [(before, first), (after, second)] = pair
                && after.start < before.end
            {
                return Err(RangesError::Overlap(*first, *second));
            }
        }
        Ok(Self(ranges))
    }

    /// Reads texts as [`FileRange::parse`] does, at most `most` of them.
    ///
    /// # Errors
    /// As [`FileRange::parse`] and [`FileRanges::new`].
    pub fn parse<T: AsRef<str>>(texts: &[T], most: usize) -> Result<Self, RangesError> {
        let ranges: Result<_, _> = texts.iter().map(|t| FileRange::parse(t.as_ref())).collect();
        Self::new(ranges?, most)
    }

    /// The ranges, in the order given.
    #[must_use]
    pub fn as_slice(&self) -> &[FileRange] {
        &self.0
    }

    /// Where each range lies in a file of `size` bytes, in the order given.
    ///
    /// # Errors
    /// [`RangesError::Outside`].
    pub fn check(&self, size: u64) -> Result<Vec<Range<u64>>, RangesError> {
        let inside = |range: &FileRange| {
            let outside = RangesError::Outside {
                range: *range,
                size,
            };
            let mut span = range.span().ok_or(RangesError::Empty(*range))?;
            if range.length.is_none() {
                span.end = size;
            }
            if span.start < span.end && span.end <= size {
                Ok(span)
            } else {
                Err(outside)
            }
        };
        self.0.iter().map(inside).collect()
    }

    /// Bytes of the ranges of a file of `size` bytes, put together.
    ///
    /// # Errors
    /// [`RangesError::Outside`].
    pub fn packed_len(&self, size: u64) -> Result<u64, RangesError> {
        let spans = self.check(size)?;
        // They do not overlap, so their sum is not above the size.
        Ok(spans.iter().map(|span| span.end - span.start).sum())
    }
}

impl TryFrom<Vec<FileRange>> for FileRanges {
    type Error = RangesError;

    fn try_from(ranges: Vec<FileRange>) -> Result<Self, RangesError> {
        Self::new(ranges, usize::MAX)
    }
}

impl From<FileRanges> for Vec<FileRange> {
    fn from(ranges: FileRanges) -> Self {
        ranges.0
    }
}

impl fmt::Display for FileRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, range) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{range}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(texts: &[&str]) -> Result<FileRanges, RangesError> {
        FileRanges::parse(texts, 500)
    }

    #[test]
    fn ranges_are_packed_in_the_order_given() {
        let ranges = ranges(&["100-100", "900-100", "400-100"]).unwrap();
        assert_eq!(ranges.check(1000).unwrap(), [100..200, 900..1000, 400..500]);
        assert_eq!(ranges.packed_len(1000).unwrap(), 300);
        assert_eq!(ranges.to_string(), "100-100,900-100,400-100");
    }

    #[test]
    fn a_range_may_reach_to_the_end() {
        let ranges = ranges(&["10-EOF", "0-10"]).unwrap();
        assert_eq!(ranges.check(25).unwrap(), [10..25, 0..10]);
        assert!(matches!(ranges.check(10), Err(RangesError::Outside { .. })));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "5", "-5", "5-", "a-b", "1--2", "+1-2", "1-0x5", "1-+5"] {
            let found = FileRange::parse(text);
            assert!(matches!(found, Err(RangesError::Syntax(_))), "{text:?}");
        }
        assert_eq!(ranges(&[]), Err(RangesError::None));
        assert!(matches!(ranges(&["7-0"]), Err(RangesError::Empty(_))));
        let beyond = format!("1-{}", u64::MAX);
        assert!(matches!(ranges(&[&beyond]), Err(RangesError::Empty(_))));
    }

    #[test]
    fn overlaps_and_duplicates_are_refused() {
        for pair in [
            ["0-10", "9-1"],
            ["5-5", "5-5"],
            ["5-eof", "100-1"],
            ["5-eof", "7-eof"],
            ["9-1", "0-10"],
        ] {
            let found = ranges(&pair);
            assert!(matches!(found, Err(RangesError::Overlap(..))), "{pair:?}");
        }
        assert!(ranges(&["0-10", "10-1"]).is_ok());
    }

    #[test]
    fn there_are_only_so_many() {
        let texts: Vec<_> = (0..4).map(|n| format!("{n}-1")).collect();
        assert!(FileRanges::parse(&texts, 4).is_ok());
        let found = FileRanges::parse(&texts, 3);
        assert_eq!(found, Err(RangesError::TooMany { found: 4, most: 3 }));
    }

    #[test]
    fn a_range_outside_the_file_is_found() {
        for text in ["90-11", "100-1", "100-eof", "200-1"] {
            let found = ranges(&[text]).unwrap().packed_len(100);
            assert!(matches!(found, Err(RangesError::Outside { .. })), "{text}");
        }
        assert_eq!(ranges(&["90-10"]).unwrap().packed_len(100), Ok(10));
    }

    #[test]
    fn they_are_kept_as_a_list() {
        let ranges = ranges(&["100-50", "200-eof"]).unwrap();
        let json = serde_json::to_string(&ranges).unwrap();
        assert_eq!(
            json,
            r#"[{"offset":100,"length":50},{"offset":200,"length":null}]"#
        );
        assert_eq!(serde_json::from_str::<FileRanges>(&json).unwrap(), ranges);
        assert!(serde_json::from_str::<FileRanges>("[]").is_err());
    }
}
