//! What members tell, and what is answered.

use std::collections::BTreeMap;
use std::time::Instant;

use potluck_content::EntityKey;

use super::{Gossip, Heard, MAX_HEARD, Told};
use crate::swarm::news::{News, NewsCursor, NewsKind};

impl<P: Copy + Ord> Gossip<P> {
    /// A peer told something. Gives what to answer: also what it has not heard of this
    /// node yet in the same swarms, which saves a message the other way.
    pub fn handle_message(&mut self, from: P, news: Vec<News>, now: Instant) -> Vec<News> {
        let mut answers = Vec::new();
        let mut told_more = false;
        for one in news {
            let entity = one.entity;
            if let Some(answer) = self.hear(from, one) {
                answers.push(answer);
            } else if let Some(more) = self.tell_in_answer(from, &entity) {
                answers.push(more);
                told_more = true;
            }
        }
        let not_before = now + self.gap();
        if told_more && let Some(link) = self.links.get_mut(&from) {
            link.not_before = Some(not_before);
        }
        answers
    }

    /// What a member is to hear. If the answer is lost, the one who waits for it asks for
    /// everything.
    fn tell_in_answer(&mut self, to: P, entity: &EntityKey) -> Option<News> {
        // What is under way could come after the answer, and would be older.
        if self.links.get(&to)?.under_way.is_some() {
            return None;
        }
        let swarm = self.swarms.get_mut(entity)?;
        match swarm.told.get_mut(&to)? {
            Told::Member(cursor) if cursor.is_begun() => swarm.teller.news(cursor),
            _ => None,
        }
    }

    fn hear(&mut self, from: P, news: News) -> Option<News> {
        let entity = news.entity;
        let Some(swarm) = self.swarms.get_mut(&entity) else {
            let kind = NewsKind::Leave;
            return (news.kind != NewsKind::Join && news.kind != kind).then(|| News {
                kind,
                got: Vec::new(),
                fetching: Vec::new(),
                leader: None,
                doubts: Vec::new(),
                ..news
            });
        };
        if news.size != swarm.teller.size() {
            return None;
        }
        let told = swarm.told.get(&from).cloned();
        let is_member = matches!(told, Some(Told::Member(_)));
        match news.kind {
            NewsKind::Leave => {
                swarm.told.insert(from, Told::Outside);
                let fetches = swarm.fetches;
                if is_member && fetches {
                    self.push(entity, from, Heard::Gone);
                }
                None
            }
            NewsKind::Change if !is_member => {
                // It takes this node for a member that knows more than it does.
                // The answer may be lost: it is a member when it says everything.
                let (state, _) = swarm.teller.everything();
                if swarm.fetches && told != Some(Told::Asked) {
                    swarm.told.insert(from, Told::Nothing);
                    self.dirty.insert(entity);
                }
                Some(News {
                    kind: NewsKind::Join,
                    ..state
                })
            }
            NewsKind::Change => {
                self.push(entity, from, Heard::News(Box::new(news)));
                None
            }
            NewsKind::Join => {
                let (state, cursor) = swarm.teller.everything();
                swarm.told.insert(from, Told::Member(cursor));
                self.push(entity, from, Heard::News(Box::new(news)));
                Some(state)
            }
            NewsKind::State => {
                if !is_member {
                    swarm.told.insert(from, Told::Member(NewsCursor::default()));
                    self.dirty.insert(entity);
                }
                self.push(entity, from, Heard::News(Box::new(news)));
                None
            }
        }
    }

    /// A peer answered the message that is under way to it.
    pub fn handle_answer(&mut self, from: P, news: Vec<News>, now: Instant) {
        if let Some(link) = self.links.get_mut(&from) {
            link.lost = 0;
        }
        let under_way = self.end_message(from, now + self.gap());
        let mut answers: BTreeMap<EntityKey, News> =
            news.into_iter().map(|one| (one.entity, one)).collect();
        for (entity, before, cursor) in under_way {
            let answer = answers.remove(&entity);
            let Some(swarm) = self.swarms.get_mut(&entity) else {
                continue;
            };
            let was_member = matches!(before, Told::Member(_));
            let answer = answer.filter(|answer| answer.size == swarm.teller.size());
            let kind = answer.as_ref().map(|answer| answer.kind);
            let told = match kind {
                Some(NewsKind::State | NewsKind::Change) => Told::Member(cursor),
                // It wants to hear everything.
                Some(NewsKind::Join) => Told::Member(NewsCursor::default()),
                None if was_member => Told::Member(cursor),
                None | Some(NewsKind::Leave) => Told::Outside,
            };
            // What it said by itself meanwhile is newer than that it does not take part.
            let joined = matches!(swarm.told.get(&from), Some(Told::Member(_))) && !was_member;
            if !(joined && told == Told::Outside) {
                swarm.told.insert(from, told);
            }
            self.dirty.insert(entity);
            match answer {
                Some(_) if kind == Some(NewsKind::Leave) && was_member => {
                    self.push(entity, from, Heard::Gone);
                }
                Some(answer) if kind != Some(NewsKind::Leave) => {
                    self.push(entity, from, Heard::News(Box::new(answer)));
                }
                _ => {}
            }
        }
    }

    fn push(&mut self, entity: EntityKey, from: P, heard: Heard) {
        let fetches = self.swarms.get(&entity).map(|swarm| swarm.fetches);
        if fetches != Some(true) {
            return;
        }
        if self.heard.len() >= MAX_HEARD {
            return self.ask_anew(&entity, from);
        }
        self.heard.push_back((entity, from, heard));
    }
}
