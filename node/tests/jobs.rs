//! The jobs of a node with a fetcher that does what the test says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod jobs {
    mod counting;
    mod hooks;
    mod life;
    mod listing;
    mod once;
    mod one_version;
    mod properties;
    mod refusals;
    mod restarts;
    mod secrets;
    mod turns;
    mod validating;
    mod waiting;
    mod world;
}
