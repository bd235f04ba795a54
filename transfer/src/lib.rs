//! Moving bytes: origin clients, peer client, peer server, the engine.
