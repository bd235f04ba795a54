//! Carries out what the serving queue decides.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use potluck_discovery::PeerId;
use potluck_plan::{ClientKey, Refused, ServeAction, ServeQueue, ServeQueueConfig, ServeRequest};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::rates::now;

/// Lets requests through as the [`ServeQueue`] says. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Turnstile(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// The time of the next look may have changed.
    rearm: Notify,
}

struct State {
    queue: ServeQueue,
    clients: HashMap<PeerId, ClientKey>,
    requests: HashMap<ServeRequest, Requested>,
}

struct Requested {
    /// Gone when the request has its turn.
    go: Option<oneshot::Sender<()>>,
    /// Ends the connection of a reader that is too slow.
    evict: CancellationToken,
}

/// A place in the queue, later a turn. Dropping it frees the place.
pub(crate) struct Turn {
    turnstile: Turnstile,
    request: ServeRequest,
}

impl Turnstile {
    pub(crate) fn new(config: ServeQueueConfig) -> Self {
        Self(Arc::new(Inner {
            state: Mutex::new(State {
                queue: ServeQueue::new(config),
                clients: HashMap::new(),
                requests: HashMap::new(),
            }),
            rearm: Notify::new(),
        }))
    }

    /// Waits for a turn. `evict` is cancelled when its reader turns out too slow.
    pub(crate) async fn enter(
        &self,
        peer: PeerId,
        evict: CancellationToken,
    ) -> Result<Turn, Refused> {
        let (go, gone) = oneshot::channel();
        let turn = {
            let mut state = self.lock();
            let next = ClientKey(u32::try_from(state.clients.len()).unwrap_or(u32::MAX));
            let client = *state.clients.entry(peer).or_insert(next);
            let request = state.queue.handle_request(client, now())?;
            state.requests.insert(
                request,
                Requested {
                    go: Some(go),
                    evict,
                },
            );
            Turn {
                turnstile: self.clone(),
                request,
            }
        };
        self.carry_out();
        // The sender lives as long as the turn that we hold.
        let _ = gone.await;
        Ok(turn)
    }

    /// Looks for slow readers, for ever.
    pub(crate) async fn watch(self) {
        loop {
            let rearm = self.0.rearm.notified();
            let at = self.lock().queue.poll_timeout();
            let wake = async {
                match at {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = rearm => {}
                () = wake => self.change(|queue, now| queue.handle_timeout(now)),
            }
        }
    }

    pub(crate) fn set_max_clients(&self, max_clients: u32) {
        self.change(|queue, now| queue.set_max_clients(max_clients, now));
    }

    /// Clients served and requests waiting.
    pub(crate) fn load(&self) -> (usize, usize) {
        let state = self.lock();
        (state.queue.clients(), state.queue.waiting())
    }

    fn change(&self, act: impl FnOnce(&mut ServeQueue, Instant)) {
        act(&mut self.lock().queue, now());
        self.carry_out();
    }

    fn carry_out(&self) {
        let mut state = self.lock();
        while let Some(action) = state.queue.poll_action() {
            match action {
                ServeAction::Serve(request) => {
                    let requested = state.requests.get_mut(&request);
                    if let Some(go) = requested.and_then(|requested| requested.go.take()) {
                        // Whoever has left meanwhile drops its turn.
                        let _ = go.send(());
                    }
                }
                ServeAction::Evict(request) => {
                    if let Some(requested) = state.requests.remove(&request) {
                        requested.evict.cancel();
                    }
                }
            }
        }
        drop(state);
        self.0.rearm.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Bytes went out.
    pub(crate) fn progress(&self, bytes: u64) {
        self.turnstile
            .lock()
            .queue
            .handle_progress(self.request, bytes, now());
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turnstile.lock().requests.remove(&self.request);
        let request = self.request;
        self.turnstile
            .change(|queue, now| queue.handle_end(request, now));
    }
}
