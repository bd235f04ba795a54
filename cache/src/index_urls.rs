//! Looking up what goes by a URL, whatever version of it.

use potluck_content::ContentId;

use crate::index::Index;
use crate::index_bucket::{find, rows};
use crate::index_row::{decode_content, is_of_url, name_target, names_in, url_start};
use crate::tables::Table;

impl Index {
    /// The contents that have a URL, in the order of their ids. A few others may be among
    /// them: half a hash is compared, not the URL.
    pub(crate) fn by_url(&self, url: &str) -> Vec<ContentId> {
        let start = url_start(url);
        let names = self.bucket(Table::Names, &start);
        let leads = rows(&names).filter(|row| is_of_url(row, &start));
        let mut found: Vec<_> = leads
            .filter_map(|row| {
                let half = name_target(row)?;
                let contents = self.bucket(Table::Contents, half);
                let content = find(&contents, half)?;
                // It alone decides.
                let has_it = names_in(content).any(|name| name.get(1..9) == Some(&start[..]));
                decode_content(content).filter(|_| has_it)
            })
            .map(|(id, _)| id)
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}
