//! What hosts tell each other.

use std::time::Duration;

use potluck_plan::{Heard, News, NewsKind, decode_news, encode_news};

use super::event::{Event, Letter, Place};
use super::member_host::peer_key;
use super::network::Crowd;

/// What a message or an answer costs beside its bytes: headers of TCP, TLS and yamux.
const OVERHEAD: u64 = 110;
/// A message that is not answered within this time has failed.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

impl Crowd {
    /// Sends what a host has to tell now, and sees when it may tell more.
    pub(super) fn tell(&mut self, place: Place) {
        let now = self.events.instant();
        while let Some((to, news)) = self.hosts[place].gossip.poll_message(now) {
            self.hosts[place].counts.messages += 1;
            let letter = Letter {
                from: place,
                to,
                life: self.hosts[place].life,
                bytes: encode_news(&news).into(),
            };
            self.post(place, &letter, Event::Message(letter.clone()));
        }
        let host = &mut self.hosts[place];
        if let Some(at) = host.gossip.poll_timeout() {
            let at = self.events.since_start(at).max(self.events.now());
            if host.tells_at.is_none_or(|before| at < before) {
                host.tells_at = Some(at);
                self.events.put(at, Event::Tell(place));
            }
        }
    }

    /// Sends a message or an answer, which may get lost.
    fn post(&mut self, sender: Place, letter: &Letter, event: Event) {
        self.hosts[sender].counts.control += letter.bytes.len() as u64 + OVERHEAD;
        if self.hosts[sender].vanished || self.random.f64() < self.settings.loss {
            let (asker, asked) = match event {
                Event::Message(_) => (letter.from, letter.to),
                _ => (letter.to, letter.from),
            };
            let lost = Event::Lost(asker, asked, letter.life);
            self.events.put_in(ANSWERED_WITHIN, lost);
            return;
        }
        let wait = self.latency();
        self.events.put_in(wait, event);
    }

    /// A host may have something to tell again.
    pub(super) fn may_tell(&mut self, place: Place) {
        let now = self.events.now();
        let host = &mut self.hosts[place];
        if host.tells_at.is_some_and(|at| at <= now) {
            host.tells_at = None;
            self.tell(place);
        }
    }

    /// A message has come: it is heard and answered.
    pub(super) fn hear(&mut self, letter: &Letter) {
        let (from, to) = (letter.from, letter.to);
        if !self.hosts[to].is_up() {
            let lost = Event::Lost(from, to, letter.life);
            self.events.put_in(ANSWERED_WITHIN, lost);
            return;
        }
        let (news, now) = (read(&letter.bytes), self.events.instant());
        let answer = self.hosts[to].gossip.handle_message(from, news, now);
        let answer = Letter {
            from: to,
            to: from,
            life: letter.life,
            bytes: encode_news(&answer).into(),
        };
        self.post(to, &answer, Event::Answer(answer.clone()));
        self.heed(to);
    }

    /// The answer to a message has come.
    pub(super) fn hear_answer(&mut self, letter: &Letter) {
        let now = self.events.instant();
        let (from, to) = (letter.from, letter.to);
        if self.hosts[to].life != letter.life || !self.hosts[to].is_up() {
            return;
        }
        let news = read(&letter.bytes);
        let pieces = self.layout.pieces();
        let whole = news.iter().any(|news| {
            news.kind == NewsKind::State
                && news.got.as_slice() == std::slice::from_ref(&(0..pieces))
        });
        self.hosts[to].gossip.handle_answer(from, news, now);
        if let Some(program) = &mut self.hosts[to].program
            && whole
        {
            program.window.handle_answer(true, now);
        }
        self.heed(to);
    }

    /// A message or its answer got lost.
    pub(super) fn lose(&mut self, place: Place, peer: Place, life: u32) {
        let now = self.events.instant();
        let host = &mut self.hosts[place];
        if host.life == life && host.is_up() {
            host.gossip.handle_failed(peer, now);
            self.settle(place);
        }
    }

    /// A host takes note of what its peers said.
    pub(super) fn heed(&mut self, place: Place) {
        let now = self.events.instant();
        while let Some((_, peer, heard)) = self.hosts[place].gossip.poll_heard() {
            if self.hosts[place].audits.exposed.contains(&peer) && heard != Heard::Gone {
                continue;
            }
            let id = self.hosts[peer].id;
            let doubts = match &heard {
                Heard::News(news) => news.doubts.clone(),
                Heard::Gone => Vec::new(),
            };
            self.with_plan(place, |plan| match heard {
                Heard::News(news) => plan.handle_news(peer_key(peer), id, &news, now),
                Heard::Gone => plan.handle_peer_left(peer_key(peer), now),
            });
            self.look_at_doubts(place, peer, &doubts);
        }
        self.settle(place);
    }
}

fn read(bytes: &[u8]) -> Vec<News> {
    decode_news(bytes).expect("a message that was encoded")
}
