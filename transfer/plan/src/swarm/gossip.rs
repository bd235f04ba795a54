//! Keeping the members of all swarms told, with few messages.

mod hearing;
mod leaving;
mod settling;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use potluck_content::EntityKey;

use super::codec::MAX_NEWS;
use super::news::{News, NewsCursor};
use super::teller::Teller;
use leaving::Leaving;

/// The least time between two messages to one peer. What happens meanwhile goes into one.
const GAP: Duration = Duration::from_millis(20);
/// With many peers it is longer, so that what one node says and hears stays bounded.
const GAP_FOR_EACH: Duration = Duration::from_millis(5);
/// The most pieces' runs in one message, so that it stays below 32 KiB: each takes six
/// bytes at most. One news alone may have more, of two bytes each.
const MAX_RUNS: usize = 4096;
/// How long a peer that could not be told is left alone, at first.
const AFTER_FAILURE: Duration = Duration::from_millis(250);
/// How often in a row that time doubles.
const DOUBLED: u32 = 3;
/// Who could not be told so often in a row hears nothing more of files that are complete:
/// after half a minute of refusals, or less than two of silence.
const GIVEN_UP: u32 = 16;
/// Swarms whose file is complete, in which this node only gives. The oldest go first.
const MAX_GIVEN: usize = 4096;
/// News of one kind or another that the runs have not yet taken. More is lost, and asked
/// for anew.
const MAX_HEARD: usize = 8192;

/// What a member of a swarm said, or that it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It said so.
    News(Box<News>),
    /// It takes part no longer.
    Gone,
}

/// Tells the members of this node's swarms what it has, and hears what they have.
///
/// One message to a peer carries news of every swarm shared with it, and only one is under
/// way at a time: what happens meanwhile waits and goes into the next. `P` names peers.
///
/// A peer is asked to take part with a [`NewsKind::Join`](super::news::NewsKind::Join); one that does answers with a
/// [`NewsKind::State`](super::news::NewsKind::State), and from then on both tell each other what changes. Whoever hears
/// a change of what it was never told asks for everything.
#[derive(Debug)]
pub struct Gossip<P> {
    swarms: BTreeMap<EntityKey, Swarm<P>>,
    links: BTreeMap<P, Link>,
    /// Swarms of which somebody may have something to hear.
    dirty: BTreeSet<EntityKey>,
    heard: VecDeque<(EntityKey, P, Heard)>,
    given: VecDeque<EntityKey>,
    /// Who is to hear of what this node left.
    leaving: Leaving<P>,
}

#[derive(Debug)]
struct Swarm<P> {
    teller: Teller,
    told: BTreeMap<P, Told>,
    /// Whether the file is still being fetched: then news of others is of use.
    fetches: bool,
}

/// What a peer knows of this node's part in a swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    /// Nothing yet.
    Nothing,
    /// It was asked to take part and has not answered.
    Asked,
    /// It takes part, and was told so far.
    Member(NewsCursor),
    /// It does not take part.
    Outside,
}

#[derive(Debug, Default)]
struct Link {
    /// What is under way: the swarm, and what the peer knew before and will know.
    under_way: Option<Vec<(EntityKey, Told, NewsCursor)>>,
    /// When the latest message was sent.
    sent_at: Option<Instant>,
    not_before: Option<Instant>,
    /// How many messages in a row were lost.
    lost: u32,
}

impl<P: Copy + Ord> Default for Gossip<P> {
    fn default() -> Self {
        Self {
            swarms: BTreeMap::new(),
            links: BTreeMap::new(),
            dirty: BTreeSet::new(),
            heard: VecDeque::new(),
            given: VecDeque::new(),
            leaving: Leaving::default(),
        }
    }
}

impl<P: Copy + Ord> Gossip<P> {
    /// This node takes part in a swarm from now on. `false` when it fetches that already.
    pub fn join(&mut self, teller: Teller) -> bool {
        let entity = teller.entity();
        if self.swarms.get(&entity).is_some_and(|swarm| swarm.fetches) {
            return false;
        }
        let told = self.links.keys().map(|peer| (*peer, Told::Nothing));
        let swarm = Swarm {
            teller,
            told: told.collect(),
            fetches: true,
        };
        self.swarms.insert(entity, swarm);
        self.given.retain(|given| *given != entity);
        self.leaving.forget(&entity);
        self.dirty.insert(entity);
        true
    }

    /// Changes what there is to tell in one swarm.
    pub fn tell(&mut self, entity: &EntityKey, change: impl FnOnce(&mut Teller)) {
        if let Some(swarm) = self.swarms.get_mut(entity) {
            change(&mut swarm.teller);
            let teller = &swarm.teller;
            let some = swarm.told.values().any(|told| match told {
                Told::Member(cursor) => teller.has_news(cursor),
                _ => false,
            });
            if some {
                self.dirty.insert(*entity);
            }
        }
    }

    /// The file is complete: this node gives it and wants to hear nothing more.
    pub fn finish(&mut self, entity: &EntityKey) {
        if let Some(swarm) = self.swarms.get_mut(entity)
            && swarm.fetches
        {
            swarm.fetches = false;
            swarm
                .teller
                .set_fetching(Vec::new(), swarm.teller.fetched());
            self.dirty.insert(*entity);
            self.given.push_back(*entity);
            while self.given.len() > MAX_GIVEN {
                if let Some(oldest) = self.given.pop_front() {
                    self.leave(&oldest);
                }
            }
        }
    }

    /// This node takes part no longer. Where it was fetching, members are told, so that its
    /// claims change hands at once; those who ask for it later are told in any case.
    pub fn leave(&mut self, entity: &EntityKey) {
        if let Some(swarm) = self.swarms.remove(entity)
            && swarm.fetches
        {
            let members = swarm.told.iter().filter_map(|(peer, told)| {
                matches!(told, Told::Member(_) | Told::Asked).then_some(*peer)
            });
            self.leaving.add(&swarm.teller, members);
        }
        self.dirty.remove(entity);
        self.given.retain(|given| given != entity);
    }

    /// What a peer said was lost: it is asked for everything anew.
    pub fn ask_anew(&mut self, entity: &EntityKey, peer: P) {
        if let Some(swarm) = self.swarms.get_mut(entity)
            && self.links.contains_key(&peer)
        {
            swarm.told.insert(peer, Told::Nothing);
            self.dirty.insert(*entity);
        }
    }

    /// Whether this node fetches nothing together with others, and has nothing to tell.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let has_told = self.dirty.is_empty() && self.leaving.is_empty();
        has_told && self.swarms.values().all(|swarm| !swarm.fetches)
    }

    /// Who the peers are now. Those that are new are asked to take part in what is being
    /// fetched; those that are not any more are gone from every swarm.
    pub fn set_peers(&mut self, peers: &BTreeSet<P>) {
        let gone: Vec<P> = self
            .links
            .keys()
            .copied()
            .filter(|p| !peers.contains(p))
            .collect();
        let new: Vec<P> = peers
            .iter()
            .copied()
            .filter(|p| !self.links.contains_key(p))
            .collect();
        self.leaving.set_peers(peers);
        for peer in gone {
            self.links.remove(&peer);
            for (entity, swarm) in &mut self.swarms {
                if let (Some(Told::Member(_)), true) = (swarm.told.remove(&peer), swarm.fetches) {
                    self.heard.push_back((*entity, peer, Heard::Gone));
                }
            }
        }
        for peer in new {
            self.links.insert(peer, Link::default());
            for (entity, swarm) in self.swarms.iter_mut().filter(|(_, swarm)| swarm.fetches) {
                swarm.told.insert(peer, Told::Nothing);
                self.dirty.insert(*entity);
            }
        }
    }

    /// The message under way to a peer did not arrive, or was not answered.
    pub fn handle_failed(&mut self, to: P, now: Instant) {
        let lost = self.links.get_mut(&to).map_or(1, |link| {
            link.lost = link.lost.saturating_add(1);
            link.lost
        });
        let pause = AFTER_FAILURE * (1 << (lost - 1).min(DOUBLED));
        for (entity, before, _) in self.end_message(to, now + pause) {
            if let Some(swarm) = self.swarms.get_mut(&entity) {
                if lost >= GIVEN_UP && !swarm.fetches {
                    swarm.told.insert(to, Told::Outside);
                    continue;
                }
                // Unless it was heard of otherwise meanwhile.
                let told = swarm.told.entry(to).or_insert(Told::Nothing);
                if *told == Told::Asked || matches!(before, Told::Member(_)) {
                    // The answer that is lost may have told something.
                    *told = if swarm.fetches { Told::Nothing } else { before };
                }
                self.dirty.insert(entity);
            }
        }
    }

    /// The next message to send.
    pub fn poll_message(&mut self, now: Instant) -> Option<(P, Vec<News>)> {
        let free: Vec<P> = self
            .links
            .iter()
            .filter(|(_, link)| {
                link.under_way.is_none() && link.not_before.is_none_or(|at| at <= now)
            })
            .map(|(peer, _)| *peer)
            .collect();
        for peer in free {
            let mut message = self.leaving.take(&peer);
            let (mut under_way, mut runs) = (Vec::new(), 0);
            for entity in &self.dirty {
                if message.len() >= MAX_NEWS || runs >= MAX_RUNS {
                    break;
                }
                let Some(swarm) = self.swarms.get_mut(entity) else {
                    continue;
                };
                let Some(told) = swarm.told.get_mut(&peer) else {
                    continue;
                };
                let mut cursor = match told {
                    Told::Nothing if swarm.fetches => NewsCursor::default(),
                    Told::Member(cursor) => cursor.clone(),
                    _ => continue,
                };
                if let Some(news) = swarm.teller.news(&mut cursor) {
                    let is_join = *told == Told::Nothing;
                    let before = if is_join {
                        std::mem::replace(told, Told::Asked)
                    } else {
                        std::mem::replace(told, Told::Member(cursor.clone()))
                    };
                    runs += news.got.len() + news.fetching.len() + 20;
                    message.push(news);
                    under_way.push((*entity, before, cursor));
                }
            }
            let Some(link) = self.links.get_mut(&peer) else {
                continue;
            };
            // It was waited for; as long as there is nothing to tell, nothing is due.
            link.not_before = None;
            if !message.is_empty() {
                link.under_way = Some(under_way);
                link.sent_at = Some(now);
                return Some((peer, message));
            }
        }
        self.tidy();
        None
    }

    /// What members said, in the order of its coming.
    pub fn poll_heard(&mut self) -> Option<(EntityKey, P, Heard)> {
        self.heard.pop_front()
    }

    /// When [`Gossip::poll_message`] may have something that it had not now.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.dirty.is_empty() && self.leaving.is_empty() {
            return None;
        }
        let free = self.links.values().filter(|link| link.under_way.is_none());
        free.filter_map(|link| link.not_before).min()
    }

    fn gap(&self) -> Duration {
        let links = u32::try_from(self.links.len()).unwrap_or(u32::MAX);
        GAP.max(GAP_FOR_EACH.saturating_mul(links))
    }

    /// Forgets swarms of which nobody has anything to hear.
    fn tidy(&mut self) {
        let swarms = &self.swarms;
        self.dirty.retain(|entity| {
            swarms.get(entity).is_some_and(|swarm| {
                swarm.told.values().any(|told| match told {
                    Told::Nothing => swarm.fetches,
                    Told::Member(cursor) => swarm.teller.has_news(cursor),
                    Told::Asked | Told::Outside => false,
                })
            })
        });
    }

    fn end_message(&mut self, peer: P, not_before: Instant) -> Vec<(EntityKey, Told, NewsCursor)> {
        let Some(link) = self.links.get_mut(&peer) else {
            return Vec::new();
        };
        link.not_before = Some(not_before);
        link.under_way.take().unwrap_or_default()
    }
}
