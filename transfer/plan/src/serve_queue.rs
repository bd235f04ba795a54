//! Who is served now, and who waits.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// A peer that asks this node for bytes. The driver hands these out, one per peer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ClientKey(pub u32);

/// One request in the queue. Numbers are not used twice in the life of a queue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ServeRequest(u64);

/// The limits of serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServeQueueConfig {
    /// Distinct clients served at once. 3 unless changed, as BITS. 0 serves nobody.
    pub max_clients: u32,
    /// Requests of one client served at once; the others of it wait. Bounds what one
    /// client costs in memory.
    pub requests_per_client: u32,
    /// Requests of one client that may wait.
    pub waiting_per_client: u32,
    /// Requests of everybody that may wait.
    pub max_waiting: u32,
    /// A reader that takes less than `min_progress` bytes in this time loses its place.
    pub slow_after: Duration,
    /// Bytes that count as progress. Above zero, so that a trickle holds no slot.
    pub min_progress: u64,
    /// When a refused client is told to come back.
    pub retry_after: Duration,
}

impl Default for ServeQueueConfig {
    fn default() -> Self {
        Self {
            max_clients: 3,
            requests_per_client: 4,
            waiting_per_client: 8,
            max_waiting: 256,
            slow_after: Duration::from_secs(30),
            min_progress: 1024,
            retry_after: Duration::from_secs(10),
        }
    }
}

/// The queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many requests wait here: come back in {} s", retry_after.as_secs())]
pub struct Refused {
    /// When to come back.
    pub retry_after: Duration,
}

/// What the server owes after a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServeAction {
    /// Serve this request now.
    Serve(ServeRequest),
    /// Break this request off: its reader is too slow. It has left the queue already.
    Evict(ServeRequest),
}

/// Gives a bounded number of clients their turn, in order.
///
/// A slot belongs to a client, not to a connection. While nobody else waits, further
/// requests of a served client share its slot. As soon as somebody waits, a slot is
/// good for the requests that run in it and then goes to the next in line, so nobody
/// keeps one by always asking for more.
///
/// Invariants: at most `max_clients` distinct clients are served (after the number was
/// lowered: no new one until so many are left); clients that wait get their slots in
/// the order in which their requests came; each request is told [`ServeAction::Serve`]
/// at most once.
#[derive(Debug)]
pub struct ServeQueue {
    config: ServeQueueConfig,
    next: u64,
    serving: BTreeMap<ServeRequest, Serving>,
    waiting: VecDeque<(ServeRequest, ClientKey)>,
    actions: VecDeque<ServeAction>,
}

#[derive(Debug)]
struct Serving {
    client: ClientKey,
    /// When the last `min_progress` bytes were complete.
    progress_at: Instant,
    /// Bytes since then.
    bytes: u64,
}

impl ServeQueue {
    /// An empty queue.
    #[must_use]
    pub const fn new(config: ServeQueueConfig) -> Self {
        Self {
            config,
            next: 0,
            serving: BTreeMap::new(),
            waiting: VecDeque::new(),
            actions: VecDeque::new(),
        }
    }

    /// A client asks. The request waits until [`ServeAction::Serve`] names it, which
    /// may be at once.
    ///
    /// # Errors
    /// When too many requests wait already, of this client or of all.
    pub fn handle_request(
        &mut self,
        client: ClientKey,
        now: Instant,
    ) -> Result<ServeRequest, Refused> {
        let request = ServeRequest(self.next);
        self.next += 1;
        self.waiting.push_back((request, client));
        self.fill_slots(now);
        // Whoever was served at once takes no room among those who wait.
        let waits = self
            .waiting
            .back()
            .is_some_and(|(last, _)| *last == request);
        let of_client = self.waiting.iter().filter(|(_, of)| *of == client).count();
        if waits
            && (self.waiting.len() > self.config.max_waiting as usize
                || of_client > self.config.waiting_per_client as usize)
        {
            self.waiting.pop_back();
            return Err(Refused {
                retry_after: self.config.retry_after,
            });
        }
        Ok(request)
    }

    /// Bytes of a request went out.
    pub fn handle_progress(&mut self, request: ServeRequest, bytes: u64, now: Instant) {
        if let Some(serving) = self.serving.get_mut(&request) {
            serving.bytes = serving.bytes.saturating_add(bytes);
            if serving.bytes >= self.config.min_progress {
                serving.bytes = 0;
                serving.progress_at = now;
            }
        }
    }

    /// A request is over, served to its end or not, or its client no longer waits for it.
    pub fn handle_end(&mut self, request: ServeRequest, now: Instant) {
        self.serving.remove(&request);
        self.waiting.retain(|(waiting, _)| *waiting != request);
        self.forget_actions();
        self.fill_slots(now);
    }

    /// A client is gone, with all its requests.
    pub fn handle_left(&mut self, client: ClientKey, now: Instant) {
        self.serving.retain(|_, serving| serving.client != client);
        self.waiting.retain(|(_, waiting)| *waiting != client);
        self.forget_actions();
        self.fill_slots(now);
    }

    /// Changes the number of clients served at once. Who is served stays served.
    pub fn set_max_clients(&mut self, max_clients: u32, now: Instant) {
        self.config.max_clients = max_clients;
        self.fill_slots(now);
    }

    /// Time went by.
    pub fn handle_timeout(&mut self, now: Instant) {
        let slow_after = self.config.slow_after;
        let slow: Vec<ServeRequest> = self
            .serving
            .iter()
            .filter(|(_, serving)| now >= serving.progress_at + slow_after)
            .map(|(request, _)| *request)
            .collect();
        for request in slow {
            self.serving.remove(&request);
            self.actions.push_back(ServeAction::Evict(request));
        }
        self.forget_actions();
        self.fill_slots(now);
    }

    /// What the server is to do next.
    pub fn poll_action(&mut self) -> Option<ServeAction> {
        self.actions.pop_front()
    }

    /// When the next reader would be too slow.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.serving
            .values()
            .map(|serving| serving.progress_at + self.config.slow_after)
            .min()
    }

    /// Distinct clients that are served now.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.served_clients().len()
    }

    /// Requests that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many requests stand before this one: `None` when it does not wait.
    #[must_use]
    pub fn position(&self, request: ServeRequest) -> Option<usize> {
        self.waiting
            .iter()
            .position(|(waiting, _)| *waiting == request)
    }

    /// What is over before it was begun is not begun.
    fn forget_actions(&mut self) {
        let serving = &self.serving;
        self.actions.retain(|action| match action {
            ServeAction::Serve(request) => serving.contains_key(request),
            ServeAction::Evict(_) => true,
        });
    }

    fn served_clients(&self) -> BTreeSet<ClientKey> {
        self.serving
            .values()
            .map(|serving| serving.client)
            .collect()
    }

    /// Serves whoever may be served now.
    fn fill_slots(&mut self, now: Instant) {
        let mut clients = self.served_clients();
        // Free slots go to clients that have none, in order.
        while clients.len() < self.config.max_clients as usize
            && let Some(place) = self
                .waiting
                .iter()
                .position(|(_, of)| !clients.contains(of))
        {
            clients.insert(self.waiting[place].1);
            self.serve(place, now);
        }
        if self.waiting.iter().any(|(_, of)| !clients.contains(of)) {
            return;
        }
        // Nobody waits for a slot: those who have one may use it more.
        let mut place = 0;
        while let Some((_, client)) = self.waiting.get(place) {
            let running = self
                .serving
                .values()
                .filter(|serving| serving.client == *client);
            if running.count() < self.config.requests_per_client as usize {
                self.serve(place, now);
            } else {
                place += 1;
            }
        }
    }

    fn serve(&mut self, place: usize, now: Instant) {
        if let Some((request, client)) = self.waiting.remove(place) {
            let serving = Serving {
                client,
                progress_at: now,
                bytes: 0,
            };
            self.serving.insert(request, serving);
            self.actions.push_back(ServeAction::Serve(request));
        }
    }
}

#[cfg(test)]
mod tests;
