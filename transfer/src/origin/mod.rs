//! The origin: the server that a URL names.
//!
//! [`OriginClient`] asks what a URL names now ([`OriginMeta`]) and fetches ranges of
//! exactly that version ([`OriginBody`]). It follows redirects by its own rules,
//! checks every answer against what was asked, and says of each failure whether
//! trying again can help ([`OriginError`]).

mod answer;
mod answer_fields;
mod beside;
mod body;
mod client;
mod client_files;
mod connector;
mod digest_fields;
mod encoding;
mod error;
mod link_field;
mod meta;
mod on_behalf;
mod options;
mod proxy;
mod redirect;
mod request;
mod roots;
mod socks;
mod version_marks;
mod wires;

pub(crate) use beside::{BesideError, manifest_by_name};
pub use body::OriginBody;
pub use client::{OriginClient, OriginConfig};
pub use error::OriginError;
pub use meta::{OriginMeta, RangeSupport};
pub use on_behalf::group_of_user;
pub use options::{ClientCertificate, OriginOptions, ProxyChoice, Redirects};
pub use request::OriginRequest;
pub use roots::RootsError;
pub use version_marks::VersionMarks;
