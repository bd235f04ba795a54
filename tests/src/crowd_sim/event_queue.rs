//! What happens when, on the made-up clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use potluck_plan::Outcome;

use super::flow::FlowId;

/// A host's place in the crowd.
pub(super) type Place = usize;

/// What happens at one moment. A host that began again is another life: what was meant
/// for the one before is for nobody.
#[derive(Debug)]
pub(super) enum Event {
    /// The host begins.
    Start(Place),
    /// Its fate comes.
    End(Place),
    /// A time that its plan or its discovery window waits for.
    Wake(Place, u32),
    /// A time that its serving queue waits for.
    ServeWake(Place),
    /// A hostile host does something.
    Mischief(Place),
    /// A request has come to who is to answer it.
    Asked(FlowId),
    /// The origin begins to answer.
    Ready(FlowId),
    /// A block has left the line of a host, or of the origin.
    Sent(Option<Place>),
    /// A block has come.
    Arrived(FlowId, u64),
    /// Who asked hears that nothing more comes.
    Broken(FlowId, Outcome),
    /// Who answers hears that it may stop.
    Cancelled(FlowId),
    /// A host may tell its peers something again.
    Tell(Place),
    /// A message has come.
    Message(Letter),
    /// The answer to a message has come.
    Answer(Letter),
    /// A message or its answer got lost.
    Lost(Place, Place, u32),
    /// A host notices that a peer is gone.
    PeerGone(Place, Place),
    /// A host notices that a peer is there again.
    PeerBack(Place, Place),
}

/// A message from one host to another, in this life of both.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub(super) from: Place,
    pub(super) to: Place,
    /// In which of its lives the asker asked.
    pub(super) life: u32,
    pub(super) bytes: Rc<[u8]>,
}

/// The made-up clock with all that is still to come.
#[derive(Debug)]
pub(super) struct EventQueue {
    start: Instant,
    now: Duration,
    waiting: BinaryHeap<Reverse<Due>>,
    count: u64,
}

#[derive(Debug)]
struct Due {
    at: Duration,
    /// What was put in first comes out first.
    number: u64,
    event: Event,
}

impl EventQueue {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            now: Duration::ZERO,
            waiting: BinaryHeap::new(),
            count: 0,
        }
    }

    /// Since the start.
    pub(super) const fn now(&self) -> Duration {
        self.now
    }

    /// The same, as the hosts read it.
    pub(super) fn clock(&self) -> Instant {
        self.start + self.now
    }

    /// Since the start, for a moment that a host named.
    pub(super) fn since_start(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.start)
    }

    pub(super) fn put(&mut self, at: Duration, event: Event) {
        self.count += 1;
        let number = self.count;
        self.waiting.push(Reverse(Due { at, number, event }));
    }

    pub(super) fn put_in(&mut self, wait: Duration, event: Event) {
        self.put(self.now + wait, event);
    }

    /// The next event before a time.
    pub(super) fn next_before(&mut self, end: Duration) -> Option<Event> {
        let due = self.waiting.pop()?.0;
        self.now = due.at;
        (due.at < end).then_some(due.event)
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Due {}
