//! How much of the index can be believed when the cache is opened.

use std::fs;
use std::process;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use potluck_content::ContentId;

use crate::changes::{Changes, last_generation, read_journals};
use crate::data_dir::DataDir;
use crate::index::Index;
use crate::journal::{Header, Journal};
use crate::rebuild::rebuild;
use crate::scan::{compare_names, settle};
use crate::shelf::micros;
use crate::standing::{Standing, Totals};
use crate::together::together;
use crate::unsynced::Unsynced;
use crate::{CacheError, Notice};

/// What the journals say of the index.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The last owner closed it.
    Closed { standing: Standing, generation: u64 },
    /// The last owner died. The index is as it was at some time since it was synced.
    CutOff {
        standing: Standing,
        /// The number of the last journal.
        generation: u64,
        /// The contents that changed since the sync.
        ids: Vec<ContentId>,
        /// Whether the machine went down too: then names may have come back that were
        /// removed, and their removal may not be noted.
        machine_down: bool,
    },
    /// It does not fit the files.
    Doubtful(&'static str),
}

/// What a cache begins with.
pub(crate) struct Started {
    pub(crate) changes: Changes,
    /// Where they need not be counted.
    pub(crate) totals: Option<Totals>,
    /// Contents that may not be durable.
    pub(crate) unsynced: Unsynced,
}

/// Brings the index in line with the files and begins to note changes.
pub(crate) fn start(dir: &DataDir, index: &Index) -> Result<Started, CacheError> {
    let boot = this_boot();
    let header = |cache| Header {
        cache,
        boot: boot.unwrap_or("-").to_owned(),
    };
    let verdict = match (read_journals(dir)?, index.standing()) {
        (None, _) => Verdict::Doubtful("a journal cannot be read"),
        (Some(journals), standing) => judge(journals, standing, boot),
    };
    let mut unsynced = Unsynced::default();
    let (cache, generation) = match verdict {
        Verdict::Closed {
            standing,
            generation,
        } => {
            return Ok(Started {
                changes: Changes::begin(dir, header(standing.cache), generation)?,
                totals: standing.totals,
                unsynced,
            });
        }
        Verdict::CutOff {
            standing,
            generation,
            ids,
            machine_down,
        } => {
            tracing::info!(
                changed = ids.len(),
                machine_down,
                "index is settled after a crash"
            );
            for id in ids {
                if settle(dir, index, &id) {
                    unsynced.insert(id);
                }
            }
            if machine_down {
                compare_names(dir, index)?;
            }
            (standing.cache, generation)
        }
        Verdict::Doubtful(reason) => {
            tracing::info!(reason, "index is made from the files");
            // Of an empty cache, as every one is once, there is nothing to tell.
            if rebuild(dir, index)? > 0 {
                let reason = reason.to_owned();
                dir.notices.add(Notice::IndexRebuilt { reason });
            }
            // Which contents are not durable nobody knows any more.
            dir.sync_all()?;
            // Whatever turns up of the old one is then another's.
            (new_name(), last_generation(dir))
        }
    };
    // What is gone by now must not come back when something of that name is here again.
    let shelves = together((0..=u8::MAX).collect(), |first| dir.sync_shelf(first));
    shelves.into_iter().collect::<Result<(), _>>()?;
    let changes = Changes::begin(dir, header(cache.clone()), generation + 1)?;
    let standing = Standing {
        cache,
        generation,
        totals: None,
    };
    // Where it is not durable, the new name of the cache makes the next start doubt it.
    index.sync(&standing);
    changes.forget(generation);
    Ok(Started {
        changes,
        totals: None,
        unsynced,
    })
}

fn judge(journals: Vec<Journal>, standing: Option<Standing>, boot: Option<&str>) -> Verdict {
    let Some(standing) = standing else {
        return Verdict::Doubtful("it says nothing of itself");
    };
    if (journals.iter()).any(|journal| journal.header.cache != standing.cache) {
        return Verdict::Doubtful("it is of another cache");
    }
    // Left over when the last sync was cut off.
    let is_open = |journal: &Journal| journal.generation > standing.generation;
    let journals: Vec<_> = journals.into_iter().filter(is_open).collect();
    let numbers = journals.iter().map(|journal| journal.generation);
    if !numbers.eq((standing.generation + 1..).take(journals.len())) {
        return Verdict::Doubtful("it is older than the journals");
    }
    let Some(last) = journals.last() else {
        return Verdict::Doubtful("its journal is gone");
    };
    let generation = last.generation;
    if journals.len() == 1 && last.closed && last.ids.is_empty() && !last.torn {
        return Verdict::Closed {
            standing,
            generation,
        };
    }
    let machine_down = (journals.iter()).any(|journal| Some(&*journal.header.boot) != boot);
    let mut ids: Vec<_> = journals.into_iter().flat_map(|j| j.ids).collect();
    ids.sort_unstable();
    ids.dedup();
    Verdict::CutOff {
        standing,
        generation,
        ids,
        machine_down,
    }
}

/// Tells the runs of the kernel apart.
pub(crate) fn this_boot() -> Option<&'static str> {
    static BOOT: LazyLock<Option<String>> = LazyLock::new(|| {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(id.trim().to_owned()).filter(|id| !id.is_empty())
    });
    BOOT.as_deref()
}

/// When this run of the kernel began, as the clock goes now.
pub(crate) fn booted() -> Option<SystemTime> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    let since_1970 = Duration::from_secs(seconds.trim().parse().ok()?);
    SystemTime::UNIX_EPOCH.checked_add(since_1970)
}

/// A name that no other cache has.
fn new_name() -> String {
    match fs::read_to_string("/proc/sys/kernel/random/uuid") {
        Ok(name) => name.trim().to_owned(),
        Err(_) => format!("{}-{}", micros(SystemTime::now()), process::id()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(generation: u64) -> Standing {
        Standing {
            cache: "c".to_owned(),
            generation,
            totals: None,
        }
    }

    fn journal(generation: u64) -> Journal {
        Journal {
            generation,
            header: Header {
                cache: "c".to_owned(),
                boot: "b".to_owned(),
            },
            ids: vec![ContentId::of(b"a")],
            closed: false,
            torn: false,
        }
    }

    fn is_doubtful(journals: Vec<Journal>, synced: Option<Standing>) -> bool {
        matches!(judge(journals, synced, Some("b")), Verdict::Doubtful(_))
    }

    #[test]
    fn only_what_changed_is_looked_at() {
        let found = judge(vec![journal(7), journal(8)], Some(standing(6)), Some("b"));
        let expected = Verdict::CutOff {
            standing: standing(6),
            generation: 8,
            ids: vec![ContentId::of(b"a")],
            machine_down: false,
        };
        assert_eq!(found, expected);
        // The sync was cut off before it removed the old journal.
        let later = judge(vec![journal(7), journal(8)], Some(standing(7)), Some("b"));
        assert!(matches!(later, Verdict::CutOff { generation: 8, .. }));
    }

    #[test]
    fn another_run_of_the_kernel_means_that_the_machine_went_down() {
        for boot in [Some("other"), None] {
            let found = judge(vec![journal(7)], Some(standing(6)), boot);
            assert!(matches!(
                found,
                Verdict::CutOff {
                    machine_down: true,
                    ..
                }
            ));
        }
    }

    #[test]
    fn a_closed_cache_is_believed() {
        let closed = Journal {
            closed: true,
            ids: Vec::new(),
            ..journal(7)
        };
        let found = judge(vec![closed], Some(standing(6)), Some("other"));
        assert!(matches!(found, Verdict::Closed { generation: 7, .. }));
    }

    #[test]
    fn an_index_that_lost_what_was_synced_is_not_believed() {
        assert!(is_doubtful(vec![journal(7)], None));
        assert!(is_doubtful(vec![journal(7)], Some(standing(5))));
        assert!(is_doubtful(vec![], Some(standing(6))));
        assert!(is_doubtful(vec![journal(7), journal(9)], Some(standing(6))));
        let other = Standing {
            cache: "other".to_owned(),
            ..standing(6)
        };
        assert!(is_doubtful(vec![journal(7)], Some(other)));
    }
}
