//! A job with what is known of it only while the node runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use potluck_cache::Lease;
use potluck_content::Validator;
use potluck_plan::{JobKey, Priority};
use potluck_transfer::OriginOptions;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::handle::Reply;
use super::{FetchPhase, FetchRequest, Job, JobDocument, JobFile, JobId, JobSecrets, JobWatch};

/// Stands for the document of a job that nobody watches.
static NOTHING: LazyLock<Arc<JobDocument>> = LazyLock::new(|| {
    let nobody = Job::new(JobId::from_key(JobKey(0)), 0, SystemTime::UNIX_EPOCH);
    Arc::new(JobDocument::from(&nobody))
});

/// One job in the hands of the task that owns them all.
pub(super) struct Entry {
    pub(super) job: Job,
    /// What its origins are told and nobody else.
    pub(super) secrets: JobSecrets,
    /// Finished files, held until the job is over. By their place in the job.
    pub(super) leases: BTreeMap<usize, Lease>,
    /// The run under way.
    pub(super) run: Option<Run>,
    /// Files are being put in their places; who waits for that is in here.
    pub(super) completing: Option<Option<Reply<Arc<JobDocument>>>>,
    shown: watch::Sender<Arc<JobDocument>>,
}

pub(super) struct Run {
    pub(super) number: u64,
    /// The files that are on their way.
    pub(super) files: BTreeSet<usize>,
    pub(super) task: AbortHandle,
    /// What the file of the last news does.
    pub(super) phase: FetchPhase,
}

impl Entry {
    pub(super) fn new(mut job: Job, secrets: JobSecrets) -> Self {
        // Ten files in room for sixteen are much where there are ten thousand jobs.
        job.files.shrink_to_fit();
        Self {
            job,
            secrets,
            leases: BTreeMap::new(),
            run: None,
            completing: None,
            shown: watch::Sender::new(Arc::clone(&NOTHING)),
        }
    }

    /// How the job is now.
    pub(super) fn document(&self) -> Arc<JobDocument> {
        Arc::new(JobDocument::from(&self.job))
    }

    /// Tells those who watch how the job is now.
    pub(super) fn tell(&self) {
        if self.shown.receiver_count() > 0 {
            self.shown.send_replace(self.document());
        } else if !Arc::ptr_eq(&self.shown.borrow(), &NOTHING) {
            // Ten thousand jobs that nobody looks at need no documents.
            self.shown.send_replace(Arc::clone(&NOTHING));
        }
    }

    /// Tells those who watch, and the caller.
    pub(super) fn show(&self) -> Arc<JobDocument> {
        self.tell();
        self.document()
    }

    pub(super) fn watch(&self) -> JobWatch {
        let watch = self.shown.subscribe();
        self.shown.send_replace(self.document());
        watch
    }

    /// Stops the run under way, if there is one. Says which files were on their way.
    pub(super) fn stop_run(&mut self) -> BTreeSet<usize> {
        let Some(run) = self.run.take() else {
            return BTreeSet::new();
        };
        run.task.abort();
        run.files
    }

    /// What is still to be fetched, in order. `by_itself` says whether this process may put
    /// the files in their places: then it copies them while they come, where somebody waits
    /// for them or nobody has to be waited for.
    pub(super) fn unfinished(&self, use_peers: bool, by_itself: bool) -> Vec<FetchRequest> {
        let mut requests = self.requests(use_peers, |file| !file.is_transferred());
        let job = &self.job;
        let soon = job.detached || job.priority == Priority::Foreground;
        for request in requests.iter_mut().filter(|_| by_itself && soon) {
            let file = job.files.get(request.file);
            let file = file.filter(|file| file.path_of.is_none_or(|of| of == job.owner));
            request.destination = file.map(|file| file.path.clone());
        }
        requests
    }

    /// What is here, and in which version: to be looked at again where all files are to be
    /// of one time.
    pub(super) fn finished_versions(&self) -> Option<Vec<(FetchRequest, Option<Validator>)>> {
        self.wants_one_version().then(|| {
            let requests = self.requests(false, JobFile::is_transferred);
            let version = |request: FetchRequest| {
                let file = self.job.files.get(request.file);
                let validator = file.and_then(|file| file.validator.clone());
                (request, validator)
            };
            requests.into_iter().map(version).collect()
        })
    }

    /// Whether a change of one file concerns the others. What another method than GET did
    /// is not done again just to look.
    pub(super) fn wants_one_version(&self) -> bool {
        let job = &self.job;
        job.same_version && job.files.len() > 1 && job.origin.is_get()
    }

    fn requests(&self, use_peers: bool, wanted: impl Fn(&JobFile) -> bool) -> Vec<FetchRequest> {
        let options = Arc::new(self.secrets.options_of(&self.job.origin));
        let files = self.job.files.iter().enumerate();
        files
            .filter(|(_, file)| wanted(file))
            .map(|(index, file)| FetchRequest {
                job: self.job.id.key(),
                file: index,
                url: match file.is_foreign {
                    true => file.url.clone(),
                    false => self.secrets.url_of(index, &file.url),
                },
                headers: self.headers_of(index, file),
                owner: self.job.owner,
                options: match file.is_foreign {
                    true => Arc::new(without_certificate(&options)),
                    false => Arc::clone(&options),
                },
                ranges: file.ranges.clone(),
                checksum: file.checksum,
                for_itself: file.is_foreign,
                use_peers: use_peers && !file.from_origin,
                priority: self.job.priority,
                before: file.accounting,
                swarm_before: file.swarm_counts().unwrap_or_default(),
                destination: None,
            })
            .collect()
    }

    /// What the origin of a file is told. One that another origin named is told no more than
    /// what we call ourselves, as if the redirect were followed.
    fn headers_of(&self, index: usize, file: &JobFile) -> Vec<(String, String)> {
        let job = &self.job.headers;
        if !file.is_foreign {
            return self.secrets.headers_of(index, job, &file.headers);
        }
        let mut all = JobSecrets::default().headers_of(index, job, &file.headers);
        all.retain(|(name, _)| name.eq_ignore_ascii_case("user-agent"));
        all
    }

    pub(super) fn is_run(&self, number: u64) -> bool {
        self.run.as_ref().is_some_and(|run| run.number == number)
    }

    /// For the event log.
    pub(super) fn about(&self) -> Option<(String, u32)> {
        Some((self.job.id.to_string(), self.job.owner))
    }
}

/// How an origin is asked that the certificate of the job is not for.
fn without_certificate(options: &OriginOptions) -> OriginOptions {
    OriginOptions {
        client_certificate: None,
        ..options.clone()
    }
}
