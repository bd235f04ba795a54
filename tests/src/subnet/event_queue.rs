//! What happens when, on the made-up clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use potluck_near::{Beacon, Sighting};

/// A node's place in the subnet.
pub(crate) type Place = usize;

/// A datagram on its way. All who hear it share it.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) from: Place,
    pub(crate) beacon: Beacon,
    /// What each receiver's driver makes of it; nothing for a goodbye.
    pub(crate) sighting: Option<Sighting>,
    /// On the wire, with the headers of UDP and IP.
    pub(crate) length: usize,
}

/// What happens at one moment.
#[derive(Debug)]
pub(crate) enum Event {
    /// The node starts.
    Boot(Place),
    /// A time that the node waited for has come.
    Wake(Place),
    /// Everybody hears it.
    Multicast(Rc<Packet>),
    /// One node hears it.
    Unicast(Rc<Packet>, Place),
    /// A call was answered and both certificates are proven.
    Established {
        caller: Place,
        called: Place,
    },
    CallFailed {
        caller: Place,
        called: Place,
    },
    /// The other side has answered a Hello on the connection with this number.
    HelloAnswered {
        at: Place,
        peer: Place,
        connection: u64,
    },
    /// The other side has no place for this node.
    Full {
        at: Place,
        peer: Place,
        connection: u64,
    },
    /// The other side has closed it.
    Closed {
        at: Place,
        peer: Place,
        connection: u64,
    },
    /// A ping was answered, or its time is over.
    PingEnds {
        at: Place,
        peer: Place,
        connection: u64,
    },
}

/// The made-up clock with all that is still to come.
#[derive(Debug)]
pub(crate) struct EventQueue {
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
    pub(crate) fn new() -> Self {
        Self {
            // Only differences matter; some of them reach back before the start.
            start: Instant::now() + Duration::from_secs(3600),
            now: Duration::ZERO,
            waiting: BinaryHeap::new(),
            count: 0,
        }
    }

    /// Since the start.
    pub(crate) const fn now(&self) -> Duration {
        self.now
    }

    /// The same, and as the nodes read it.
    pub(crate) fn clock(&self) -> (Duration, Instant) {
        (self.now, self.start + self.now)
    }

    /// Since the start, for a moment that the nodes named.
    pub(crate) fn since_start(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.start)
    }

    pub(crate) fn put(&mut self, at: Duration, event: Event) {
        self.count += 1;
        let number = self.count;
        self.waiting.push(Reverse(Due { at, number, event }));
    }

    pub(crate) fn put_in(&mut self, wait: Duration, event: Event) {
        self.put(self.now + wait, event);
    }

    /// The next event up to a time, at which the clock stands then.
    pub(crate) fn next_until(&mut self, end: Duration) -> Option<Event> {
        if self.waiting.peek().is_none_or(|Reverse(due)| due.at > end) {
            self.now = end;
            return None;
        }
        let Reverse(due) = self.waiting.pop()?;
        self.now = due.at;
        Some(due.event)
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
