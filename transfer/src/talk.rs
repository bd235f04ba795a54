//! What nodes that fetch the same file tell each other, carried to and fro.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use potluck_content::{ContentId, EntityKey, Layout};
use potluck_discovery::{AskError, PeerId, SwarmDesk};
use potluck_plan::{Gossip, Heard, MemberId, ServeLimits, Teller, decode_news, encode_news};
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, JoinSet};

use crate::engine::Neighbours;
use crate::rates::now;

/// How long a peer may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the peer list is looked at while something is fetched.
const LOOK_AT_PEERS: Duration = Duration::from_millis(200);
/// News that a transfer has not yet taken. What does not fit is asked for anew.
const UNHEARD: usize = 1024;

/// Tells the members of this node's swarms what it has and hears what they have. Cheap to
/// clone.
///
/// It is the desk that answers the peers' messages; once
/// [connected](SwarmTalk::connect) it tells them by itself.
#[derive(Clone)]
pub struct SwarmTalk(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// There is something to tell.
    changed: Notify,
    /// Somebody has answered.
    answered: Notify,
}

struct State {
    gossip: Gossip<PeerId>,
    runs: HashMap<EntityKey, mpsc::Sender<(PeerId, Heard)>>,
    limits: ServeLimits,
    neighbours: Option<Arc<dyn Neighbours>>,
    task: Option<AbortHandle>,
    /// Where the latest part in a swarm counts from.
    epoch: u32,
}

/// The part of one transfer in a swarm. Dropped before it is
/// [finished](Membership::finish), it leaves.
pub(crate) struct Membership {
    talk: SwarmTalk,
    entity: EntityKey,
    heard: mpsc::Receiver<(PeerId, Heard)>,
    finished: bool,
}

/// Names a peer to all members of a swarm alike.
pub(crate) fn member_id(peer: &PeerId) -> MemberId {
    let hash = ContentId::of(&peer.to_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&hash.as_bytes()[..16]);
    MemberId(id)
}

impl SwarmTalk {
    /// Says nothing by itself yet.
    #[must_use]
    pub fn new(limits: ServeLimits) -> Self {
        Self(Arc::new(Inner {
            state: Mutex::new(State {
                gossip: Gossip::default(),
                runs: HashMap::new(),
                limits,
                neighbours: None,
                task: None,
                epoch: 0,
            }),
            changed: Notify::new(),
            answered: Notify::new(),
        }))
    }

    /// Talks to these neighbours from now on, until [`SwarmTalk::disconnect`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect(&self, neighbours: Arc<dyn Neighbours>) {
        // What was under way to others is answered to nobody.
        self.disconnect();
        let task = tokio::spawn(talk(Arc::clone(&self.0), Arc::clone(&neighbours)));
        let mut state = self.state();
        state.neighbours = Some(neighbours);
        if let Some(before) = state.task.replace(task.abort_handle()) {
            before.abort();
        }
    }

    /// Talks to nobody any more.
    pub fn disconnect(&self) {
        let mut state = self.state();
        state.neighbours = None;
        state.look_at_peers();
        if let Some(task) = state.task.take() {
            task.abort();
        }
    }

    /// Changes what members of swarms joined from now on are told of how much is served.
    pub fn set_limits(&self, limits: ServeLimits) {
        self.state().limits = limits;
    }

    /// Takes part in a swarm; `None` when another transfer of this node does already.
    pub(crate) fn join(&self, entity: EntityKey, layout: Layout) -> Option<Membership> {
        let mut state = self.state();
        let epoch = state.next_epoch();
        let teller = Teller::new(entity, layout, Some(state.limits)).counting_from(epoch);
        state.look_at_peers();
        if !state.gossip.join(teller) {
            return None;
        }
        let (sender, heard) = mpsc::channel(UNHEARD);
        state.runs.insert(entity, sender);
        drop(state);
        self.0.changed.notify_one();
        Some(Membership {
            talk: self.clone(),
            entity,
            heard,
            finished: false,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state()
    }
}

impl SwarmDesk for SwarmTalk {
    fn answer(&self, from: PeerId, message: &[u8]) -> Vec<u8> {
        let news = match decode_news(message) {
            Ok(news) => news,
            Err(error) => {
                tracing::debug!(peer = %from, %error, "not understood");
                return encode_news(&[]);
            }
        };
        let mut state = self.state();
        let answer = state.gossip.handle_message(from, news, now());
        let more = state.hand_out();
        drop(state);
        if more {
            self.0.changed.notify_one();
        }
        encode_news(&answer)
    }
}

impl Membership {
    /// The next that was heard. Safe to cancel.
    pub(crate) async fn next(&mut self) -> (PeerId, Heard) {
        match self.heard.recv().await {
            Some(heard) => heard,
            None => std::future::pending().await,
        }
    }

    /// What was heard and not yet taken.
    pub(crate) fn try_next(&mut self) -> Option<(PeerId, Heard)> {
        self.heard.try_recv().ok()
    }

    /// Waits until every peer that answers at all has said whether it takes part.
    pub(crate) async fn settled(&self) {
        loop {
            let answered = self.talk.0.answered.notified();
            if self.talk.state().gossip.has_settled(&self.entity, now()) {
                return;
            }
            answered.await;
        }
    }

    /// Whether this node fetches other files together with others meanwhile.
    pub(crate) fn is_one_of_many(&self) -> bool {
        self.talk.state().gossip.fetches() > 1
    }

    /// Changes what the other members are told.
    pub(crate) fn tell(&self, change: impl FnOnce(&mut Teller)) {
        self.talk.state().gossip.tell(&self.entity, change);
        self.talk.0.changed.notify_one();
    }

    /// The file is complete; members are told what this node gives for as long as they ask.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
        let mut state = self.talk.state();
        // The next transfer of it may begin at once.
        state.runs.remove(&self.entity);
        state.gossip.finish(&self.entity);
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if !self.finished {
            let mut state = self.talk.state();
            state.runs.remove(&self.entity);
            state.gossip.leave(&self.entity);
        }
        self.talk.0.changed.notify_one();
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// More than before, also than before this node was started: seconds since 1970.
    fn next_epoch(&mut self) -> u32 {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let seconds = time.map_or(0, |time| time.as_secs());
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX / 2);
        self.epoch = seconds.max(self.epoch.saturating_add(1));
        self.epoch
    }

    fn look_at_peers(&mut self) {
        let peers = self
            .neighbours
            .as_ref()
            .map(|neighbours| neighbours.peers());
        let peers: BTreeSet<PeerId> = peers.iter().flatten().map(|peer| peer.id).collect();
        self.gossip.set_peers(&peers);
        self.hand_out();
    }

    /// Gives the transfers what was heard. Whether there may be something to tell now.
    fn hand_out(&mut self) -> bool {
        while let Some((entity, peer, heard)) = self.gossip.poll_heard() {
            let Some(run) = self.runs.get(&entity) else {
                continue;
            };
            let sent = run.try_send((peer, heard));
            let full = matches!(sent, Err(mpsc::error::TrySendError::Full(_)));
            if full {
                self.gossip.ask_anew(&entity, peer);
            }
        }
        !self.gossip.is_idle()
    }
}

type Answer = (PeerId, Result<Vec<u8>, AskError>);

async fn talk(inner: Arc<Inner>, neighbours: Arc<dyn Neighbours>) {
    let mut asked: JoinSet<Answer> = JoinSet::new();
    loop {
        let (idle, wake) = {
            let mut state = inner.state();
            let idle = state.gossip.is_idle();
            if !idle {
                state.look_at_peers();
                while let Some((to, news)) = state.gossip.poll_message(now()) {
                    let asking = neighbours.swarm(to, encode_news(&news), ANSWER_TIMEOUT);
                    asked.spawn(async move { (to, asking.await) });
                }
            }
            (idle, state.gossip.poll_timeout())
        };
        // Who has no peers has nobody to wait for.
        inner.answered.notify_waiters();
        tokio::select! {
            biased;
            Some(answer) = asked.join_next() => if let Ok((peer, answer)) = answer {
                take(&inner, peer, answer);
            },
            () = inner.changed.notified() => {}
            () = tokio::time::sleep(LOOK_AT_PEERS), if !idle => {}
            () = sleep_until(wake), if !idle => {}
        }
    }
}

fn take(inner: &Inner, peer: PeerId, answer: Result<Vec<u8>, AskError>) {
    let mut state = inner.state();
    let news = answer
        .map_err(|error| error.to_string())
        .and_then(|bytes| decode_news(&bytes).map_err(|error| error.to_string()));
    match news {
        Ok(news) => state.gossip.handle_answer(peer, news, now()),
        Err(error) => {
            tracing::debug!(%peer, %error, "could not be told");
            state.gossip.handle_failed(peer, now());
        }
    }
    state.hand_out();
    drop(state);
    inner.answered.notify_waiters();
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
