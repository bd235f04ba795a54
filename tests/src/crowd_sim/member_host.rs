//! A host of the crowd: its lines, what it holds, and its program while that runs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use potluck_content::{Bitfield, EntityKey, Layout, PieceIndex};
use potluck_plan::{
    ClientKey, DiscoveryWindow, FilePlan, FilePlanConfig, Gossip, MemberId, OriginUse, PeerKey,
    RequestId, ServeQueue, ServeQueueConfig, ServeRequest, Teller,
};

use super::auditing::Audits;
use super::event::Place;
use super::flow::FlowId;
use super::line::{LineDown, LineUp};
use super::settings::HostSettings;

/// A piece on the disk of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Whether its bytes are those of the origin.
    pub(super) right: bool,
    /// Who fetched it from the origin and signed what it is.
    pub(super) signer: Place,
}

/// What is counted at one host.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    /// Bytes of control messages and answers that it sent, with headers.
    pub(super) control: u64,
    pub(super) messages: u64,
    /// Pieces that came twice.
    pub(super) discarded: u64,
    pub(super) taken_over: u64,
    pub(super) refused: u64,
    pub(super) stuck: u64,
}

#[derive(Debug)]
pub(super) struct Host {
    pub(super) settings: HostSettings,
    pub(super) id: MemberId,
    /// All that it ever knows.
    pub(super) peers: Vec<Place>,
    /// Those of them that are on its list now.
    pub(super) listed: BTreeSet<Place>,
    pub(super) gossip: Gossip<Place>,
    /// When it may tell something again.
    pub(super) tells_at: Option<Duration>,
    pub(super) up: LineUp,
    pub(super) down: LineDown,
    pub(super) queue: ServeQueue,
    pub(super) served: BTreeMap<ServeRequest, FlowId>,
    pub(super) serve_wake: Option<Duration>,
    /// How often it began.
    pub(super) life: u32,
    /// Its program was ended and has not begun again.
    pub(super) ended: bool,
    /// Its line is dead.
    pub(super) vanished: bool,
    pub(super) program: Option<Program>,
    pub(super) disk: Vec<Option<Piece>>,
    pub(super) audits: Audits,
    pub(super) finished: Option<Duration>,
    pub(super) counts: Counts,
}

/// The program on a host, with what it forgets when it ends.
#[derive(Debug)]
pub(super) struct Program {
    /// Nothing with a host that only pretends.
    pub(super) plan: Option<FilePlan>,
    pub(super) window: DiscoveryWindow,
    pub(super) window_told: bool,
    pub(super) requests: BTreeMap<RequestId, FlowId>,
    pub(super) wake: Option<Duration>,
}

impl Host {
    pub(super) fn new(
        settings: HostSettings,
        id: MemberId,
        peers: Vec<Place>,
        pieces: u32,
    ) -> Self {
        Self {
            up: LineUp::new(settings.gives()),
            down: LineDown::new(settings.down),
            queue: new_queue(&settings),
            settings,
            id,
            listed: peers.iter().copied().collect(),
            gossip: Gossip::default(),
            tells_at: None,
            peers,
            served: BTreeMap::new(),
            serve_wake: None,
            life: 0,
            ended: false,
            vanished: false,
            program: None,
            disk: vec![None; pieces as usize],
            audits: Audits::default(),
            finished: None,
            counts: Counts::default(),
        }
    }

    /// Its program begins.
    pub(super) fn begin(
        &mut self,
        entity: EntityKey,
        layout: Layout,
        origin: OriginUse,
        now: Instant,
    ) -> &mut Program {
        self.gossip.set_peers(&self.listed);
        let mut held = Bitfield::empty(layout.pieces());
        let limits = Some(self.settings.serves);
        let mut teller = Teller::new(entity, layout, limits);
        for (index, _) in (0..).zip(&self.disk).filter(|(_, piece)| piece.is_some()) {
            held.set(PieceIndex(index));
            teller.offer(PieceIndex(index));
        }
        let config = FilePlanConfig {
            origin,
            ..self.settings.plan
        };
        let pretends = self.settings.manner.pretends();
        let plan = (!pretends).then(|| {
            let mut plan = FilePlan::new(layout, &held, config, now);
            plan.join_swarm(self.id, entity, now);
            plan
        });
        self.gossip.join(teller);
        self.program.insert(Program {
            plan,
            window: DiscoveryWindow::new(self.peers.len(), now),
            window_told: false,

            requests: BTreeMap::new(),
            wake: None,
        })
    }

    /// Whether it has all of these pieces.
    pub(super) fn has(&self, run: std::ops::Range<u32>) -> bool {
        run.into_iter()
            .all(|index| self.disk[index as usize].is_some())
    }

    /// Its program ends, and forgets what is not on the disk.
    pub(super) fn end(&mut self) {
        self.life += 1;
        self.ended = true;
        self.program = None;
        self.audits = Audits::default();
        self.gossip = Gossip::default();
        self.queue = new_queue(&self.settings);
        self.served.clear();
        self.up.turns.clear();
    }

    /// Whether a message or request reaches it.
    pub(super) const fn is_up(&self) -> bool {
        !self.ended && !self.vanished
    }
}

fn new_queue(settings: &HostSettings) -> ServeQueue {
    ServeQueue::new(ServeQueueConfig {
        max_clients: settings.serves.clients,
        ..ServeQueueConfig::default()
    })
}

/// How others name a host to their plan.
pub(super) fn peer_key(place: Place) -> PeerKey {
    PeerKey(u32::try_from(place).unwrap_or(u32::MAX))
}

/// The same for the serving queue.
pub(super) fn client_key(place: Place) -> ClientKey {
    ClientKey(u32::try_from(place).unwrap_or(u32::MAX))
}

/// Whom a key names.
pub(super) const fn place_of(key: PeerKey) -> Place {
    key.0 as Place
}
