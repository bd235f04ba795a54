//! Datagrams between the simulated nodes.

use std::rc::Rc;
use std::time::Duration;

use potluck_near::{Beacon, BeaconMessage, Sighting};

use crate::subnet::connections::Lost;
use crate::subnet::event::{Event, Packet, Place};
use crate::subnet::node::{Order, SubnetNode, address};
use crate::subnet::traffic::Kind;
use crate::subnet::world::Subnet;

/// Seal (magic 4, salt 24, tag 16) and headers (UDP 8, IPv4 20) of a datagram, in bytes.
const AROUND: usize = 44 + 28;
/// A datagram is on its way for this long, and up to as long again.
const FLIGHT: Duration = Duration::from_micros(200);
/// What a cut did to connections is over after this time.
const AFTERMATH: Duration = Duration::from_secs(60);

impl Subnet {
    /// Tells a node something, if it runs, and does what it wants done then.
    pub(crate) fn with<T>(
        &mut self,
        place: Place,
        tell: impl FnOnce(&mut SubnetNode) -> T,
    ) -> Option<T> {
        let answer = tell(self.nodes[place].as_mut()?);
        self.settle(place);
        Some(answer)
    }

    /// Does what a node wants done, and sets its alarm.
    pub(crate) fn settle(&mut self, place: Place) {
        let clock = self.queue.clock();
        while let Some(node) = &mut self.nodes[place]
            && let Some(order) = node.poll_order(clock)
        {
            self.carry_out(place, order);
        }
        let Some(node) = &mut self.nodes[place] else {
            return;
        };
        let (alarm, tick) = node.poll_timeout();
        // A time that has passed is the next moment: nothing happens twice in one.
        let alarm = self.queue.since_start(alarm);
        let alarm = alarm.max(clock.0 + Duration::from_micros(1)).min(tick);
        // An alarm that is too early does no harm.
        if node.armed.is_none_or(|armed| alarm < armed) {
            node.armed = Some(alarm);
            self.queue.put(alarm, Event::Wake(place));
        }
    }

    /// An alarm that another one replaced finds the node waiting for a later one.
    pub(crate) fn wake(&mut self, place: Place) {
        let clock = self.queue.clock();
        let Some(node) = &mut self.nodes[place] else {
            return;
        };
        if node.armed != Some(clock.0) {
            return;
        }
        if node.wake(clock) {
            self.ping_the_silent(place);
        }
        self.settle(place);
    }

    fn carry_out(&mut self, place: Place, order: Order) {
        match order {
            Order::Send(beacon, to) => self.send(place, beacon, to),
            Order::Call(to) => self.call(place, to),
            Order::Close(peer) => {
                let node = self.nodes[place].as_mut();
                if let Some(closed) = node.and_then(|node| node.connections.remove(peer)) {
                    self.close(place, peer, closed.number);
                }
            }
            Order::Check(peer) => self.check(place, peer),
            Order::Listed(peer) => {
                if let Some(node) = &mut self.nodes[place] {
                    node.listed.insert(peer);
                }
            }
            Order::Unlisted(peer) => self.unlist(place, peer),
        }
    }

    fn unlist(&mut self, by: Place, peer: Place) {
        let now = self.queue.now();
        if let Some(node) = &mut self.nodes[by] {
            node.listed.remove(&peer);
        }
        let calm = self.changed + AFTERMATH <= now || self.changed == Duration::ZERO;
        if calm && self.node(peer).is_some() && self.reaches(by, peer) {
            self.false_removals.push(Lost { by, peer, at: now });
        }
    }

    fn send(&mut self, from: Place, beacon: Beacon, to: Option<Place>) {
        let length = beacon.encode().len() + AROUND;
        let kind = Kind::of(&beacon.message);
        self.traffic.note_sent(kind, length, self.queue.now());
        self.note_question(from, kind, to);
        let sighting = (beacon.message != BeaconMessage::Bye).then(|| Sighting {
            peer: beacon.sender,
            generation: beacon.generation,
            address: address(from).into(),
            name: beacon.name.clone(),
        });
        let packet = Rc::new(Packet {
            from,
            beacon,
            sighting,
            length,
        });
        let flight = FLIGHT.mul_f64(1.0 + self.rng.f64());
        let event = match to {
            Some(to) => Event::Unicast(packet, to),
            None => Event::Multicast(packet),
        };
        self.queue.put_in(flight, event);
    }

    /// Counts what a question draws.
    fn note_question(&mut self, from: Place, kind: Kind, to: Option<Place>) {
        if kind == Kind::Probe
            && let Some(node) = &mut self.nodes[from]
        {
            node.answers = 0;
        }
        if let Some(asker) = to.and_then(|to| self.nodes[to].as_mut()) {
            asker.answers += 1;
            self.traffic.most_answers = self.traffic.most_answers.max(asker.answers);
        }
    }

    pub(crate) fn hear(&mut self, place: Place, packet: &Packet) {
        let arrives = place != packet.from && self.reaches(packet.from, place);
        let lost = self.settings.loss > 0.0 && self.rng.f64() < self.settings.loss;
        let clock = self.queue.clock();
        let Some(node) = self.nodes[place].as_mut().filter(|_| arrives && !lost) else {
            return;
        };
        if !node.reads(clock.0) {
            self.traffic.unread += 1;
            return;
        }
        self.traffic.note_received(packet.length);
        node.hear(packet, clock);
        self.settle(place);
    }
}
