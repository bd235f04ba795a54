//! The content cache: what is on this disk.
//!
//! Files are the truth. A complete content is a plain file under `contents/`, an
//! unfinished one a sparse file under `partial/`, each with a checksummed sidecar
//! that says everything about it. The index only makes looking up fast and is made
//! again from the files whenever it is lost or doubtful. Bytes are synced before
//! anything that claims them, so a crash never makes the cache believe more than is
//! on disk.
//!
//! This crate decides what is kept and what goes; where bytes come from and who may
//! see them is for others. Everything here blocks: call it from threads that may.
//! Linux only for now: it clones and copies files with Linux calls.

mod add;
mod admit;
mod age;
mod ahead;
mod cache;
mod changes;
mod check;
mod clear;
#[cfg(test)]
mod clock_tests;
mod config;
mod data_dir;
mod disk;
mod disk_room;
mod disk_watcher;
mod early_copy;
mod error;
mod eviction;
mod facts;
mod ghosts;
mod index;
mod index_bucket;
mod index_fill;
mod index_row;
mod index_urls;
mod inner;
mod journal;
mod lease;
mod list;
mod lru;
mod meta;
mod notice;
mod overview;
mod partial;
mod partial_finish;
mod partial_key;
mod partial_meta;
mod partial_open;
mod partial_reader;
mod piece_map;
mod place;
mod place_many;
mod placement;
mod plain;
mod rank;
mod rebuild;
mod room;
mod s3_fifo;
mod salvage;
mod scan;
mod shelf;
mod sidecar;
mod standing;
mod start;
mod sync;
mod sync_contents;
mod tables;
mod together;
mod unsynced;
mod victims;
mod written_log;

pub use cache::Cache;
pub use check::{Checked, CheckedPart};
pub use config::{Config, Limits, Usage};
pub use disk_room::Shortage;
pub use disk_watcher::{DiskStep, DiskWatcher};
pub use error::{CacheError, FinishError, PlaceError};
pub use eviction::{Candidate, Evicted, Eviction, EvictionPolicy, Heads, Verdict};
pub use facts::{ContentRecord, Facts, Held};
pub use lease::Lease;
pub use list::Filter;
pub use notice::{Damage, Notice};
pub use overview::{DiskUse, PartialRecord};
pub use partial::Partial;
pub use partial_key::{PartialKey, PartialSpec};
pub use partial_reader::PartialReader;
pub use piece_map::PutOutcome;
pub use place::place_file;
pub use place_many::{Wanted, place_many};
pub use placement::Placement;
pub use rank::{Queue, Rank};
