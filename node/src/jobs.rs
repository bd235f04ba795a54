//! Jobs: what they are, how they are kept, and who runs them.

mod destination;
mod document;
mod entry;
mod fetch;
mod handle;
mod job;
mod runner;
mod store;
mod task;
mod why;

pub use destination::check_destination;
pub use document::{ErrorDocument, FileDocument, JobDocument};
pub use fetch::{Fetch, FetchError, FetchProgress, FetchRequest, Fetched, Fetcher};
pub use handle::{Caller, Change, JobWatch, JobsHandle, NewFile, NewJob, Refusal, Taken};
pub use job::{Job, JobFile, JobId, JobIdError, JobType};
pub use store::{JobStore, StoreError};
pub use task::{JobsConfig, JobsTask};
pub use why::Why;
