//! A crowd that wants the same file at the same time, simulated: as many hosts as one
//! likes on a made-up clock and network, each deciding by the very code that a real one
//! runs (`potluck-plan`).
//!
//! [`CrowdSettings`] say who takes part and how, [`Crowd`] is the network with the hosts,
//! [`CrowdReport`] what came of it. The same settings give the same run.

mod auditing;
mod bound;
mod distrust;
mod event;
mod flow;
mod hostile;
mod line;
mod mail;
mod member_host;
mod network;
mod report;
mod scene;
mod serving;
mod settings;
mod taking;

pub use bound::least_time;
pub use network::Crowd;
pub use report::{CrowdReport, HostReport};
pub use scene::Scene;
pub use settings::{CrowdSettings, Fate, HostSettings, Manner, mbit};
