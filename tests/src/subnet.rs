//! A simulated subnet: as many nodes as one likes on a made-up clock, each deciding by
//! the very code that a real one runs (`potluck-near`).
//!
//! [`SubnetNode`] stands for the drivers around that code, [`Subnet`] for the network
//! between the nodes, [`Story`] for what happens to them. The same seed gives the same
//! run. Datagrams may be lost; connections take some milliseconds, are refused by full
//! nodes, and notice a peer that has vanished by its silence only.

mod calls;
mod connections;
mod event;
mod network;
mod node;
mod report;
mod story;
mod traffic;
mod world;

pub use connections::Lost;
pub use node::SubnetNode;
pub use report::{Quantiles, Report, StoryPart};
pub use story::Story;
pub use traffic::{Kind, Traffic};
pub use world::{Subnet, SubnetSettings};
