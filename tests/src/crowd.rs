//! A crowd: several hosts that want the same files of one origin, each link with a rate,
//! and whatever is to bring the files to them: Potluck or a rival.
//!
//! A [`Scene`] says who wants what from when on. [`measure`] plays it in a lab of network
//! namespaces with the programs of one [`System`] and gives an [`Outcome`]: the copies
//! that the origin sent, when each host had everything, and how short that could have
//! been ([`bound`]). Every file that arrived is compared with the origin's.

mod aria2;
mod bound;
mod cache_box;
mod crew;
mod curl;
mod libtorrent;
mod load;
mod measure;
mod outcome;
mod potluck;
mod scene;
mod site;
mod system;
mod table;
mod torrent;

pub use bound::{Link, bound};
pub use load::{Load, Wanted};
pub use measure::measure;
pub use outcome::{Outcome, Sources};
pub use scene::{Part, Scene, Serving};
pub use site::Site;
pub use system::System;
pub use table::Table;
