//! Jobs that wait for something outside of them: stopped when it goes, queued when it
//! comes.

use std::net::Ipv4Addr;
use std::time::Duration;

use potluck_plan::{Condition, JobState, Rate, Retry};
use potluck_transfer::ProxyChoice;
use serde_json::json;
use tokio::time::Instant;
use url::{Host, Url};

use super::{JobsTask, now};
use crate::jobs::entry::Entry;
use crate::jobs::{Job, JobId, Refusal, Surroundings};

/// How often is looked for what nobody tells, while a job depends on it.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// So much more room is worth another try: 1 MiB.
const MORE_ROOM: u64 = 1 << 20;

/// Within so many milliseconds all are tried that failed on a way that has changed.
const HURRY_WITHIN_MS: u64 = 2_000;

/// What may have changed around the jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// There is a way out, another one, or none any more.
    Network,
    /// Something that nobody tells: it is time to look.
    Look,
}

/// What is known of the surroundings.
pub(super) struct Outlook {
    around: Surroundings,
    /// Free bytes at the last try that found no room.
    no_room_at: Option<u64>,
    /// When to look for what nobody tells; only while jobs depend on it.
    look_at: Option<Instant>,
    /// Whether there was a network when it was last looked for.
    had_network: bool,
}

impl Outlook {
    pub(super) const fn new(around: Surroundings) -> Self {
        Self {
            around,
            no_room_at: None,
            look_at: None,
            had_network: true,
        }
    }

    /// Returns when something may have changed.
    pub(super) async fn changed(&mut self) -> Sign {
        let look = async {
            match self.look_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let network = async {
            if self.around.network.changed().await.is_err() {
                // Nobody follows the network: then it stays as it is.
                std::future::pending().await
            }
        };
        tokio::select! {
            () = network => Sign::Network,
            () = look => Sign::Look,
        }
    }

    /// Where the system does not say it, nobody is.
    fn is_logged_in(&self, uid: u32) -> bool {
        (self.around.logged_in)(uid) == Some(true)
    }

    fn has_network(&self) -> bool {
        *self.around.network.borrow()
    }
}

/// Whether the system says whether the owner of a job is logged in, if the job has to know.
pub(super) fn check_sessions(around: &Surroundings, job: &Job) -> Result<(), Refusal> {
    if job.only_logged_in && (around.logged_in)(job.owner).is_none() {
        let message = "this system does not say who is logged in: \
            only_logged_in needs systemd-logind";
        return Err(Refusal::Invalid(message.to_owned()));
    }
    Ok(())
}

impl JobsTask {
    /// What goes on around the jobs.
    pub(super) fn surroundings(&self) -> Surroundings {
        self.outlook.around.clone()
    }

    /// What keeps a job from running now, if anything does.
    fn obstacle(&self, job: &Job) -> Option<Condition> {
        if self.config.max_bandwidth == Rate::ZERO {
            Some(Condition::Bandwidth)
        } else if job.only_logged_in && !self.outlook.is_logged_in(job.owner) {
            Some(Condition::Login)
        } else if !self.outlook.has_network() && needs_network(job) {
            Some(Condition::Network)
        } else {
            None
        }
    }

    /// Keeps a job whose turn has come from running, where something is in its way.
    pub(super) fn is_kept_waiting(&mut self, id: JobId) -> bool {
        let Some(entry) = self.entries.get(&id) else {
            return false;
        };
        let obstacle = self.obstacle(&entry.job);
        if entry.job.only_logged_in {
            self.outlook.look_at.get_or_insert_with(soon);
        }
        if let Some(condition) = obstacle {
            self.park(id, condition);
        }
        obstacle.is_some()
    }

    /// A try that failed while the network was gone waits for the network, and one that
    /// found no room for room.
    pub(super) fn condition_of(
        &mut self,
        id: JobId,
        error: &potluck_plan::JobError,
    ) -> Option<Condition> {
        let job = &self.entries.get(&id)?.job;
        if error.code == "no_space" {
            self.outlook.no_room_at = (self.outlook.around.free)();
            self.outlook.look_at.get_or_insert_with(soon);
            return Some(Condition::Room);
        }
        (error.is_of_the_way() && !self.outlook.has_network() && needs_network(job))
            .then_some(Condition::Network)
    }

    /// Something may have changed around the jobs: those that cannot go on wait, those
    /// that can are queued.
    pub(super) fn look_around(&mut self) {
        let more_room = self.has_more_room();
        let mut to_park = Vec::new();
        let mut to_wake = Vec::new();
        for (id, entry) in &self.entries {
            match self.judge(entry, more_room) {
                Some(Verdict::Park(condition)) => to_park.push((*id, condition)),
                Some(Verdict::Wake) => to_wake.push(*id),
                None => {}
            }
        }
        for (id, condition) in to_park {
            self.park(id, condition);
        }
        for id in to_wake {
            self.wake(id);
        }
        let depends = self.entries.values().any(|entry| {
            let job = &entry.job;
            let is_open = !job.state().is_final() && job.state() != JobState::Suspended;
            job.machine.error().and_then(Condition::awaited) == Some(Condition::Room)
                || job.only_logged_in && is_open
        });
        self.outlook.look_at = depends.then(soon);
    }

    fn judge(&self, entry: &Entry, more_room: bool) -> Option<Verdict> {
        let job = &entry.job;
        let error = job.machine.error();
        let awaited = error.and_then(Condition::awaited);
        match job.state() {
            JobState::Queued | JobState::Connecting | JobState::Transferring => {
                // What is being put in its place needs nothing from outside.
                entry.completing.is_none().then_some(())?;
                // One that must not be asked twice goes on until it fails by itself.
                let may_stop = job.origin.may_repeat() || !job.state().is_running();
                let obstacle = may_stop.then(|| self.obstacle(job));
                obstacle.flatten().map(Verdict::Park)
            }
            JobState::TransientError if awaited.is_some() => match self.obstacle(job) {
                Some(condition) if Some(condition) == awaited => None,
                Some(condition) => Some(Verdict::Park(condition)),
                None if awaited == Some(Condition::Room) && !more_room => None,
                None => Some(Verdict::Wake),
            },
            // It failed as the network went: it does not wait for its time now.
            JobState::TransientError
                if error.is_some_and(potluck_plan::JobError::is_of_the_way) =>
            {
                let obstacle = self.obstacle(job);
                obstacle
                    .filter(|condition| *condition == Condition::Network)
                    .map(Verdict::Park)
            }
            _ => None,
        }
    }

    /// Whether the disk has had more room given back since a job found none.
    fn has_more_room(&mut self) -> bool {
        let Some(before) = self.outlook.no_room_at else {
            return true;
        };
        match (self.outlook.around.free)() {
            Some(free) if free < before.saturating_add(MORE_ROOM) => {
                self.outlook.no_room_at = Some(before.min(free));
                false
            }
            _ => {
                self.outlook.no_room_at = None;
                true
            }
        }
    }

    /// A job waits for something. It is as well queued again after a restart, so this is
    /// not kept on the disk.
    fn park(&mut self, id: JobId, condition: Condition) {
        let error = condition.error();
        self.stop_run(id, &error.code);
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let times = entry.job.times(&self.config.times);
        let parked = entry.job.machine.fail(error, Retry::OnEvent, &times, now());
        if let Err(error) = parked {
            tracing::debug!(job = %id, %error, "not parked");
        }
        let failed = entry.job.state() == JobState::Error;
        entry.tell();
        self.follow(id);
        if failed {
            self.record_error(id);
        }
    }

    fn wake(&mut self, id: JobId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if let Err(error) = entry.job.machine.wake(now()) {
            tracing::debug!(job = %id, %error, "not woken");
        }
        entry.tell();
        self.follow(id);
    }

    /// Hears of the surroundings.
    pub(super) fn on_outlook(&mut self, sign: Sign) {
        let up = *self.outlook.around.network.borrow_and_update();
        if std::mem::replace(&mut self.outlook.had_network, up) != up {
            let kind = if up { "network_back" } else { "network_lost" };
            tracing::info!(kind, "jobs follow the network");
            self.events.record(kind, None, json!({}));
        }
        self.look_around();
        if up && sign == Sign::Network {
            self.hurry();
        }
    }

    /// There is a way out, or another one: who failed on the way need not wait out the time
    /// that was set for the next try. Not all of them at once: each is late by some part of
    /// a moment, which its id says.
    fn hurry(&mut self) {
        let now = now();
        let mut sooner = Vec::new();
        for (id, entry) in &mut self.entries {
            let error = entry.job.machine.error();
            let of_the_way = error.is_some_and(potluck_plan::JobError::is_of_the_way);
            if !of_the_way || !needs_network(&entry.job) {
                continue;
            }
            let late = id.key().0 % HURRY_WITHIN_MS;
            let at = now + Duration::from_millis(late);
            if entry.job.machine.retry_by(at) {
                sooner.push(*id);
            }
        }
        for id in sooner {
            if let Some(entry) = self.entries.get(&id) {
                entry.tell();
            }
            self.follow(id);
        }
    }
}

/// When to look the next time.
fn soon() -> Instant {
    Instant::now() + LOOK_EVERY
}

enum Verdict {
    Park(Condition),
    Wake,
}

/// Whether anything a job still lacks comes from beyond this machine, as far as can be
/// seen: where a proxy on this machine leads is its own business.
fn needs_network(job: &Job) -> bool {
    if has_proxy_here(&job.origin.proxy) {
        return false;
    }
    let missing = job.files.iter().filter(|file| !file.is_transferred());
    missing.into_iter().any(|file| !is_here(&file.url))
}

fn has_proxy_here(proxy: &ProxyChoice) -> bool {
    match proxy {
        ProxyChoice::None => false,
        ProxyChoice::Url(url) => is_here(url),
        ProxyChoice::Environment => {
            let names = [
                "http_proxy",
                "https_proxy",
                "HTTPS_PROXY",
                "all_proxy",
                "ALL_PROXY",
            ];
            let urls = names.iter().filter_map(|name| std::env::var(name).ok());
            urls.into_iter()
                .any(|url| is_here(&url) || is_here(&format!("http://{url}")))
        }
    }
}

/// Whether a URL names this machine.
fn is_here(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else {
        return false;
    };
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            // The URL of a SOCKS proxy is none of a kind whose addresses are looked for.
            let is_loopback = name.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback());
            is_loopback || name == "localhost" || name.ends_with(".localhost")
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_here() {
        for here in [
            "http://127.0.0.9:80/a",
            "http://[::1]/a",
            "https://localhost/a",
            "http://a.localhost./",
            "socks5://127.0.0.1:1080",
        ] {
            assert!(is_here(here), "{here}");
        }
        for away in ["http://10.0.0.1/a", "https://example.org/", "what"] {
            assert!(!is_here(away), "{away}");
        }
    }
}
