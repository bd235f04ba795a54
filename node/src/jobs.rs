//! Jobs: what they are, how they are kept, and who runs them.

mod change;
mod checks;
mod destination;
mod document;
mod entry;
mod fetch;
mod handle;
mod hook;
mod job;
mod job_file;
mod job_id;
mod name_pattern;
mod query;
mod runner;
mod secret_store;
mod secrets;
mod store;
mod surroundings;
mod task;
mod why;

pub use change::{Change, JobTime};
pub use destination::check_destination;
pub use document::{ErrorDocument, FileDocument, JobDocument};
pub use fetch::{Fetch, FetchError, FetchProgress, FetchRequest, Fetched, Fetcher};
pub use handle::{Caller, JobWatch, JobsHandle, NewFile, NewJob, Refusal, Taken};
pub use hook::{Hook, HookCause, HookDue, HookRules};
pub use job::{Job, JobType};
pub use job_file::JobFile;
pub use job_id::{JobId, JobIdError};
pub use query::JobQuery;
pub use secret_store::SecretStore;
pub use secrets::{CredentialKind, Credentials, FileSecrets, JobSecrets, Secret};
pub use store::{JobStore, StoreError};
pub use surroundings::Surroundings;
pub use task::{JobsConfig, JobsTask};
pub use why::Why;
