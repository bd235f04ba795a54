//! Who says, in a swarm of which nobody sees all, which members fetch from the origin.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use potluck_content::EntityKey;

use super::member::MemberId;

/// How often a leader shows that it is there.
const BEAT: Duration = Duration::from_secs(1);
/// A leader that was not heard of for so long is gone.
const LOST_AFTER: Duration = Duration::from_secs(5);
/// When there is no leader, nobody waits longer than this before standing.
const LONGEST_WAIT: Duration = Duration::from_millis(300);
/// Leaders that are gone, or not trusted; more are not remembered.
const MOST_GONE: usize = 64;
/// After so many leaders under whom it starved, a member follows none.
const MOST_FAILED: u32 = 3;

/// The leader of a swarm, as one member tells another.
///
/// Who begins and hears of no leader stands as one; of two the rank decides; who hears of
/// one does not stand, so that the one there is stays. Word of it goes from member to
/// member. Its neighbours fetch for the whole swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Who it is.
    pub id: MemberId,
    /// Goes up while it lives.
    pub beat: u32,
    /// Who fetches from the origin. Said by the leader itself alone; else empty.
    pub fetchers: Vec<MemberId>,
    /// Whom it replaces, with the last beat that was heard of that one: who followed it need
    /// not wait to notice.
    pub instead_of: Option<(MemberId, u32)>,
}

/// What one member knows of the leader.
#[derive(Debug)]
pub(super) struct Leading {
    me: MemberId,
    entity: EntityKey,
    leader: Option<Leader>,
    /// When the beat last went up; since when there is no leader.
    since: Instant,
    gone: BTreeMap<MemberId, u32>,
    /// The last that went away, or fell silent.
    last: Option<(MemberId, u32)>,
    failed: u32,
    /// Whether it may stand.
    began: bool,
}

impl Leading {
    pub(super) const fn new(me: MemberId, entity: EntityKey, now: Instant) -> Self {
        Self {
            me,
            entity,
            leader: None,
            since: now,
            gone: BTreeMap::new(),
            last: None,
            failed: 0,
            began: false,
        }
    }

    pub(super) const fn leader(&self) -> Option<&Leader> {
        self.leader.as_ref()
    }

    /// Whether another member leads.
    pub(super) fn is_led(&self) -> bool {
        self.leader.as_ref().is_some_and(|it| it.id != self.me)
    }

    /// A member told who leads. Says whether that is something new.
    pub(super) fn hear(&mut self, from: MemberId, told: &Leader, now: Instant) -> bool {
        let is_gone = self
            .gone
            .get(&told.id)
            .is_some_and(|beat| told.beat <= *beat);
        if told.id == self.me || is_gone || self.failed >= MOST_FAILED {
            return false;
        }
        self.hear_of_end(told, now);
        let entity = self.entity;
        let rank = |id: MemberId| (id.rank(&entity, u32::MAX - 2), id);
        match &mut self.leader {
            Some(known) if known.id == told.id => {
                if told.beat > known.beat {
                    known.beat = told.beat;
                    self.since = now;
                }
                let news = from == told.id && known.fetchers != told.fetchers;
                if news {
                    known.fetchers.clone_from(&told.fetchers);
                }
                news
            }
            Some(known) if rank(known.id) > rank(told.id) => false,
            _ => {
                let fetchers = if from == told.id {
                    told.fetchers.clone()
                } else {
                    Vec::new()
                };
                self.leader = Some(Leader { fetchers, ..*told });
                self.since = now;
                true
            }
        }
    }

    /// Somebody stands because another is gone. Where that is not so, its next beat tells.
    fn hear_of_end(&mut self, told: &Leader, now: Instant) {
        let (Some((gone, beat)), Some(known)) = (told.instead_of, &mut self.leader) else {
            return;
        };
        if known.id != gone || known.beat > beat {
            return;
        }
        if gone == self.me {
            known.beat = beat.saturating_add(1);
            self.since = now;
        } else {
            self.lose(now);
        }
    }

    /// From now on this node may stand itself.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        self.began = true;
        self.since = now;
        if self.leader.is_none() {
            self.stand();
            return true;
        }
        false
    }

    /// Time went by. Says whether something changed.
    pub(super) fn tick(&mut self, now: Instant) -> bool {
        let waited = now.saturating_duration_since(self.since);
        let turn = self.turn();
        match &mut self.leader {
            Some(leader) if leader.id == self.me => {
                if waited >= BEAT {
                    leader.beat = leader.beat.saturating_add(1);
                    self.since = now;
                }
                false
            }
            Some(_) if waited >= LOST_AFTER => {
                self.lose(now);
                true
            }
            None if self.began && waited >= turn => {
                self.stand();
                true
            }
            _ => false,
        }
    }

    /// The leader is gone: word of it counts no more until it is heard of anew.
    pub(super) fn lose(&mut self, now: Instant) {
        if let Some(leader) = self.leader.take() {
            self.last = Some((leader.id, leader.beat));
            if self.gone.len() < MOST_GONE || self.gone.contains_key(&leader.id) {
                self.gone.insert(leader.id, leader.beat);
            }
            self.since = now;
        }
    }

    /// Nothing comes under this leader: it is followed no more, whatever is heard of it.
    /// Nobody knows whether it is there at all.
    pub(super) fn distrust(&mut self, now: Instant) {
        if let Some(leader) = &mut self.leader {
            leader.beat = u32::MAX;
            self.failed += 1;
            self.lose(now);
            // That is nobody else's business.
            self.last = None;
        }
    }

    /// Who fetches, as this node says when it leads.
    pub(super) fn set_fetchers(&mut self, fetchers: Vec<MemberId>) {
        if let Some(leader) = &mut self.leader
            && leader.id == self.me
        {
            leader.fetchers = fetchers;
        }
    }

    fn stand(&mut self) {
        self.leader = Some(Leader {
            id: self.me,
            // More than was heard of it in a life before, whatever that was.
            beat: self
                .gone
                .get(&self.me)
                .map_or(1, |beat| beat.saturating_add(1)),
            fetchers: Vec::new(),
            instead_of: self.last.filter(|(id, _)| *id != self.me),
        });
    }

    /// Not all at once: for each another wait.
    fn turn(&self) -> Duration {
        let part = (self.me.rank(&self.entity, u32::MAX - 3) >> 54) as u32;
        LONGEST_WAIT * part / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTITY: EntityKey = EntityKey::from_bytes([1; 32]);

    fn id(name: u8) -> MemberId {
        MemberId([name; 16])
    }

    fn leader(name: u8, beat: u32) -> Leader {
        Leader {
            id: id(name),
            beat,
            fetchers: Vec::new(),
            instead_of: None,
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a test needs some instant to start from"
    )]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn who_hears_of_a_leader_in_time_does_not_stand() {
        let now = start();
        let mut late = Leading::new(id(1), ENTITY, now);
        assert!(late.hear(id(2), &leader(3, 7), now));
        assert!(!late.begin(now));
        assert!(late.is_led());
        let mut alone = Leading::new(id(1), ENTITY, now);
        assert!(alone.begin(now) && !alone.is_led());
    }

    #[test]
    fn of_two_all_follow_the_same() {
        let now = start();
        let both = |first: u8, second: u8| {
            let mut it = Leading::new(id(9), ENTITY, now);
            it.hear(id(5), &leader(first, 1), now);
            it.hear(id(5), &leader(second, 1), now);
            it.leader().unwrap().id
        };
        for (one, other) in [(1, 2), (2, 3), (3, 1)] {
            assert_eq!(both(one, other), both(other, one));
        }
    }

    #[test]
    fn a_leader_that_falls_silent_is_replaced_and_old_word_of_it_is_not_believed() {
        let mut now = start();
        let mut it = Leading::new(id(1), ENTITY, now);
        it.hear(id(2), &leader(3, 7), now);
        it.begin(now);
        for beat in 8..20 {
            now += BEAT;
            it.hear(id(2), &leader(3, beat), now);
            assert!(!it.tick(now));
        }
        assert!(it.tick(now + LOST_AFTER));
        now += LOST_AFTER;
        assert!(!it.hear(id(2), &leader(3, 19), now));
        now += LONGEST_WAIT;
        assert!(it.tick(now) && !it.is_led());
    }

    #[test]
    fn who_stands_for_one_that_is_gone_is_followed_at_once() {
        let now = start();
        // Whoever of the two ranks higher.
        for (old, new) in [(3, 4), (4, 3)] {
            let mut near = Leading::new(id(new), ENTITY, now);
            near.hear(id(old), &leader(old, 7), now);
            near.begin(now);
            near.lose(now);
            assert!(near.tick(now + LONGEST_WAIT));
            let stands = near.leader().unwrap().clone();
            assert_eq!(stands.instead_of, Some((id(old), 7)));

            let mut far = Leading::new(id(9), ENTITY, now);
            far.hear(id(5), &leader(old, 7), now);
            assert!(far.hear(id(5), &stands, now));
            assert_eq!(far.leader().unwrap().id, id(new));
            assert!(!far.hear(id(6), &leader(old, 7), now), "old word of it");

            let mut alive = Leading::new(id(old), ENTITY, now);
            alive.begin(now);
            alive.leader.as_mut().unwrap().beat = 7;
            alive.hear(id(5), &stands, now);
            let leads = alive.leader().unwrap();
            assert!(leads.id == id(new) || leads.beat == 8, "{leads:?}");
        }
    }

    #[test]
    fn who_starves_under_made_up_leaders_follows_none_in_the_end() {
        let now = start();
        let mut it = Leading::new(id(1), ENTITY, now);
        for name in 10..20 {
            if it.hear(id(2), &leader(name, 1), now) {
                it.distrust(now);
                assert!(!it.hear(id(2), &leader(name, 9), now));
            }
        }
        assert!(!it.hear(id(2), &leader(3, 1), now));
        assert_eq!(it.failed, MOST_FAILED);
    }
}
