//! The lab: several hosts on one machine, a real web server as the origin, and the
//! real program on every host. The end-to-end tests in `tests/e2e` and the
//! benchmarks in `tests/bench` are written with it.
//!
//! [`Lab`] makes the hosts, as network namespaces on a bridge where it may, else as
//! addresses in 127.0.0.0/8. [`Node`] is Potluck on one host, driven by its command
//! line only; [`TwoUsers`] share one. [`Nginx`] is an honest origin, [`BadOrigin`] one that misbehaves, [`ScriptedOrigin`] one that a
//! test writes, [`WebServer`] one that others wrote.
//! Everything that was started is ended and removed when the lab is dropped.

mod accept;
mod ambush;
mod bad_origin;
mod blob;
mod circle;
mod contest;
mod control;
mod cost;
mod credulous;
pub mod crowd;
pub mod crowd_sim;
mod event_queue;
mod lab;
mod liar;
mod needle;
mod nginx;
mod node;
mod papers;
mod process;
mod scripted_origin;
mod stranger;
pub mod subnet;
mod two_users;
mod user;
mod wait;
mod web_server;
mod wiretap;

pub use ambush::{Ambush, Seen};
pub use bad_origin::{BadOrigin, Misdeed};
pub use blob::{Blob, big_file, file_of};
pub use circle::{circle, start_circle};
pub use contest::{CONTESTANTS, Contest, SIZES};
pub use control::Control;
pub use cost::{Cost, children_cpu, forget_peak, peak_memory};
pub use lab::{Counters, Host, Lab, LabKind};
pub use liar::{Liar, Lie};
pub use needle::Needle;
pub use nginx::{Nginx, Request};
pub use node::{Node, Outcome, bytes_of};
pub use papers::{Mistake, Papers, mistakes};
pub use process::Process;
pub use scripted_origin::{Asked, ScriptedOrigin, Then};
pub use stranger::{Answer, call, call_in_plain_text};
pub use two_users::{TwoUsers, text};
pub use user::User;
pub use wait::{poll, until};
pub use web_server::WebServer;
pub use wiretap::Wiretap;
