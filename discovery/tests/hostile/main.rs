//! A member with the right certificate that does wrong: the node stays up, its other
//! peers notice nothing, and the liar loses its place.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod answers;
mod cbor;
mod forged_beacons;
mod questions;
mod rogue;
mod streams;
#[path = "../finding/support.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod support;
mod swarm_messages;
