//! The node's part in its domain: finds peers, serves them and lets new members in.
//!
//! The membership is files, and may be made or changed by another process while the
//! node runs. They are looked at again and again, and whenever somebody says so. A renewed
//! membership takes the old one's place under everything that runs; on any other change
//! all that stands on the old one ends before the new begins.

mod event_log;
pub(crate) mod renewal;
mod revoked;
mod running;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use potluck_cache::Cache;
use potluck_discovery::{
    DiscoveryHandle, JoinServer, JoinServerConfig, Membership, MembershipWatch, Revocations,
    SeekConfig,
};
use potluck_transfer::EngineHandle;
use serde_json::json;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Peering as PeeringSettings, Settings};
use crate::events::EventLog;
use crate::peering::event_log::log_joins;
pub(crate) use crate::peering::revoked::own_revocation;
use crate::peering::revoked::{Revoked, revoked_check};
use crate::peering::running::{Parts, Running};
use crate::timestamp::rfc3339;

/// How often the membership is looked at, and how soon a port that could not be opened
/// is tried again. Who changes the membership through the daemon says so; this is for
/// the files being changed by hand, and a node at rest should rest.
const LOOK: Duration = Duration::from_secs(5);
/// How long a change of the membership may take to have effect before the caller is
/// answered all the same.
const CHANGE_LIMIT: Duration = Duration::from_secs(1);

/// The node's part in its domain. Clones are handles on the same one.
#[derive(Clone)]
pub struct Peering {
    circle: watch::Receiver<Circle>,
    look: Arc<Notify>,
    join: Arc<JoinServer>,
}

/// What there is at the moment.
#[derive(Clone, Default)]
struct Circle {
    membership: Option<Membership>,
    discovery: Option<DiscoveryHandle>,
    revocations: Option<Revocations>,
    /// Why there is no more than this.
    trouble: Option<String>,
}

struct PeeringTask {
    parts: Parts,
    watch: Option<MembershipWatch>,
    circle: watch::Sender<Circle>,
    data_dir: PathBuf,
    revoked: Revoked,
    running: Option<Running>,
}

impl Peering {
    /// Begins to take part, as soon as there is a membership in the data directory.
    #[must_use]
    pub fn start(
        settings: &Settings,
        cache: Cache,
        engine: EngineHandle,
        events: EventLog,
        stop: CancellationToken,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let (circle_sender, circle) = watch::channel(Circle::default());
        let look = Arc::new(Notify::new());
        let (join_events, joins) = mpsc::channel(64);
        let listen = join_address(settings.peering.listen);
        let known = circle.clone();
        let revocations = move || known.borrow().revocations.clone();
        let config = JoinServerConfig {
            seek: seek_config(&settings.peering),
            revoked: revoked_check(&settings.data_dir, revocations),
            ..JoinServerConfig::new(&settings.data_dir, listen)
        };
        let join = Arc::new(JoinServer::start(config, stop.clone(), join_events));
        tasks.spawn(log_joins(joins, events.clone()));
        let events_of_renewals = events.clone();
        let task = PeeringTask {
            parts: Parts {
                settings: settings.peering.clone(),
                cache,
                engine,
                events,
            },
            watch: Some(MembershipWatch::of(settings.membership_source())),
            circle: circle_sender,
            data_dir: settings.data_dir.clone(),
            revoked: Revoked::default(),
            running: None,
        };
        tasks.spawn(task.run(Arc::clone(&look), stop.clone()));
        let peering = Self { circle, look, join };
        if settings.given_elsewhere().is_none() {
            tasks.spawn(renewal::run(
                settings,
                peering.clone(),
                events_of_renewals,
                stop,
            ));
        }
        peering
    }

    /// The way to the peers; `None` while the node is in no domain or has no peers.
    #[must_use]
    pub fn discovery(&self) -> Option<DiscoveryHandle> {
        self.circle.borrow().discovery.clone()
    }

    /// The domain that the node is in.
    #[must_use]
    pub fn membership(&self) -> Option<Membership> {
        self.circle.borrow().membership.clone()
    }

    /// Who was revoked in the node's domain, as far as it knows.
    #[must_use]
    pub fn revocations(&self) -> Option<Revocations> {
        self.circle.borrow().revocations.clone()
    }

    /// What keeps the node from taking part, in words.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.circle.borrow().trouble.clone()
    }

    /// Says that the membership or the invitations in the data directory changed, and
    /// waits a moment for it to take effect.
    pub async fn membership_changed(&self) {
        let mut circle = self.circle.clone();
        circle.mark_unchanged();
        self.look.notify_one();
        self.join.refresh();
        // An invitation changes nothing here, so nothing may come: that is no failure.
        let _ = tokio::time::timeout(CHANGE_LIMIT, circle.changed()).await;
    }

    /// Says that the authority was locked or unlocked.
    pub fn authority_changed(&self) {
        self.join.refresh();
    }

    /// Waits for the next change of what there is; fails when the node stops.
    pub(crate) async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        self.circle.changed().await
    }

    /// Where new members are let in and members renew, while the authority lives here.
    #[must_use]
    pub fn join_address(&self) -> Option<SocketAddr> {
        *self.join.address().borrow()
    }
}

impl PeeringTask {
    async fn run(mut self, look: Arc<Notify>, stop: CancellationToken) {
        loop {
            self.look_again().await;
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.revoked.changed() => self.on_revocations().await,
                () = look.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        self.end().await;
    }

    async fn look_again(&mut self) {
        let Some(mut watch) = self.watch.take() else {
            return;
        };
        let revocations = self.circle.borrow().revocations.clone();
        let looked = tokio::task::spawn_blocking(move || {
            if let Some(Err(error)) = revocations.map(|revocations| revocations.refresh()) {
                tracing::warn!(%error, "kept revocations cannot be read");
            }
            let change = watch.check();
            (watch, change)
        });
        let Ok((watch, change)) = looked.await else {
            // The look panicked; the watch is lost with it.
            return self.say_trouble("the membership cannot be watched any more".to_owned());
        };
        self.watch = Some(watch);
        match change {
            None => self.open_port_again().await,
            Some(Ok(None)) => {
                self.end().await;
                self.revoked = Revoked::default();
                self.circle.send_replace(Circle::default());
            }
            Some(Ok(Some(membership))) => {
                if !self.renew(&membership) {
                    self.end().await;
                    self.begin(membership).await;
                }
            }
            // What runs does so on what was read before.
            Some(Err(error)) => self.say_trouble(error.to_string()),
        }
    }

    /// Puts a renewed membership in the place of the one in use. `false` when it is
    /// another one.
    fn renew(&mut self, membership: &Membership) -> bool {
        let Some(running) = &self.running else {
            return false;
        };
        if let Err(error) = running.renew(membership) {
            tracing::debug!(%error, "the membership is not taken as a renewed one");
            return false;
        }
        let expires = rfc3339(membership.expires());
        tracing::info!(%expires, "the certificate of this node was renewed");
        self.circle.send_modify(|circle| {
            circle.membership = Some(membership.clone());
            circle.trouble = None;
        });
        true
    }

    async fn begin(&mut self, membership: Membership) {
        self.parts.events.record(
            "domain_entered",
            None,
            json!({
                "domain": membership.domain_name().to_string(),
                "id": membership.domain_id().to_string(),
                "node": membership.node_name().to_string(),
                "peer_id": membership.peer_id().to_string(),
                "certificate_expires": rfc3339(membership.expires()),
            }),
        );
        let mut circle = Circle {
            membership: Some(membership.clone()),
            ..Circle::default()
        };
        let opened = self.open_revocations(&membership).await;
        circle.revocations = opened.as_ref().ok().cloned();
        let opened = opened.and_then(|revocations| {
            let own = self.revoked.follow(&revocations, membership.peer_id());
            own.map_or(Ok(revocations), Err)
        });
        if self.parts.settings.enabled {
            match opened.and_then(|it| Running::start(&self.parts, &membership, it)) {
                Ok(running) => {
                    circle.discovery = Some(running.discovery().clone());
                    self.running = Some(running);
                }
                Err(reason) => self.note_trouble(&mut circle, reason),
            }
        }
        self.circle.send_replace(circle);
        self.open_port_again().await;
    }

    async fn open_revocations(&self, membership: &Membership) -> Result<Revocations, String> {
        let (data_dir, membership) = (self.data_dir.clone(), membership.clone());
        let opening = move || Revocations::open(&data_dir, &membership);
        match tokio::task::spawn_blocking(opening).await {
            Ok(opened) => opened.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Nobody speaks with a revoked node, so it stops asking.
    async fn on_revocations(&mut self) {
        self.revoked.record(&self.parts.events);
        if let Some(reason) = self.revoked.own() {
            self.end().await;
            self.say_trouble(reason);
        }
    }

    async fn open_port_again(&mut self) {
        let Some(running) = &mut self.running else {
            return;
        };
        match running.open_port(&self.parts).await {
            Ok(false) => {}
            Ok(true) => {
                let circle = &self.circle;
                circle.send_if_modified(|circle| circle.trouble.take().is_some());
            }
            Err(reason) => self.say_trouble(reason),
        }
    }

    async fn end(&mut self) {
        if let Some(running) = self.running.take() {
            self.circle.send_modify(|circle| circle.discovery = None);
            running.end(&self.parts).await;
        }
    }

    fn say_trouble(&mut self, reason: String) {
        let mut circle = self.circle.borrow().clone();
        self.note_trouble(&mut circle, reason);
        self.circle.send_replace(circle);
    }

    fn note_trouble(&self, circle: &mut Circle, reason: String) {
        if circle.trouble.as_ref() != Some(&reason) {
            tracing::warn!(%reason, "cannot take part in the domain as wanted");
            self.parts
                .events
                .record("peering_trouble", None, json!({ "reason": reason }));
            circle.trouble = Some(reason);
        }
    }
}

/// Control connections arrive one port above the data port.
pub(crate) fn control_address(mut listen: SocketAddr) -> SocketAddr {
    if listen.port() != 0 {
        listen.set_port(listen.port().saturating_add(1));
    }
    listen
}

/// New members are let in two ports above the data port.
pub(crate) fn join_address(mut listen: SocketAddr) -> SocketAddr {
    if listen.port() != 0 {
        listen.set_port(listen.port().saturating_add(2));
    }
    listen
}

/// How nodes that hold the authority are looked for on the subnet.
pub(crate) fn seek_config(settings: &PeeringSettings) -> Option<SeekConfig> {
    (settings.beacon.is_some() || settings.beacon6.is_some()).then(|| SeekConfig {
        group: settings.beacon,
        group6: settings.beacon6,
        listen: settings.listen.ip(),
        interfaces: settings.interfaces.clone(),
    })
}
