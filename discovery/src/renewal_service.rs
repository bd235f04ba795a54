//! Renewing without being asked: watches the membership of one data directory and
//! renews its certificate when the time has come.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::blocking::blocking;
use crate::membership_watch::MembershipWatch;
use crate::renewal::{RenewalError, RenewalOptions, Renewed, renew};
use crate::renewal_schedule::RenewalSchedule;

/// The longest sleep. A machine that was suspended, or whose clock was set, notices
/// within this time that a renewal is due.
const LOOK: Duration = Duration::from_secs(60);

/// Whose certificate to renew, and how.
#[derive(Debug, Clone)]
pub struct RenewalConfig {
    /// The data directory of the node.
    pub data_dir: PathBuf,
    /// How each renewal is tried.
    pub options: RenewalOptions,
    /// Sets apart the moments at which nodes renew.
    pub seed: u64,
}

/// What came of it. Events that nobody takes are dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RenewalEvent {
    /// There is a new certificate, on the disk.
    Renewed {
        /// When it ends.
        expires: SystemTime,
        /// Who issued it, in words.
        by: String,
    },
    /// It was tried in vain; told of the first time and then ever more seldom.
    Failed {
        /// Why.
        reason: String,
        /// When the present certificate ends.
        expires: SystemTime,
        /// When it is tried again.
        next: SystemTime,
    },
}

impl RenewalEvent {
    /// What is told of a renewal that succeeded.
    #[must_use]
    pub fn of(renewed: &Renewed) -> Self {
        let by = match renewed.by {
            Some(address) => address.to_string(),
            None => "this node".to_owned(),
        };
        let expires = renewed.membership.expires();
        Self::Renewed { expires, by }
    }
}

/// Runs until its token is cancelled.
#[derive(Debug)]
pub struct RenewalService {
    task: JoinHandle<()>,
    look: Arc<Notify>,
}

struct RenewalTask {
    config: RenewalConfig,
    events: mpsc::Sender<RenewalEvent>,
    watch: MembershipWatch,
    plan: Option<RenewalSchedule>,
    expires: SystemTime,
    /// When a renewal last succeeded.
    obtained: Option<SystemTime>,
}

impl RenewalService {
    /// Starts to watch `config.data_dir`.
    #[must_use]
    pub fn start(
        config: RenewalConfig,
        stop: CancellationToken,
        events: mpsc::Sender<RenewalEvent>,
    ) -> Self {
        let look = Arc::new(Notify::new());
        let task = RenewalTask {
            watch: MembershipWatch::new(&config.data_dir),
            config,
            events,
            plan: None,
            expires: SystemTime::UNIX_EPOCH,
            obtained: None,
        };
        Self {
            task: tokio::spawn(task.run(Arc::clone(&look), stop)),
            look,
        }
    }

    /// Looks at the membership at once, because it changed.
    pub fn refresh(&self) {
        self.look.notify_one();
    }

    /// Waits for the end. An error is a panic inside.
    pub async fn stopped(self) -> Result<(), tokio::task::JoinError> {
        self.task.await
    }
}

impl RenewalTask {
    async fn run(mut self, look: Arc<Notify>, stop: CancellationToken) {
        loop {
            self.look_again().await;
            let pause = self.pause();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = look.notified() => continue,
                () = tokio::time::sleep(pause) => {}
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.renew_if_due() => {}
            }
        }
    }

    /// Makes a new plan when there is a new certificate.
    async fn look_again(&mut self) {
        let mut watch = self.watch.clone();
        let (watch, change) = blocking(move || {
            let change = watch.check();
            (watch, change)
        })
        .await;
        self.watch = watch;
        match change {
            None => {}
            Some(Ok(Some(membership))) => {
                let (begin, end) = (membership.not_before(), membership.expires());
                let now = SystemTime::now();
                let plan = RenewalSchedule::new((begin, end), self.obtained, self.config.seed, now);
                debug!(due = ?plan.next(), "a renewal is planned");
                self.expires = end;
                self.plan = Some(plan);
            }
            // Who looks after the membership itself tells what is wrong with it.
            Some(Ok(None) | Err(_)) => self.plan = None,
        }
    }

    fn pause(&self) -> Duration {
        let due = self.plan.as_ref().map(RenewalSchedule::next);
        let until = due.map(|due| due.duration_since(SystemTime::now()).unwrap_or_default());
        until.unwrap_or(LOOK).min(LOOK)
    }

    async fn renew_if_due(&mut self) {
        let due = self.plan.as_ref().map(RenewalSchedule::next);
        if due.is_none_or(|due| SystemTime::now() < due) {
            return;
        }
        let renewed = renew(&self.config.data_dir, &self.config.options).await;
        match renewed {
            Ok(renewed) => self.on_renewed(&renewed),
            Err(error) => self.on_failed(&error),
        }
    }

    fn on_renewed(&mut self, renewed: &Renewed) {
        self.obtained = Some(SystemTime::now());
        info!(expires = ?renewed.membership.expires(), "the certificate is renewed");
        self.tell(RenewalEvent::of(renewed));
    }

    fn on_failed(&mut self, error: &RenewalError) {
        let Some(plan) = &mut self.plan else { return };
        let worth_telling = plan.failed(SystemTime::now());
        let reason = error.to_string();
        if !worth_telling {
            debug!(reason, "the certificate is not renewed yet");
            return;
        }
        warn!(reason, "the certificate cannot be renewed");
        let (expires, next) = (self.expires, plan.next());
        self.tell(RenewalEvent::Failed {
            reason,
            expires,
            next,
        });
    }

    fn tell(&self, event: RenewalEvent) {
        if self.events.try_send(event).is_err() {
            debug!("nobody takes the events of renewals");
        }
    }
}
