//! Moving bytes: origin clients, peer client, peer server, the engine.

pub mod origin;
