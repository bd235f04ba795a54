//! The real program, as its user sees it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod cli {
    mod cache;
    mod daemon;
    mod get;
    mod jobs;
    mod origin;
    mod usage;
    mod world;
}
