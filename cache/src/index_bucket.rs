//! Many rows of the index in one value of its tables.
//!
//! A page of sled holds at most sixteen values, however short they are, and what it
//! keeps in memory for each page costs more than a short value. So rows whose keys begin
//! with the same bits share a value: with a million contents, some four rows each.

/// How many bits choose the bucket. Fewer would make each change of a row write more,
/// more would leave a million rows alone in their buckets.
const BITS: u32 = 18;

/// Before each row stands its length, as `u16`, little-endian.
const LEN: usize = 2;

/// The key of the bucket for rows that begin with `start`, which has three bytes or more.
///
/// Buckets sort as their rows do.
pub(crate) fn bucket_of(start: &[u8]) -> [u8; 3] {
    let spare = 24 - BITS;
    let number = u32::from_be_bytes([0, start[0], start[1], start[2]]) >> spare << spare;
    let [_, key @ ..] = number.to_be_bytes();
    key
}

/// The rows of a bucket, in order. What is cut off at the end is left out.
pub(crate) fn rows(mut bucket: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, rest) = bucket.split_first_chunk::<LEN>()?;
        let (row, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
        bucket = rest;
        Some(row)
    })
}

/// The row that begins with `start`.
pub(crate) fn find<'a>(bucket: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    rows(bucket).find(|row| row.starts_with(start))
}

/// The bucket with `new` in the place of the rows that begin with `start`, or without
/// them.
pub(crate) fn replace(bucket: &[u8], start: &[u8], new: Option<&[u8]>) -> Vec<u8> {
    let mut kept: Vec<_> = (rows(bucket).filter(|row| !row.starts_with(start)))
        .chain(new)
        .collect();
    kept.sort_unstable();
    join(kept)
}

/// A bucket of rows that are in order.
pub(crate) fn join<'a>(rows: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bucket = Vec::new();
    for row in rows {
        // No row is: the longest has 64 entities and some digests, of 65 bytes at most.
        let Ok(len) = u16::try_from(row.len()) else {
            continue;
        };
        bucket.extend(len.to_le_bytes());
        bucket.extend(row);
    }
    bucket
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_and_go() {
        let one = replace(&[], b"aaa1", Some(b"aaa1 first"));
        let two = replace(&one, b"aaa0", Some(b"aaa0 second"));
        assert_eq!(find(&two, b"aaa1"), Some(&b"aaa1 first"[..]));
        assert_eq!(rows(&two).next(), Some(&b"aaa0 second"[..]));
        let changed = replace(&two, b"aaa0", Some(b"aaa0 third"));
        assert_eq!(find(&changed, b"aaa0"), Some(&b"aaa0 third"[..]));
        assert_eq!(replace(&changed, b"aaa0", None), one);
        assert_eq!(replace(&one, b"aaa1", None), Vec::<u8>::new());
    }

    #[test]
    fn a_bucket_that_was_cut_has_fewer_rows() {
        let bucket = join([&b"aaa0"[..], b"aaa1"]);
        for len in 0..bucket.len() {
            assert!(rows(&bucket[..len]).count() < 2);
        }
    }

    #[test]
    fn buckets_sort_as_their_rows() {
        let mut keys: Vec<[u8; 4]> = (0..40_000_u32)
            .map(|n| n.wrapping_mul(0x9e37_79b9).to_be_bytes())
            .collect();
        keys.sort_unstable();
        assert!(keys.is_sorted_by_key(|key| bucket_of(key)));
    }
}
