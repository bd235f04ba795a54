//! Bytes on their way from one to another.

use std::collections::HashMap;
use std::ops::Range;

use potluck_content::{Layout, PieceIndex};
use potluck_plan::{RequestId, ServeRequest};

use super::event::Place;

/// Names a flow. No two have the same.
pub(super) type FlowId = u64;

/// Blocks that may be on their way unseen: what a connection holds in its buffers.
const WINDOW: u32 = 4;

/// What bytes are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The file: a plan asked for them.
    File(RequestId),
    /// To be compared with what a member gave.
    Audit,
}

impl Purpose {
    /// Of which request of a plan they are.
    pub(super) const fn request(self) -> Option<RequestId> {
        match self {
            Self::File(request) => Some(request),
            Self::Audit => None,
        }
    }
}

/// The answer to one request.
#[derive(Debug)]
pub(super) struct Flow {
    /// Who gives; nobody: the origin.
    pub(super) giver: Option<Place>,
    pub(super) taker: Place,
    /// In which of its lives the taker asked.
    pub(super) life: u32,
    pub(super) purpose: Purpose,
    pub(super) run: Range<u32>,
    /// Bytes of the run.
    total: u64,
    sent: u64,
    came: u64,
    /// Blocks on their way.
    on_the_way: u32,
    /// The next piece that will be complete.
    next: u32,
    /// Waits for its turn on the line of the giver.
    pub(super) queued: bool,
    /// The giver was told to begin.
    pub(super) ready: bool,
    /// The taker wants nothing more of it.
    pub(super) cancelled: bool,
    /// Its place in the giver's queue.
    pub(super) serve: Option<ServeRequest>,
}

impl Flow {
    pub(super) fn new(
        giver: Option<Place>,
        (taker, life): (Place, u32),
        purpose: Purpose,
        run: Range<u32>,
        layout: &Layout,
    ) -> Self {
        let span = layout.span_of_run(run.clone());
        Self {
            giver,
            taker,
            life,
            purpose,
            next: run.start,
            run,
            total: span.end - span.start,
            sent: 0,
            came: 0,
            on_the_way: 0,
            queued: false,
            ready: false,
            cancelled: false,
            serve: None,
        }
    }

    /// Whether it wants a turn on the line.
    pub(super) const fn can_send(&self) -> bool {
        self.ready && !self.queued && self.sent < self.total && self.on_the_way < WINDOW
    }

    /// Takes the next block.
    pub(super) fn send(&mut self, block: u64) -> u64 {
        let bytes = block.min(self.total - self.sent);
        self.sent += bytes;
        self.on_the_way += 1;
        bytes
    }

    /// A block came. Says which pieces are complete by it.
    pub(super) fn arrive(&mut self, bytes: u64, layout: &Layout) -> Range<u32> {
        self.on_the_way -= 1;
        self.came += bytes;
        let at = layout.span(PieceIndex(self.run.start)).start + self.came;
        let first = self.next;
        while self.next < self.run.end && layout.span(PieceIndex(self.next)).end <= at {
            self.next += 1;
        }
        first..self.next
    }

    /// Whether everything has come.
    pub(super) const fn is_over(&self) -> bool {
        self.came == self.total
    }
}

/// All flows of the crowd.
#[derive(Debug, Default)]
pub(super) struct Flows {
    all: HashMap<FlowId, Flow>,
    last: FlowId,
}

impl Flows {
    pub(super) fn add(&mut self, flow: Flow) -> FlowId {
        self.last += 1;
        self.all.insert(self.last, flow);
        self.last
    }

    pub(super) fn get(&mut self, id: FlowId) -> Option<&mut Flow> {
        self.all.get_mut(&id)
    }

    pub(super) fn remove(&mut self, id: FlowId) -> Option<Flow> {
        self.all.remove(&id)
    }

    /// The flows that a host gives or takes, in the order in which they began.
    pub(super) fn of(&self, place: Place) -> Vec<FlowId> {
        let touches = |flow: &Flow| flow.giver == Some(place) || flow.taker == place;
        let mut ids: Vec<_> = self
            .all
            .iter()
            .filter(|(_, flow)| touches(flow))
            .map(|(id, _)| *id)
            .collect();
        ids.sort_unstable();
        ids
    }
}
