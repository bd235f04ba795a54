//! Nodes that find, ask and lose each other over real sockets on loopback.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod ends;
mod given;
mod idle_callers;
mod multicast;
mod questions;
mod refused;
mod revoked;
mod statics;
mod support;
mod swarm_messages;
