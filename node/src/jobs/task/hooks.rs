//! Calling the hooks of jobs, again and again until they succeed.

use std::time::SystemTime;

use serde_json::json;
use tokio::task::JoinSet;

use super::{JobsTask, now};
use crate::jobs::hook::{HookCall, HookCause, HookDue, HookRules};
use crate::jobs::hook_turns::HookTurns;
use crate::jobs::{Hook, Job, JobId, Refusal};

/// The calls that are to be made, and those under way.
pub(super) struct HookDesk {
    rules: HookRules,
    turns: HookTurns,
    /// With their owners.
    running: JoinSet<(u32, Ended)>,
}

/// What a call came to: which job's, which of its calls, and how it ended.
type Ended = (JobId, HookDue, Result<(), String>);

/// A call that has ended; nothing when one is due.
pub(super) type HookNews = Option<Ended>;

impl HookDesk {
    pub(super) fn new(rules: HookRules) -> Self {
        Self {
            rules,
            turns: HookTurns::default(),
            running: JoinSet::new(),
        }
    }

    /// Returns when a call has ended, or is due and may be made.
    pub(super) async fn news(&mut self) -> HookNews {
        let wait = self.turns.next_at();
        let wait = wait.map(|at| at.duration_since(now()).unwrap_or_default());
        let due = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(done) = self.running.join_next() => match done {
                Ok((owner, ended)) => {
                    self.turns.end(owner);
                    Some(ended)
                }
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => None,
            },
            () = due => None,
        }
    }

    /// Kills what runs: it is called again after the restart.
    pub(super) async fn stop(&mut self) {
        self.running.shutdown().await;
    }
}

impl JobsTask {
    /// Which hooks jobs may have.
    pub(super) fn hook_rules(&self) -> HookRules {
        self.hooks.rules.clone()
    }

    /// A job came out in a way that a hook may be told of. The caller keeps the job.
    pub(super) fn tell_hook(&mut self, id: JobId, cause: HookCause) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if hook_of(&entry.job, cause).is_some() {
            entry.job.hook_due = Some(HookDue::new(cause, now()));
            self.remember_hook(id);
        }
    }

    /// A call of before, or of now, is to be made.
    pub(super) fn remember_hook(&mut self, id: JobId) {
        let job = self.entries.get(&id).map(|entry| &entry.job);
        if let Some((job, due)) = job.and_then(|job| Some((job, job.hook_due.as_ref()?))) {
            self.hooks.turns.remember(job.owner, due.at, id);
        }
    }

    pub(super) async fn on_hook_news(&mut self, news: HookNews) {
        if let Some((id, called, result)) = news {
            self.on_hook_ended(id, called, result).await;
        }
        let now = now();
        while let Some((at, id)) = self.hooks.turns.take(now) {
            self.call_hook(id, at);
        }
    }

    fn call_hook(&mut self, id: JobId, at: SystemTime) {
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        let job = &entry.job;
        // Another call took its place, or the hook was taken off the job.
        let due = job.hook_due.as_ref().filter(|due| due.at == at);
        let Some(called) = due.cloned() else {
            return;
        };
        let Some(hook) = hook_of(job, called.cause).cloned() else {
            return;
        };
        let call = HookCall {
            rules: self.hooks.rules.clone(),
            owner: job.owner,
            environment: [
                ("POTLUCK_JOB", id.to_string()),
                ("POTLUCK_STATE", job.state().to_string()),
                ("POTLUCK_NAME", plain(&job.name)),
            ],
            hook,
        };
        let fields = json!({ "program": call.hook.program });
        self.record(id, "hook_started", &fields);
        let owner = call.owner;
        self.hooks.turns.begin(owner);
        let running = &mut self.hooks.running;
        running.spawn(async move { (owner, (id, called, call.run().await)) });
    }

    async fn on_hook_ended(&mut self, id: JobId, called: HookDue, result: Result<(), String>) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let fields = match &result {
            Ok(()) => json!({ "status": "done" }),
            Err(error) => json!({ "status": "failed", "error": error }),
        };
        // The job may have come out in another way meanwhile: that call is still to be made.
        let is_due = entry.job.hook_due.as_ref() == Some(&called);
        if is_due {
            match result {
                Ok(()) => entry.job.hook_due = None,
                Err(_) => entry.job.hook_due = Some(called.put_off(now())),
            }
            self.remember_hook(id);
        }
        self.record(id, "hook_ended", &fields);
        if is_due {
            self.keep(id).await;
        }
    }
}

/// Whether a job may have the hooks that it has.
pub(super) fn check_hooks(rules: &HookRules, job: &Job) -> Result<(), Refusal> {
    let hooks = job.on_complete.iter().chain(&job.on_error);
    for hook in hooks {
        let checked = rules.check(&hook.program, job.owner);
        checked.map_err(Refusal::NotAllowed)?;
    }
    Ok(())
}

/// A name as a program can be told it. Names from before may have anything in them.
fn plain(name: &str) -> String {
    name.replace(char::is_control, " ")
}

fn hook_of(job: &Job, cause: HookCause) -> Option<&Hook> {
    match cause {
        HookCause::Complete => job.on_complete.as_ref(),
        HookCause::Error => job.on_error.as_ref(),
    }
}
