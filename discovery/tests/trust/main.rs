//! Domains, joining and refusals over real sockets on loopback.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod handshakes;
mod holding;
mod join_flood;
mod joining;
mod leaving;
mod offline;
mod refusals;
mod renewing;
mod seeking;
mod support;
