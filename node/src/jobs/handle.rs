//! The way to the jobs for everybody else.

use std::sync::Arc;
use std::time::SystemTime;

use potluck_cache::Lease;
use potluck_content::{ContentId, Digest};
use potluck_plan::{FileRange, JobError, JobRefusal, LimitReached, Priority};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Change, JobDocument, JobId, JobPage, JobQuery, StoreError, Why};

/// Who asks: the user at the other end of the control socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The user id.
    pub uid: u32,
}

/// A job that somebody wants.
#[derive(Debug, Clone, Default)]
pub struct NewJob {
    /// What to call it.
    pub name: String,
    /// How urgent it is.
    pub priority: Priority,
    /// Whether it may take from peers; `None` leaves it to the settings.
    pub use_peers: Option<bool>,
    /// What else is to be set.
    pub changes: Vec<Change>,
    /// What it is to transfer.
    pub files: Vec<NewFile>,
    /// Whether it is to begin at once; otherwise it is suspended, as in BITS.
    pub start: bool,
    /// Whether the daemon is to complete it.
    pub detached: bool,
}

/// A file that somebody wants.
#[derive(Debug, Clone, Default)]
pub struct NewFile {
    /// Where it comes from.
    pub url: String,
    /// Where it goes.
    pub path: std::path::PathBuf,
    /// Header fields for the origin.
    pub headers: Vec<(String, String)>,
    /// Header fields that are shown to nobody.
    pub secret_headers: Vec<(String, String)>,
    /// What the whole must have.
    pub checksum: Option<Digest>,
    /// The parts of it that are wanted; none are the whole.
    pub ranges: Vec<FileRange>,
}

/// Why a call was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No job that this user may see has that name.
    #[error("there is no job {0}")]
    NoSuchJob(String),
    /// Several jobs begin with that.
    #[error("several jobs begin with {0}: write more of the id")]
    Ambiguous(String),
    /// The job has no such file, or it is not here yet.
    #[error("the job has no finished file {0}")]
    NoSuchFile(usize),
    /// The state of the job does not allow it.
    #[error(transparent)]
    State(#[from] JobRefusal),
    /// There are too many.
    #[error(transparent)]
    Limit(#[from] LimitReached),
    /// A URL, a path or a header field is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The file cannot go where it should.
    #[error("{0}")]
    Destination(JobError),
    /// The files are just being put in their places.
    #[error("the job is just being completed: wait until that is done")]
    Busy,
    /// What is under way must not be sent twice, and would have to be.
    #[error("the request is under way and is not sent twice: wait for its end, or suspend the job")]
    Once,
    /// The daemon runs as another user: the caller must write the files itself.
    #[error("the daemon may not write files for this user: fetch them and complete then")]
    CallerPlaces,
    /// Only others may do that.
    #[error("{0}")]
    NotAllowed(String),
    /// The job could not be kept.
    #[error("the job cannot be kept: {0}")]
    Store(#[from] StoreError),
    /// The node stops.
    #[error("the node is stopping")]
    Stopping,
}

impl Refusal {
    /// Which of these it is, in a fixed word.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NoSuchJob(_) => "no_such_job",
            Self::Ambiguous(_) => "ambiguous",
            Self::NoSuchFile(_) => "no_such_file",
            Self::State(_) => "state",
            Self::Limit(_) => "limit",
            Self::Invalid(_) => "invalid",
            Self::Destination(_) => "destination",
            Self::Busy => "busy",
            Self::Once => "once",
            Self::CallerPlaces => "caller_places",
            Self::NotAllowed(_) => "not_allowed",
            Self::Store(_) => "store",
            Self::Stopping => "stopping",
        }
    }
}

/// A finished file, for a caller who writes it with its own rights.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Its bytes.
    pub lease: Lease,
    /// The origin's time of the last change.
    pub mtime: Option<SystemTime>,
}

/// A state of a job, as it changes.
pub type JobWatch = watch::Receiver<Arc<JobDocument>>;

pub(super) type Reply<T> = oneshot::Sender<Result<T, Refusal>>;

pub(super) enum Command {
    Create(Caller, Box<NewJob>, Reply<Arc<JobDocument>>),
    CreateMany(Caller, Vec<NewJob>, Reply<Vec<JobId>>),
    Add(Caller, String, Vec<NewFile>, Reply<Arc<JobDocument>>),
    List(Caller, JobQuery, Reply<JobPage>),
    Watch(Caller, String, Reply<JobWatch>),
    Resume(Caller, String, Reply<Arc<JobDocument>>),
    Suspend(Caller, String, Reply<Arc<JobDocument>>),
    Cancel(Caller, String, Reply<Arc<JobDocument>>),
    Set(Caller, String, Vec<Change>, Reply<Arc<JobDocument>>),
    Complete(Caller, String, Option<Vec<usize>>, Reply<Arc<JobDocument>>),
    TakeOver(Caller, String, Reply<Arc<JobDocument>>),
    Validate(Caller, String, usize, bool, Reply<Arc<JobDocument>>),
    Take(Caller, String, usize, Reply<Taken>),
    Why(Caller, String, Reply<Why>),
    Invalidate(ContentId, Reply<Vec<JobId>>),
}

impl Command {
    /// Whether whoever asked has gone before anything was done. What is not what it should
    /// be is taken from the jobs all the same.
    pub(super) fn is_abandoned(&self) -> bool {
        match self {
            Self::Create(_, _, reply)
            | Self::Add(_, _, _, reply)
            | Self::Resume(_, _, reply)
            | Self::Suspend(_, _, reply)
            | Self::Cancel(_, _, reply)
            | Self::Set(_, _, _, reply)
            | Self::Complete(_, _, _, reply)
            | Self::TakeOver(_, _, reply)
            | Self::Validate(_, _, _, _, reply) => reply.is_closed(),
            Self::CreateMany(_, _, reply) => reply.is_closed(),
            Self::List(_, _, reply) => reply.is_closed(),
            Self::Watch(_, _, reply) => reply.is_closed(),
            Self::Take(_, _, _, reply) => reply.is_closed(),
            Self::Why(_, _, reply) => reply.is_closed(),
            Self::Invalidate(_, _) => false,
        }
    }
}

/// A handle on the jobs of a node. Cheap to clone. Jobs are named by id or unique prefix.
#[derive(Clone)]
pub struct JobsHandle(pub(super) mpsc::Sender<Command>);

impl JobsHandle {
    /// Makes a job.
    ///
    /// # Errors
    /// When it is wrong or one too many.
    pub async fn create(&self, by: Caller, job: NewJob) -> Result<Arc<JobDocument>, Refusal> {
        self.ask(|reply| Command::Create(by, Box::new(job), reply))
            .await
    }

    /// Makes many jobs with one sync of the disk: all of them, or none. Gives their ids
    /// in the same order.
    ///
    /// # Errors
    /// When one of them is wrong or one too many.
    pub async fn create_many(&self, by: Caller, jobs: Vec<NewJob>) -> Result<Vec<JobId>, Refusal> {
        self.ask(|reply| Command::CreateMany(by, jobs, reply)).await
    }

    /// Adds files to a job.
    ///
    /// # Errors
    /// As [`Refusal`] says.
    pub async fn add(
        &self,
        by: Caller,
        job: String,
        files: Vec<NewFile>,
    ) -> Result<Arc<JobDocument>, Refusal> {
        self.ask(|reply| Command::Add(by, job, files, reply)).await
    }

    /// The jobs that the caller may see and that the query fits, the oldest first, a page of
    /// them.
    ///
    /// # Errors
    /// When the query goes on after a job that is not there, or the node stops.
    pub async fn list(&self, by: Caller, query: JobQuery) -> Result<JobPage, Refusal> {
        self.ask(|reply| Command::List(by, query, reply)).await
    }

    /// One job.
    ///
    /// # Errors
    /// As [`Refusal`] says.
    pub async fn show(&self, by: Caller, job: String) -> Result<Arc<JobDocument>, Refusal> {
        Ok(Arc::clone(&self.watch(by, job).await?.borrow()))
    }

    /// One job as it changes.
    ///
    /// # Errors
    /// As [`Refusal`] says.
    pub async fn watch(&self, by: Caller, job: String) -> Result<JobWatch, Refusal> {
        self.ask(|reply| Command::Watch(by, job, reply)).await
    }

    /// Lets a job run.
    ///
    /// # Errors
    /// As [`Refusal`] says.
    pub async fn resume(&self, by: Caller, job: String) -> Result<Arc<JobDocument>, Refusal> {
        self.ask(|reply| Command::Resume(by, job, reply)).await
    }

    /// Stops a job for now.
    ///
    /// # Errors
    /// As [`Refusal`] says.
    pub async fn suspend(&self, by: Caller, job: String) -> Result<Arc<JobDocument>, Refusal> {
        self.ask(|reply| Command::Suspend(by, job, reply)).await
    }

    /// Gives a job up.
    ///
    /// # Errors
    /// As [`Refusal`] says.
    pub async fn cancel(&self, by: Caller, job: String) -> Result<Arc<JobDocument>, Refusal> {
        self.ask(|reply| Command::Cancel(by, job, reply)).await
    }

    /// Changes properties of a job: all of them, or none when one is refused.
    ///
    /// # Errors
    /// As [`Refusal`] says.
    pub async fn set(
        &self,
        by: Caller,
        job: String,
        changes: Vec<Change>,
    ) -> Result<Arc<JobDocument>, Refusal> {
        self.ask(|reply| Command::Set(by, job, changes, reply))
            .await
    }

    /// Makes a job root's. What its owner gave it to act in their name goes: credentials,
    /// certificates, header fields and hooks.
    ///
    /// # Errors
    /// [`Refusal::NotAllowed`] for everybody but root.
    pub async fn take_over(&self, by: Caller, job: String) -> Result<Arc<JobDocument>, Refusal> {
        self.ask(|reply| Command::TakeOver(by, job, reply)).await
    }

    /// Says of a finished file whether it is what it should be. One that is goes to peers
    /// from now on. One that is not is fetched again from the origin alone, where any of it
    /// came from elsewhere; else its job is in error.
    ///
    /// # Errors
    /// [`Refusal::NoSuchFile`] when it is not here.
    pub async fn validate(
        &self,
        by: Caller,
        job: String,
        file: usize,
        good: bool,
    ) -> Result<Arc<JobDocument>, Refusal> {
        self.ask(|reply| Command::Validate(by, job, file, good, reply))
            .await
    }

    /// Puts the finished files in their places and ends the job; `placed` names those
    /// that the caller has put there: the others are given up.
    ///
    /// # Errors
    /// [`Refusal::CallerPlaces`] when only the caller may write them.
    pub async fn complete(
        &self,
        by: Caller,
        job: String,
        placed: Option<Vec<usize>>,
    ) -> Result<Arc<JobDocument>, Refusal> {
        self.ask(|reply| Command::Complete(by, job, placed, reply))
            .await
    }

    /// A finished file.
    ///
    /// # Errors
    /// As [`Refusal`] says.
    pub async fn take(&self, by: Caller, job: String, file: usize) -> Result<Taken, Refusal> {
        self.ask(|reply| Command::Take(by, job, file, reply)).await
    }

    /// Why a job does not move.
    ///
    /// # Errors
    /// As [`Refusal`] says.
    pub async fn why(&self, by: Caller, job: String) -> Result<Why, Refusal> {
        self.ask(|reply| Command::Why(by, job, reply)).await
    }

    /// Takes a content that is not what it should be from the jobs that wait to be
    /// completed with it: they fetch it again from the origin, or fail where the origin
    /// itself gave it. Gives these jobs. Not for every caller: whoever may see the cache.
    ///
    /// # Errors
    /// When the node stops.
    pub async fn invalidate(&self, content: ContentId) -> Result<Vec<JobId>, Refusal> {
        self.ask(|reply| Command::Invalidate(content, reply)).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.0
            .send(command(reply))
            .await
            .map_err(|_| Refusal::Stopping)?;
        answer.await.map_err(|_| Refusal::Stopping)?
    }
}
