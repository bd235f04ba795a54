//! Making the index again from the files.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc;
use std::thread;

use potluck_content::ContentId;

use crate::CacheError;
use crate::data_dir::DataDir;
use crate::index::Index;
use crate::index_fill::{Found, Leads};
use crate::index_row::facts_names;
use crate::meta::Meta;
use crate::scan::{entry, list_shelf, usable};

/// Who read sidecars at once: enough for a disk to be busy, few enough for a node that
/// serves meanwhile.
const THREADS: usize = 4;

/// Contents after which it is said how far it is.
const STEP: u64 = 100_000;

/// Makes the index say what the files say. Only when contents were used is kept, because
/// no file has it. Says how many contents there are.
pub(crate) fn rebuild(dir: &DataDir, index: &Index) -> Result<u64, CacheError> {
    index.begin_again();
    let next = AtomicU16::new(0);
    let next = || u8::try_from(next.fetch_add(1, Ordering::Relaxed)).ok();
    let (give, shelves) = mpsc::sync_channel(THREADS);
    let mut leads = Leads::default();
    let mut contents = 0;
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let give = give.clone();
            scope.spawn(move || {
                while let Some(first) = next() {
                    if give.send((first, read_shelf(dir, index, first))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(give);
        for (first, found) in shelves {
            let found = found?;
            let before = contents / STEP;
            contents += found.len() as u64;
            index.fill_shelf(first, found, &mut leads);
            if contents / STEP > before {
                tracing::info!(contents, "index is being made again");
            }
        }
        Ok::<_, CacheError>(())
    })?;
    index.fill_leads(leads);
    if contents > 0 {
        tracing::info!(contents, "index made again");
    }
    Ok(contents)
}

/// Reads the sidecars of all contents whose ids begin with a byte.
fn read_shelf(dir: &DataDir, index: &Index, first: u8) -> Result<Vec<Found>, CacheError> {
    let found = |id: ContentId| {
        let meta = usable(dir, &id, index.get(&id).as_ref(), Meta::look)?;
        Some(Found {
            id,
            entry: entry(&meta, None),
            names: facts_names(&id, &meta.facts),
        })
    };
    Ok(list_shelf(dir, first)?
        .into_iter()
        .filter_map(found)
        .collect())
}
