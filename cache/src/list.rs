//! Looking through the cache, a page at a time.

use std::time::SystemTime;

use potluck_content::ContentId;

use crate::index_row::Entry;
use crate::shelf::micros;
use crate::{Cache, ContentRecord, Facts};

/// Which contents are wanted; by default all.
///
/// Everything but a part of a URL and the time of coming is in the index. For these two
/// each content's sidecar is read that the other conditions leave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// One of its URLs is this.
    pub url: Option<String>,
    /// One of its URLs has this in it.
    pub url_part: Option<String>,
    /// It has at least so many bytes.
    pub min_size: Option<u64>,
    /// It has at most so many bytes.
    pub max_size: Option<u64>,
    /// It was last used before this.
    pub accessed_before: Option<SystemTime>,
    /// It came before this.
    pub added_before: Option<SystemTime>,
    /// Whether it was vouched for.
    pub validated: Option<bool>,
    /// Whether it stays whatever the limits say.
    pub pinned: Option<bool>,
    /// Whether somebody holds a lease on it.
    pub in_use: Option<bool>,
}

impl Filter {
    /// What the index can answer.
    fn fits_entry(&self, entry: &Entry, accessed: u64, leased: bool) -> bool {
        let is = |wanted: Option<bool>, found| wanted.is_none_or(|wanted| wanted == found);
        self.min_size.is_none_or(|least| entry.size >= least)
            && self.max_size.is_none_or(|most| entry.size <= most)
            && self.accessed_before.is_none_or(|t| accessed < micros(t))
            && is(self.validated, entry.validated)
            && is(self.pinned, entry.pinned)
            && is(self.in_use, leased)
    }

    /// What only the sidecar can.
    fn fits_record(&self, record: &ContentRecord) -> bool {
        let named = |fits: &dyn Fn(&str) -> bool, facts: &Facts| {
            facts.entities.iter().any(|entity| fits(&entity.url))
        };
        let facts = &record.facts;
        self.added_before.is_none_or(|time| record.added < time)
            && (self.url.as_ref()).is_none_or(|url| named(&|found| found == url, facts))
            && (self.url_part.as_ref())
                .is_none_or(|part| named(&|found| found.contains(part), facts))
    }
}

impl Cache {
    /// The next contents, in the order of their ids, that come after one and fit; fewer
    /// than `limit` only at the end. Contents that come or go meanwhile may or may not be
    /// among them. Not a use of them.
    #[must_use]
    pub fn page(
        &self,
        filter: &Filter,
        after: Option<&ContentId>,
        limit: usize,
    ) -> Vec<ContentRecord> {
        let inner = &self.inner;
        let fits = |id: &ContentId, entry: &Entry| {
            let shelf = inner.shelf();
            let accessed = shelf.last_touch(id).unwrap_or(entry.accessed);
            filter.fits_entry(entry, accessed, shelf.is_leased(id))
        };
        let records = |contents: &mut dyn Iterator<Item = (ContentId, Entry)>| {
            contents
                .filter(|(id, entry)| fits(id, entry))
                .filter_map(|(id, _)| self.show(&id))
                .filter(|record| filter.fits_record(record))
                .take(limit)
                .collect()
        };
        match &filter.url {
            None => records(&mut inner.index.after(after)),
            Some(url) => {
                let found = inner.index.by_url(url).into_iter();
                let found = found.filter(|id| after.is_none_or(|after| id > after));
                records(&mut found.filter_map(|id| Some((id, inner.index.get(&id)?))))
            }
        }
    }

    /// The content that comes after one in the order of the ids, or the first.
    #[must_use]
    pub fn next_after(&self, after: Option<&ContentId>) -> Option<ContentId> {
        self.inner.index.after(after).next().map(|(id, _)| id)
    }

    /// Contents whose ids begin with these hexadecimal digits, at most `limit` of them.
    #[must_use]
    pub fn with_prefix(&self, digits: &str, limit: usize) -> Vec<ContentId> {
        let digits = digits.to_ascii_lowercase();
        let Some(first) = lowest(&digits) else {
            return Vec::new();
        };
        (self.inner.index.from(&first).map(|(id, _)| id))
            .take_while(|id| id.to_hex().starts_with(&digits))
            .take(limit)
            .collect()
    }
}

/// The lowest id that begins with these digits.
fn lowest(digits: &str) -> Option<ContentId> {
    if digits.len() > 64 {
        return None;
    }
    format!("{digits:0<64}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_of_a_prefix_has_zeros_behind() {
        let lowest = lowest("a1b").unwrap();
        assert_eq!(lowest.to_hex(), format!("a1b{}", "0".repeat(61)));
        assert!(super::lowest("not hex").is_none());
        assert!(super::lowest(&"0".repeat(65)).is_none());
    }
}
