//! What jobs ask of whoever moves the bytes.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use potluck_cache::Lease;
use potluck_content::{ContentId, Digest, Entity, Validator};
use potluck_plan::{
    Accounting, FileRanges, JobError, JobKey, OriginTrouble, Priority, Retry, SwarmCounts,
};
use potluck_transfer::OriginOptions;
use tokio::sync::watch;

/// Moves one file at a time into the cache.
pub trait Fetcher: Send + Sync + 'static {
    /// Begins or resumes. Dropping the outcome stops it; what came stays.
    fn fetch(&self, request: FetchRequest) -> Fetch;

    /// Makes what was fetched durable: its job is about to say that it is here. What was
    /// lost on the way [says so](Lease::is_lost). Blocks.
    ///
    /// # Errors
    /// When the disk fails otherwise. Then it can be tried again.
    fn sync(&self) -> Result<(), JobError>;

    /// Vouches for a content: its job is completed. Blocks.
    fn validate(&self, content: &ContentId, entity: Option<&Entity>);

    /// Deletes what an unfinished fetch has left behind for its job alone: the job is
    /// over. What other jobs could go on from stays in the cache. Blocks.
    fn forget(&self, request: &FetchRequest, version: Option<&Entity>);
}

/// One file that is wanted.
#[derive(Debug, Clone)]
pub struct FetchRequest {
    /// The job, for its share of the bandwidth.
    pub job: JobKey,
    /// Which file of the job.
    pub file: usize,
    /// Where it comes from.
    pub url: String,
    /// Header fields for the origin.
    pub headers: Vec<(String, String)>,
    /// The user on whose behalf.
    pub owner: u32,
    /// How the origin is asked.
    pub options: Arc<OriginOptions>,
    /// The parts that are wanted, put together; the whole where there are none.
    pub ranges: Option<FileRanges>,
    /// What the whole must have.
    pub checksum: Option<Digest>,
    /// Whether what comes is for this job alone.
    pub for_itself: bool,
    /// Whether peers may be asked.
    pub use_peers: bool,
    /// How urgent it is.
    pub priority: Priority,
    /// What earlier tries counted.
    pub before: Accounting,
    /// How it went with the swarm in earlier tries.
    pub swarm_before: SwarmCounts,
    /// Where this process will put it: a copy may grow there while it comes.
    pub destination: Option<PathBuf>,
}

/// A fetch under way.
pub struct Fetch {
    /// How far it is.
    pub progress: watch::Receiver<FetchProgress>,
    /// How it ends.
    pub outcome: Pin<Box<dyn Future<Output = Result<Fetched, FetchError>> + Send>>,
}

/// What a fetch does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FetchPhase {
    /// Asking the origin what there is.
    #[default]
    Asking,
    /// Waiting for another transfer of the same content.
    Joined,
    /// Asking peers who has it.
    Searching,
    /// Bytes flow.
    Flowing,
    /// Checking the whole.
    Checking,
}

/// How far a fetch is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FetchProgress {
    /// Whether the origin has answered.
    pub connected: bool,
    /// What it does now.
    pub phase: FetchPhase,
    /// Bytes in the whole, once known.
    pub size: Option<u64>,
    /// The version, once known.
    pub validator: Option<Validator>,
    /// Where bytes came from so far.
    pub accounting: Accounting,
    /// How it goes with the swarm, earlier tries included.
    pub swarm: SwarmCounts,
    /// What makes the origin hard to fetch from, as far as it showed.
    pub troubles: Vec<OriginTrouble>,
}

/// A file that is here.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Its content, held until the job is over.
    pub lease: Lease,
    /// The origin's word for this version.
    pub validator: Option<Validator>,
    /// The origin's time of the last change.
    pub mtime: Option<SystemTime>,
    /// Where redirects led, where there were any.
    pub final_url: Option<String>,
    /// Fields of the origin's last answer.
    pub response_headers: Vec<(String, String)>,
    /// What makes the origin hard to fetch from, as far as it showed.
    pub troubles: Vec<OriginTrouble>,
    /// The version under which peers may find it; `None` when it is not to be shared.
    pub entity: Option<Entity>,
    /// Whether peers may have it once the job is completed.
    pub shareable: bool,
    /// Where its bytes came from.
    pub accounting: Accounting,
    /// How it went with the swarm, earlier tries included.
    pub swarm: SwarmCounts,
}

/// A fetch that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchError {
    /// What is wrong.
    pub error: JobError,
    /// Whether trying again can help.
    pub retry: Retry,
    /// What was counted until then.
    pub accounting: Accounting,
    /// How it went with the swarm until then, earlier tries included.
    pub swarm: SwarmCounts,
}
