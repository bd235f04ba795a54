//! Connections between the simulated nodes: made, refused, lost. It follows what the
//! swarm's driver does with the peer table.

use std::time::Duration;

use potluck_near::{Admission, Setback};

use crate::subnet::event::{Event, Place};
use crate::subnet::world::Subnet;

/// A call takes this long until both certificates are proven, and up to as long again.
const SET_UP: Duration = Duration::from_millis(4);
/// A question on a connection and its answer.
const ROUND_TRIP: Duration = Duration::from_millis(1);
/// The kernel gives up so late on a machine that is gone.
const NO_ANSWER: Duration = Duration::from_secs(3);
/// A question that is not answered in this time was in vain.
const QUESTION_LIMIT: Duration = Duration::from_secs(10);
/// A peer that is said to have gone has this long to show that it has not.
const CHECK_TIME: Duration = Duration::from_secs(2);

impl Subnet {
    fn is_there(&self, from: Place, to: Place) -> bool {
        self.nodes[to].is_some() && self.reaches(from, to)
    }

    pub(crate) fn call(&mut self, caller: Place, called: Place) {
        self.traffic.calls += 1;
        if self.is_there(caller, called) {
            let wait = SET_UP.mul_f64(1.0 + self.rng.f64());
            self.queue
                .put_in(wait, Event::Established { caller, called });
        } else {
            self.queue
                .put_in(NO_ANSWER, Event::CallFailed { caller, called });
        }
    }

    pub(crate) fn establish(&mut self, caller: Place, called: Place) {
        if !self.is_there(caller, called) {
            let failed = Event::CallFailed { caller, called };
            return self.queue.put_in(NO_ANSWER, failed);
        }
        let (now, instant) = self.queue.clock();
        let (caller_id, called_id) = (self.ids[caller], self.ids[called]);
        let ours = self.with(caller, |node| node.connected(called_id, true, instant));
        let theirs = self.with(called, |node| node.connected(caller_id, false, instant));
        let (Some(ours), Some(theirs)) = (ours, theirs) else {
            return;
        };
        let number = self.number_between(caller, called);
        if let Some(node) = &mut self.nodes[caller] {
            node.connections.insert(called, number, false, now);
        }
        let in_vain = theirs != Admission::Welcome;
        if let Some(node) = &mut self.nodes[called] {
            node.connections.insert(caller, number, in_vain, now);
        }
        if ours != Admission::Welcome {
            self.end(caller, called, number, None);
            return self.close(caller, called, number);
        }
        let event = match theirs {
            Admission::Shunned => return self.close(called, caller, number),
            Admission::Full => {
                self.traffic.full += 1;
                return self.queue.put_in(
                    ROUND_TRIP,
                    Event::Full {
                        at: caller,
                        peer: called,
                        connection: number,
                    },
                );
            }
            Admission::Welcome => |at, peer| Event::HelloAnswered {
                at,
                peer,
                connection: number,
            },
        };
        self.queue.put_in(ROUND_TRIP, event(caller, called));
        self.queue.put_in(ROUND_TRIP, event(called, caller));
    }

    /// Of two calls that meet one stays: it keeps the number of the first. A connection
    /// that only one side still believes in is replaced.
    fn number_between(&mut self, one: Place, other: Place) -> u64 {
        let number = |at: Place, peer| {
            let node = self.nodes[at].as_ref()?;
            Some(node.connections.get(peer)?.number)
        };
        let both = number(one, other).filter(|it| number(other, one) == Some(*it));
        both.unwrap_or_else(|| {
            self.last_connection += 1;
            self.last_connection
        })
    }

    pub(crate) fn introduce(&mut self, at: Place, peer: Place, connection: u64) {
        if !self.answers(at, peer, connection) {
            return self.ask_again(at, peer, connection, QUESTION_LIMIT);
        }
        let (_, instant) = self.queue.clock();
        if let Some(info) = self.nodes[peer].as_ref().map(|node| node.info()) {
            self.note_alive(at, peer);
            self.with(at, |node| node.introduced(info, instant));
        }
    }

    /// Whether the peer answers questions on this connection.
    fn answers(&self, at: Place, peer: Place, connection: u64) -> bool {
        let there = self.nodes[peer].as_ref().filter(|_| self.reaches(at, peer));
        let its_end = there.and_then(|node| node.connections.get(at));
        its_end.is_some_and(|it| it.number == connection && !it.in_vain)
    }

    fn note_alive(&mut self, one: Place, other: Place) {
        let now = self.queue.now();
        for (at, peer) in [(one, other), (other, one)] {
            let node = self.nodes[at].as_mut();
            if let Some(connection) = node.and_then(|node| node.connections.get_mut(peer)) {
                connection.alive = now;
                connection.pinged = false;
            }
        }
    }

    /// One end is gone; the other hears of it.
    pub(crate) fn close(&mut self, at: Place, peer: Place, connection: u64) {
        let closed = Event::Closed {
            at: peer,
            peer: at,
            connection,
        };
        self.queue.put_in(ROUND_TRIP / 2, closed);
    }

    /// A connection is over for this end: by what the other end did, or by a decision
    /// that the peer is to be left alone.
    pub(crate) fn end(
        &mut self,
        at: Place,
        peer: Place,
        connection: u64,
        setback: Option<Setback>,
    ) {
        let (id, (_, instant)) = (self.ids[peer], self.queue.clock());
        self.with(at, |node| {
            if node.connections.current(peer, connection).is_none() {
                return;
            }
            match setback {
                Some(setback) => node.dismiss(id, setback, instant),
                None => {
                    node.connections.remove(peer);
                    node.disconnected(&id, instant);
                }
            }
        });
    }

    pub(crate) fn ping_the_silent(&mut self, at: Place) {
        let now = self.queue.now();
        let node = self.nodes[at].as_mut();
        let silent = node.map(|node| node.connections.ping_the_silent(now));
        for (peer, connection) in silent.into_iter().flatten() {
            self.ask_again(at, peer, connection, QUESTION_LIMIT);
        }
    }

    pub(crate) fn check(&mut self, at: Place, peer: Place) {
        let node = self.nodes[at].as_ref();
        if let Some(known) = node.and_then(|node| node.connections.get(peer)) {
            self.ask_again(at, peer, known.number, CHECK_TIME);
        }
    }

    /// Asks whether the peer is there. One that does not know the connection any more
    /// resets it; one that is out of reach has `limit` to come back.
    fn ask_again(&mut self, at: Place, peer: Place, connection: u64, limit: Duration) {
        let ends = Event::PingEnds {
            at,
            peer,
            connection,
        };
        let wait = if self.is_there(at, peer) {
            ROUND_TRIP
        } else {
            limit
        };
        self.queue.put_in(wait, ends);
    }

    pub(crate) fn end_ping(&mut self, at: Place, peer: Place, connection: u64) {
        if self.answers(at, peer, connection) {
            self.note_alive(at, peer);
        } else if self.is_there(at, peer) {
            self.end(at, peer, connection, None);
        } else {
            self.end(at, peer, connection, Some(Setback::Unreachable));
        }
    }
}
