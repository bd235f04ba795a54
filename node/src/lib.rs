//! Potluck's node: configuration, jobs, control API and command line, and the wiring
//! of cache, discovery and transfers into one running thing.
#![allow(
    dead_code,
    unused_imports,
    reason = "the commands that use it come next"
)]

pub mod cli;
pub mod config;
pub mod events;
pub mod jobs;
pub mod stats;
pub mod timestamp;
