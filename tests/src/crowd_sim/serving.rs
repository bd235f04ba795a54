//! Requests and the bytes that answer them.

use std::ops::Range;
use std::time::Duration;

use potluck_plan::{Outcome, RequestId, ServeAction, Source};

use super::event::{Event, Place};
use super::flow::{Flow, FlowId, Purpose};
use super::member_host::{client_key, place_of};
use super::network::Crowd;

/// When a connection that nobody answers is given up.
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);
/// What a server needs to begin with an answer: disk, headers.
const SERVER_TIME: Duration = Duration::from_micros(500);

impl Crowd {
    /// A host asks for a run of pieces.
    pub(super) fn ask(&mut self, place: Place, request: RequestId, run: Range<u32>) {
        let giver = match request.source() {
            Source::Origin => None,
            Source::Peer(key) => Some(place_of(key)),
        };
        let life = self.hosts[place].life;
        let purpose = Purpose::File(request);
        let flow = Flow::new(giver, (place, life), purpose, run, &self.layout);
        let id = self.flows.add(flow);
        if let Some(program) = &mut self.hosts[place].program {
            program.requests.insert(request, id);
        }
        let wait = self.latency();
        self.events.put_in(wait, Event::Asked(id));
    }

    /// A host wants nothing more of a request.
    pub(super) fn cancel(&mut self, place: Place, request: RequestId) {
        let program = self.hosts[place].program.as_mut();
        if let Some(id) = program.and_then(|program| program.requests.remove(&request))
            && let Some(flow) = self.flows.get(id)
        {
            flow.cancelled = true;
            let wait = self.latency();
            self.events.put_in(wait, Event::Cancelled(id));
        }
    }

    /// A request has come to who is to answer it.
    pub(super) fn be_asked(&mut self, id: FlowId) {
        let latency = self.latency();
        let Some(flow) = self.flows.get(id) else {
            return;
        };
        let (taker, run) = (flow.taker, flow.run.clone());
        let Some(giver) = flow.giver else {
            let wait = self.settings.origin_first_byte;
            self.events.put_in(wait, Event::Ready(id));
            return;
        };
        let refusal = if self.hosts[giver].vanished {
            Some((CONNECTED_WITHIN, Outcome::Failed))
        } else if self.hosts[giver].ended {
            Some((latency, Outcome::Failed))
        } else if !self.hosts[giver].has(run.clone()) {
            Some((latency, Outcome::NotHeld))
        } else if !self.believes(taker, giver, run) {
            Some((latency, Outcome::Unwanted))
        } else {
            self.admit(id, giver, taker)
                .map(|refused| (latency, refused))
        };
        if let Some((wait, outcome)) = refusal {
            self.events.put_in(wait, Event::Broken(id, outcome));
        }
        self.serve(giver);
    }

    /// Lets a request into the queue of a host. Says when there is no room.
    fn admit(&mut self, id: FlowId, giver: Place, taker: Place) -> Option<Outcome> {
        let now = self.events.instant();
        let host = &mut self.hosts[giver];
        match host.queue.handle_request(client_key(taker), now) {
            Ok(serve) => {
                host.served.insert(serve, id);
                if let Some(flow) = self.flows.get(id) {
                    flow.serve = Some(serve);
                }
                None
            }
            Err(refused) => {
                host.counts.refused += 1;
                let retry_after = refused.retry_after;
                Some(Outcome::Refused { retry_after })
            }
        }
    }

    /// Does what the serving queue of a host decided.
    pub(super) fn serve(&mut self, place: Place) {
        let host = &mut self.hosts[place];
        while let Some(action) = host.queue.poll_action() {
            match action {
                ServeAction::Serve(serve) => {
                    if let Some(id) = host.served.get(&serve) {
                        self.events.put_in(SERVER_TIME, Event::Ready(*id));
                    }
                }
                ServeAction::Evict(serve) => {
                    if let Some(id) = host.served.remove(&serve) {
                        let wait = Duration::from_millis(1);
                        self.events.put_in(wait, Event::Broken(id, Outcome::Failed));
                    }
                }
            }
        }
        if let Some(at) = host.queue.poll_timeout() {
            let at = self.events.since_start(at);
            if host.serve_wake.is_none() {
                host.serve_wake = Some(at);
                self.events.put(at, Event::ServeWake(place));
            }
        }
    }

    /// A time that a serving queue waited for has come.
    pub(super) fn wake_server(&mut self, place: Place) {
        let now = self.events.instant();
        self.hosts[place].serve_wake = None;
        self.hosts[place].queue.handle_timeout(now);
        self.serve(place);
    }

    /// Who answers begins.
    pub(super) fn begin_sending(&mut self, id: FlowId) {
        if let Some(flow) = self.flows.get(id) {
            flow.ready = true;
            let giver = flow.giver;
            self.queue_up(id);
            self.pump(giver);
        }
    }

    /// Puts a flow that has something to send at the end of its line's turns.
    fn queue_up(&mut self, id: FlowId) {
        let Some(flow) = self.flows.get(id) else {
            return;
        };
        if flow.can_send() {
            flow.queued = true;
            let giver = flow.giver;
            self.line(giver).turns.push_back(id);
        }
    }

    /// Keeps a line busy.
    fn pump(&mut self, giver: Option<Place>) {
        if giver.is_some_and(|place| self.hosts[place].vanished) {
            return;
        }
        let block = self.settings.block;
        while self.line(giver).sending.is_none() {
            let Some(id) = self.line(giver).turns.pop_front() else {
                return;
            };
            if let Some(flow) = self.flows.get(id) {
                flow.queued = false;
                let bytes = flow.send(block);
                let time = self.line(giver).send(id, bytes);
                self.events.put_in(time, Event::Sent(giver));
            }
        }
    }

    /// A block has left a line.
    pub(super) fn be_sent(&mut self, giver: Option<Place>) {
        let Some((id, bytes)) = self.line(giver).sending.take() else {
            return;
        };
        let wait = self.latency();
        let at = self.events.now() + wait;
        if let Some(flow) = self.flows.get(id) {
            let taker = &mut self.hosts[flow.taker];
            if !taker.vanished {
                let at = taker.down.arrival(bytes, at);
                self.events.put(at, Event::Arrived(id, bytes));
            }
            self.queue_up(id);
        }
        self.pump(giver);
    }

    /// A block has come.
    pub(super) fn arrive(&mut self, id: FlowId, bytes: u64) {
        let (layout, now) = (self.layout, self.events.instant());
        let Some(flow) = self.flows.get(id) else {
            return;
        };
        let pieces = flow.arrive(bytes, &layout);
        let (giver, taker, purpose) = (flow.giver, flow.taker, flow.purpose);
        let (cancelled, over, serve) = (flow.cancelled, flow.is_over(), flow.serve);
        if let (Some(place), Some(serve)) = (giver, serve) {
            self.hosts[place].queue.handle_progress(serve, bytes, now);
        }
        if over {
            self.leave_queue(id);
            self.flows.remove(id);
        } else {
            self.queue_up(id);
            self.pump(giver);
        }
        if cancelled || !self.hosts[taker].is_up() {
            return;
        }
        let Purpose::File(request) = purpose else {
            if over {
                self.compare(taker);
            }
            return;
        };
        self.with_plan(taker, |plan| plan.handle_progress(request, bytes, now));
        for index in pieces {
            if !self.take_piece(taker, giver, request, index) {
                break;
            }
        }
        let program = self.hosts[taker].program.as_mut();
        if over && program.is_some_and(|program| program.requests.remove(&request).is_some()) {
            self.with_plan(taker, |plan| {
                plan.handle_request_ended(request, Outcome::Complete, now);
            });
        }
        self.settle(taker);
    }

    /// Who asked hears that nothing more comes.
    pub(super) fn be_refused(&mut self, id: FlowId, outcome: Outcome) {
        self.leave_queue(id);
        let Some(flow) = self.flows.remove(id) else {
            return;
        };
        let host = &mut self.hosts[flow.taker];
        if flow.cancelled || host.life != flow.life {
            return;
        }
        let now = self.events.instant();
        if let Some(program) = &mut host.program
            && let Some(request) = flow.purpose.request()
            && program.requests.remove(&request).is_some()
        {
            self.with_plan(flow.taker, |plan| {
                plan.handle_request_ended(request, outcome, now);
            });
            self.settle(flow.taker);
        }
    }

    /// Who answers hears that it may stop.
    pub(super) fn be_cancelled(&mut self, id: FlowId) {
        self.leave_queue(id);
        self.flows.remove(id);
    }

    /// An answer is over for the queue of who gave it.
    fn leave_queue(&mut self, id: FlowId) {
        let now = self.events.instant();
        if let Some(flow) = self.flows.get(id)
            && let (Some(giver), Some(serve)) = (flow.giver, flow.serve.take())
        {
            self.hosts[giver].served.remove(&serve);
            self.hosts[giver].queue.handle_end(serve, now);
            self.serve(giver);
        }
    }
}
