//! Potluck's node: configuration, jobs, control API and command line, and the wiring
//! of cache, discovery and transfers into one running thing.

pub mod api;
pub mod cli;
pub mod client;
pub mod config;
pub mod contents;
pub mod demo;
pub mod doctor;
mod engine_fetcher;
pub mod events;
pub mod hand_over;
pub mod jobs;
pub mod node;
pub mod peering;
mod public_url;
pub mod publish;
mod refusal_log;
mod revocation;
mod scrub;
pub mod stats;
pub mod timestamp;

pub use node::{Node, NodeError};
