//! Making the whole index, many rows at a time.

use std::collections::BTreeMap;
use std::ops::Bound;

use potluck_content::ContentId;

use crate::index::{Index, store};
use crate::index_bucket::{bucket_of, join, rows};
use crate::index_row::{Entry, Name, content_row, name_row};
use crate::inner::lock;
use crate::tables::{Table, Tables};

/// A content that was found on the disk.
pub(crate) struct Found {
    pub(crate) id: ContentId,
    pub(crate) entry: Entry,
    pub(crate) names: Vec<Name>,
}

/// Rows that lead to contents and are not yet in the index. Sorted, each page of the
/// tables is written once.
#[derive(Default)]
pub(crate) struct Leads {
    names: Vec<[u8; NAME_ROW]>,
    accesses: Vec<[u8; ACCESS_KEY]>,
}

const NAME_ROW: usize = 33;
const NAME_START: usize = 17;
const ACCESS_KEY: usize = 40;

/// Leads that wait in memory: some 50 MB of them.
const MANY: usize = 1_000_000;

impl Leads {
    fn add(&mut self, id: &ContentId, entry: Entry, names: &[Name]) {
        if let Some(Ok(key)) = entry.queue_key(id).map(<[u8; ACCESS_KEY]>::try_from) {
            self.accesses.push(key);
        }
        for name in names {
            if let Ok(row) = <[u8; NAME_ROW]>::try_from(name_row(name, id)) {
                self.names.push(row);
            }
        }
    }
}

impl Index {
    /// Begins to make it again. Until it is synced, what is there of it is not believed;
    /// contents are found by their ids meanwhile, and the times of their use are kept.
    pub(crate) fn begin_again(&self) {
        let tables = self.tables();
        tables.sync(None);
        tables.clear(Table::ByAccess);
        tables.clear(Table::Names);
    }

    /// Takes over all contents whose ids begin with a byte, in the place of what was known
    /// of them. Only when they were used is kept, because no file has it.
    pub(crate) fn fill_shelf(&self, first: u8, found: Vec<Found>, leads: &mut Leads) {
        let _changing = lock(&self.changing);
        let tables = self.tables();
        let mut buckets = BTreeMap::<[u8; 3], Vec<Vec<u8>>>::new();
        for Found { id, entry, names } in found {
            let known = self.get(&id).unwrap_or(entry);
            let entry = Entry {
                accessed: known.accessed,
                rank: known.rank,
                ..entry
            };
            let key = bucket_of(id.as_bytes());
            let row = content_row(&id, entry, &names);
            buckets.entry(key).or_default().push(row);
            leads.add(&id, entry, &names);
        }
        for key in keys_of(&tables, first) {
            if !buckets.contains_key(&key) {
                tables.remove(Table::Contents, &key);
            }
        }
        for (key, mut rows) in buckets {
            rows.sort_unstable();
            let bucket = join(rows.iter().map(Vec::as_slice));
            tables.insert(Table::Contents, &key, &bucket);
        }
        if leads.names.len() + leads.accesses.len() > MANY {
            write_leads(&tables, leads);
        }
    }

    /// Writes the leads that are left.
    pub(crate) fn fill_leads(&self, mut leads: Leads) {
        let _changing = lock(&self.changing);
        write_leads(&self.tables(), &mut leads);
    }
}

/// The buckets of contents whose ids begin with a byte.
fn keys_of(tables: &Tables, first: u8) -> Vec<[u8; 3]> {
    let start = [first, 0, 0];
    (tables.from(Table::Contents, Bound::Included(&start)))
        .map_while(|(key, _)| key.try_into().ok())
        .take_while(|key: &[u8; 3]| key[0] == first)
        .collect()
}

fn write_leads(tables: &Tables, leads: &mut Leads) {
    let mut accesses = std::mem::take(&mut leads.accesses);
    accesses.sort_unstable();
    for key in accesses {
        tables.insert(Table::ByAccess, &key, &[]);
    }
    let mut names = std::mem::take(&mut leads.names);
    names.sort_unstable();
    // One name leads to one content.
    names.dedup_by_key(|row| row[..NAME_START].to_vec());
    for new in names.chunk_by(|a, b| bucket_of(a) == bucket_of(b)) {
        let there = tables.get(Table::Names, &bucket_of(&new[0]));
        let mut merged: Vec<&[u8]> = new.iter().map(<[u8; NAME_ROW]>::as_slice).collect();
        merged.extend(there.iter().flat_map(|bucket| rows(bucket)));
        merged.sort_by_key(|row| row.get(..NAME_START));
        // The sort is stable: what is new comes first.
        merged.dedup_by_key(|row| row.get(..NAME_START));
        store(tables, Table::Names, &new[0], &join(merged));
    }
}
