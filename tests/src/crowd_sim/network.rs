//! The crowd itself: everything that happens, one thing after the other.

use std::collections::BTreeSet;
use std::time::Duration;

use potluck_content::{EntityKey, Layout};
use potluck_plan::{Action, FilePlan, MemberId, Outcome, Teller};

use super::event::{Event, Place};
use super::flow::Flows;
use super::line::LineUp;
use super::member_host::Host;
use super::report::CrowdReport;
use super::settings::{CrowdSettings, Fate};
use crate::event_queue::EventQueue;

/// When a peer that went silent falls off the peer list.
const MISSED_AFTER: Duration = Duration::from_secs(15);

/// A simulated crowd.
#[derive(Debug)]
pub struct Crowd {
    pub(super) settings: CrowdSettings,
    pub(super) layout: Layout,
    pub(super) entity: EntityKey,
    pub(super) events: EventQueue<Event>,
    pub(super) random: fastrand::Rng,
    pub(super) hosts: Vec<Host>,
    pub(super) origin: LineUp,
    pub(super) flows: Flows,
    /// Honest hosts that are still to finish.
    to_finish: usize,
}

impl Crowd {
    /// Lets a crowd do what it does until all are done, or the time is over.
    ///
    /// # Panics
    /// When the file is larger than a content may be.
    #[must_use]
    pub fn run(settings: CrowdSettings) -> CrowdReport {
        let mut crowd = Self::new(settings);
        let limit = crowd.settings.limit;
        while crowd.to_finish > 0
            && let Some(event) = crowd.events.next_until(limit)
        {
            crowd.happen(event);
        }
        CrowdReport::of(
            &crowd.settings,
            &crowd.hosts,
            &crowd.origin,
            crowd.events.now(),
        )
    }

    fn new(settings: CrowdSettings) -> Self {
        let mut random = fastrand::Rng::with_seed(settings.seed);
        let layout = Layout::for_size(settings.size).expect("a size that a content may have");
        let mut entity = [0; 32];
        random.fill(&mut entity);
        let lists = peer_lists(settings.hosts.len(), settings.peers, &mut random);
        let mut events = EventQueue::new();
        let mut hosts = Vec::new();
        for (host, peers) in settings.hosts.iter().zip(lists) {
            let mut id = [0; 16];
            random.fill(&mut id);
            events.put(host.starts, Event::Start(hosts.len()));
            if let Some((at, _)) = host.fate {
                events.put(host.starts + at, Event::End(hosts.len()));
            }
            hosts.push(Host::new(
                host.clone(),
                MemberId(id),
                peers,
                layout.pieces(),
            ));
        }
        let to_finish = settings
            .hosts
            .iter()
            .filter(|host| host.is_to_finish())
            .count();
        Self {
            layout,
            entity: EntityKey::from_bytes(entity),
            events,
            random,
            hosts,
            origin: LineUp::new(settings.origin_up),
            flows: Flows::default(),
            to_finish,
            settings,
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Start(place) => self.start(place),
            Event::End(place) => self.end(place),
            Event::Wake(place, life) => self.wake(place, life),
            Event::ServeWake(place) => self.wake_server(place),
            Event::Mischief(place) => self.do_mischief(place),
            Event::Asked(id) => self.be_asked(id),
            Event::Ready(id) => self.begin_sending(id),
            Event::Sent(giver) => self.be_sent(giver),
            Event::Arrived(id, bytes) => self.arrive(id, bytes),
            Event::Broken(id, outcome) => self.be_refused(id, outcome),
            Event::Cancelled(id) => self.be_cancelled(id),
            Event::Tell(place) => self.may_tell(place),
            Event::Message(letter) => self.hear(&letter),
            Event::Answer(letter) => self.hear_answer(&letter),
            Event::Lost(place, peer, life) => self.lose(place, peer, life),
            Event::PeerGone(place, peer) => self.miss(place, peer),
            Event::PeerBack(place, peer) => self.meet(place, peer),
        }
    }

    fn start(&mut self, place: Place) {
        let now = self.events.instant();
        let (entity, layout) = (self.entity, self.layout);
        let origin = self.settings.origin_use;
        if std::mem::take(&mut self.hosts[place].ended) {
            for peer in self.hosts[place].peers.clone() {
                let wait = self.latency();
                self.events.put_in(wait, Event::PeerBack(peer, place));
            }
        }
        self.open_audits(place);
        let host = &mut self.hosts[place];
        host.begin(entity, layout, origin, now);
        if host.settings.manner.pretends() {
            self.do_mischief(place);
        }
        self.settle(place);
    }

    fn end(&mut self, place: Place) {
        let Some((_, fate)) = self.hosts[place].settings.fate else {
            return;
        };
        let host = &mut self.hosts[place];
        if fate == Fate::Vanishes {
            host.vanished = true;
            for peer in host.peers.clone() {
                self.events
                    .put_in(MISSED_AFTER, Event::PeerGone(peer, place));
            }
            return;
        }
        host.end();
        for peer in host.peers.clone() {
            let wait = self.latency();
            self.events.put_in(wait, Event::PeerGone(peer, place));
        }
        for id in self.flows.of(place) {
            let wait = self.latency();
            let Some(flow) = self.flows.get(id) else {
                continue;
            };
            if flow.taker == place {
                flow.cancelled = true;
                self.events.put_in(wait, Event::Cancelled(id));
            } else {
                flow.ready = false;
                self.events.put_in(wait, Event::Broken(id, Outcome::Failed));
            }
        }
        if let Fate::Restarts(after) = fate {
            self.events.put_in(after, Event::Start(place));
        }
    }

    /// A host notices that a peer is gone.
    pub(super) fn miss(&mut self, place: Place, peer: Place) {
        self.hosts[place].listed.remove(&peer);
        self.list_changed(place);
    }

    /// A host notices that a peer is there again.
    fn meet(&mut self, place: Place, peer: Place) {
        if !self.hosts[place].audits.exposed.contains(&peer) {
            self.hosts[place].listed.insert(peer);
            self.list_changed(place);
        }
    }

    fn list_changed(&mut self, place: Place) {
        let host = &mut self.hosts[place];
        if !host.ended {
            host.gossip.set_peers(&host.listed);
            self.heed(place);
        }
    }

    /// A time that a host waited for has come.
    fn wake(&mut self, place: Place, life: u32) {
        let (now, clock) = (self.events.now(), self.events.instant());
        let host = &mut self.hosts[place];
        if host.life != life {
            return;
        }
        let Some(program) = &mut host.program else {
            return;
        };
        if program.wake.is_none_or(|wake| wake > now) {
            return;
        }
        program.wake = None;
        program.window.handle_timeout(clock);
        if let Some(plan) = &mut program.plan
            && plan.poll_timeout().is_some_and(|(at, _)| at <= clock)
        {
            plan.handle_timeout(clock);
        }
        self.settle(place);
    }

    pub(super) fn with_plan<T>(
        &mut self,
        place: Place,
        act: impl FnOnce(&mut FilePlan) -> T,
    ) -> Option<T> {
        let program = self.hosts[place].program.as_mut()?;
        program.plan.as_mut().map(act)
    }

    /// Does what the plan of a host decided, tells its peers, and sees when it is next due.
    pub(super) fn settle(&mut self, place: Place) {
        let clock = self.events.instant();
        let host = &mut self.hosts[place];
        let Some(program) = &mut host.program else {
            return;
        };
        let settled = host.gossip.has_settled(&self.entity, clock);
        if !program.window_told && (settled || !program.window.is_open()) {
            program.window_told = true;
            self.with_plan(place, |plan| plan.handle_window_closed(clock));
        }
        while let Some(Some(action)) = self.with_plan(place, FilePlan::poll_action) {
            match action {
                Action::Ask { request, run, .. } | Action::AskOrigin { request, run } => {
                    self.ask(place, request, run);
                }
                Action::Cancel { request } => self.cancel(place, request),
                Action::DropPeer { .. } => {}
                Action::Finished => self.finish(place),
                Action::Stuck { .. } => self.hosts[place].counts.stuck += 1,
            }
        }
        let host = &mut self.hosts[place];
        if let Some(program) = &mut host.program
            && let Some(plan) = &mut program.plan
        {
            host.counts.taken_over = plan.taken_over();
            let (runs, fetched) = (plan.fetching(), plan.fetched());
            let leader = plan.leader();
            let set = |teller: &mut Teller| {
                teller.set_fetching(runs, fetched);
                teller.set_leader(leader);
            };
            host.gossip.tell(&self.entity, set);
        }
        self.tell(place);
        self.arm(place);
    }

    fn arm(&mut self, place: Place) {
        let host = &mut self.hosts[place];
        let Some(program) = &mut host.program else {
            return;
        };
        let plan = program.plan.as_ref().and_then(FilePlan::poll_timeout);
        let times = [plan.map(|(at, _)| at), program.window.poll_timeout()];
        if let Some(at) = times.into_iter().flatten().min() {
            let at = self.events.since_start(at).max(self.events.now());
            if program.wake.is_none_or(|wake| at < wake) {
                program.wake = Some(at);
                self.events.put(at, Event::Wake(place, host.life));
            }
        }
    }

    /// A host has everything. It is done when nothing is left to be compared.
    pub(super) fn finish(&mut self, place: Place) {
        if !self.hosts[place].audits.are_done() {
            return;
        }
        if self.settings.digest && self.is_wrong(place) {
            self.distrust(place);
            return;
        }
        let now = self.events.now();
        let host = &mut self.hosts[place];
        if host.finished.is_none() && host.settings.is_to_finish() {
            self.to_finish -= 1;
        }
        host.finished.get_or_insert(now);
        host.gossip.finish(&self.entity);
    }

    /// How long something takes from one to another.
    pub(super) fn latency(&mut self) -> Duration {
        let least = u64::try_from(self.settings.latency.as_nanos()).unwrap_or(u64::MAX / 4);
        Duration::from_nanos(least + self.random.u64(0..=least * 2))
    }

    pub(super) fn line(&mut self, giver: Option<Place>) -> &mut LineUp {
        match giver {
            None => &mut self.origin,
            Some(place) => &mut self.hosts[place].up,
        }
    }
}

/// Who knows whom: everybody everybody, or as many others as a list takes, at random and
/// each the other.
fn peer_lists(hosts: usize, most: usize, random: &mut fastrand::Rng) -> Vec<Vec<Place>> {
    let mut lists: Vec<BTreeSet<Place>> = vec![BTreeSet::new(); hosts];
    if hosts <= most + 1 {
        let all = |place| (0..hosts).filter(|other| *other != place).collect();
        return (0..hosts).map(all).collect();
    }
    for place in 0..hosts {
        for _ in 0..most * 8 {
            let other = random.usize(0..hosts);
            if lists[place].len() >= most {
                break;
            }
            if other != place && lists[other].len() < most {
                lists[place].insert(other);
                lists[other].insert(place);
            }
        }
    }
    lists
        .into_iter()
        .map(|list| list.into_iter().collect())
        .collect()
}
