//! Members of a swarm that tell each other what they have, over a way that loses messages.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use potluck_content::{EntityKey, Layout, PieceIndex};
use potluck_plan::{Gossip, Heard, News, NewsKind, Teller, decode_news, encode_news};

const PIECES: u32 = 40;
const ENTITY: EntityKey = EntityKey::from_bytes([3; 32]);

/// What a node believes of the others, kept as a plan keeps it.
#[derive(Default)]
struct Beliefs(BTreeMap<u32, (u32, BTreeSet<u32>)>);

struct Node {
    gossip: Gossip<u32>,
    beliefs: Beliefs,
    offered: BTreeSet<u32>,
}

enum Flight {
    Message(u32, u32, Vec<u8>),
    Answer(u32, u32, Vec<u8>),
    Lost(u32, u32),
}

impl Beliefs {
    fn hear(&mut self, from: u32, heard: Heard) {
        let Heard::News(news) = heard else {
            self.0.remove(&from);
            return;
        };
        let known = self.0.get(&from).map(|(epoch, _)| *epoch);
        if known.is_some_and(|epoch| news.epoch < epoch)
            || news.kind == NewsKind::Change && known != Some(news.epoch)
        {
            return;
        }
        let believed = self.0.entry(from).or_default();
        if known != Some(news.epoch) {
            *believed = (news.epoch, BTreeSet::new());
        }
        believed.1.extend(news.got.into_iter().flatten());
    }
}

impl Node {
    fn drain(&mut self) {
        while let Some((_, from, heard)) = self.gossip.poll_heard() {
            self.beliefs.hear(from, heard);
        }
    }

    fn read(bytes: &[u8]) -> Vec<News> {
        decode_news(bytes).expect("what was encoded")
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test needs some instant to start from"
)]
fn start() -> Instant {
    Instant::now()
}

/// Lets everything that is under way arrive, in any order, or get lost.
fn carry(nodes: &mut [Node], dice: &mut fastrand::Rng, lossy: bool, now: &mut Instant) -> usize {
    let mut flights = VecDeque::new();
    let mut sent = 0;
    for _ in 0..200 {
        *now += Duration::from_millis(5);
        for (name, node) in (0u32..).zip(nodes.iter_mut()) {
            while let Some((to, news)) = node.gossip.poll_message(*now) {
                flights.push_back(Flight::Message(name, to, encode_news(&news)));
                sent += 1;
            }
        }
        let Some(flight) = (!flights.is_empty())
            .then(|| flights.swap_remove_back(dice.usize(..flights.len())))
            .flatten()
        else {
            continue;
        };
        let lost = lossy && dice.u8(..5) == 0;
        match flight {
            Flight::Message(from, to, _) if lost && dice.bool() => {
                flights.push_back(Flight::Lost(from, to));
            }
            Flight::Message(from, to, bytes) => {
                let receiver = &mut nodes[to as usize];
                let news = Node::read(&bytes);
                let answer = receiver.gossip.handle_message(from, news, *now);
                receiver.drain();
                flights.push_back(if lost {
                    Flight::Lost(from, to)
                } else {
                    Flight::Answer(to, from, encode_news(&answer))
                });
            }
            Flight::Answer(from, to, bytes) => {
                let asker = &mut nodes[to as usize];
                asker.gossip.handle_answer(from, Node::read(&bytes), *now);
                asker.drain();
            }
            Flight::Lost(from, to) => nodes[from as usize].gossip.handle_failed(to, *now),
        }
    }
    sent
}

#[test]
fn everybody_knows_what_everybody_has_in_the_end() {
    for seed in 0..8000 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let layout = Layout::for_size(u64::from(PIECES) << 18).unwrap();
        let all: BTreeSet<u32> = (0..4).collect();
        let mut now = start();
        let mut nodes: Vec<Node> = (0..4u32)
            .map(|name| {
                let mut gossip = Gossip::default();
                gossip.set_peers(&all.iter().copied().filter(|it| *it != name).collect());
                Node {
                    gossip,
                    beliefs: Beliefs::default(),
                    offered: BTreeSet::new(),
                }
            })
            .collect();
        let mut joined = BTreeSet::new();
        for _ in 0..30 {
            let name = dice.u32(..4);
            let node = &mut nodes[name as usize];
            if joined.insert(name) {
                assert!(node.gossip.join(Teller::new(ENTITY, layout, None)));
            }
            let index = dice.u32(..PIECES);
            if dice.u8(..8) == 0 {
                node.offered.remove(&index);
                node.gossip
                    .tell(&ENTITY, |it| it.withdraw(&[PieceIndex(index)]));
            } else {
                node.offered.insert(index);
                node.gossip.tell(&ENTITY, |it| it.offer(PieceIndex(index)));
            }
            if dice.u8(..3) == 0 {
                carry(&mut nodes, &mut dice, true, &mut now);
            }
        }
        for _ in 0..4 {
            carry(&mut nodes, &mut dice, false, &mut now);
        }
        let sent = carry(&mut nodes, &mut dice, false, &mut now);
        assert_eq!(sent, 0, "seed {seed}: nothing is left to tell");
        for name in &joined {
            assert!(nodes[*name as usize].gossip.has_settled(&ENTITY, now));
            for other in joined.iter().filter(|other| *other != name) {
                let (_, believed) = &nodes[*name as usize].beliefs.0[other];
                let offered = &nodes[*other as usize].offered;
                assert_eq!(believed, offered, "seed {seed}: {name} of {other}");
            }
        }
    }
}

#[test]
fn who_is_complete_gives_and_who_goes_is_gone() {
    let layout = Layout::for_size(u64::from(PIECES) << 18).unwrap();
    let mut dice = fastrand::Rng::with_seed(1);
    let mut now = start();
    let mut nodes: Vec<Node> = (0..2u32)
        .map(|name| {
            let mut gossip = Gossip::default();
            gossip.set_peers(&BTreeSet::from([1 - name]));
            Node {
                gossip,
                beliefs: Beliefs::default(),
                offered: BTreeSet::new(),
            }
        })
        .collect();
    nodes[0].gossip.join(Teller::new(ENTITY, layout, None));
    nodes[0].gossip.tell(&ENTITY, |it| it.offer(PieceIndex(7)));
    nodes[0].gossip.finish(&ENTITY);
    // Who comes later hears of it.
    nodes[1].gossip.join(Teller::new(ENTITY, layout, None));
    assert!(
        !nodes[1].gossip.join(Teller::new(ENTITY, layout, None)),
        "twice"
    );
    carry(&mut nodes, &mut dice, false, &mut now);
    assert_eq!(nodes[1].beliefs.0[&0].1, BTreeSet::from([7]));
    // It hears no more of others itself.
    nodes[1].gossip.tell(&ENTITY, |it| it.offer(PieceIndex(8)));
    carry(&mut nodes, &mut dice, false, &mut now);
    assert!(nodes[0].beliefs.0.is_empty());
    nodes[1].gossip.set_peers(&BTreeSet::new());
    nodes[1].drain();
    assert!(nodes[1].beliefs.0.is_empty());
}

#[test]
fn nothing_is_due_for_who_has_nothing_to_hear() {
    let layout = Layout::for_size(u64::from(PIECES) << 18).unwrap();
    let mut gossip = Gossip::default();
    gossip.set_peers(&BTreeSet::from([1, 2]));
    gossip.join(Teller::new(ENTITY, layout, None));
    let mut now = start();
    while gossip.poll_message(now).is_some() {}
    let state = Teller::new(ENTITY, layout, None).everything().0;
    gossip.handle_answer(1, vec![state.clone()], now);
    gossip.handle_answer(2, vec![state], now);
    // One answers what it is told, the other is slow to, and there is more to tell it.
    for index in 0..2 {
        now += Duration::from_millis(30);
        gossip.tell(&ENTITY, |it| it.offer(PieceIndex(index)));
        while gossip.poll_message(now).is_some() {}
        gossip.handle_answer(1, Vec::new(), now);
    }
    now += Duration::from_millis(30);
    assert!(gossip.poll_message(now).is_none());
    let due = gossip.poll_timeout();
    assert!(due.is_none_or(|at| at > now), "{due:?} is over");
}

/// A node that takes part and has the peer 1, which it told nothing yet.
fn joined_with_one_peer() -> Gossip<u32> {
    let layout = Layout::for_size(u64::from(PIECES) << 18).expect("a size that there is");
    let mut gossip = Gossip::default();
    gossip.set_peers(&BTreeSet::from([1]));
    assert!(gossip.join(Teller::new(ENTITY, layout, None)));
    gossip
}

#[test]
fn who_cannot_be_told_is_not_told_for_ever() {
    let (mut now, mut gossip) = (start(), joined_with_one_peer());
    let (_, joining) = gossip.poll_message(now).unwrap();
    let takes_part = News {
        kind: NewsKind::State,
        ..joining[0].clone()
    };
    gossip.handle_answer(1, vec![takes_part], now);
    gossip.tell(&ENTITY, |teller| teller.offer(PieceIndex(1)));
    gossip.finish(&ENTITY);
    let mut tries = 0;
    while !gossip.is_idle() {
        now += Duration::from_secs(60);
        if gossip.poll_message(now).is_some() {
            tries += 1;
            gossip.handle_failed(1, now);
        }
        assert!(tries < 50, "it is told for ever");
    }
    assert!(tries > 3, "given up after {tries}");
}

#[test]
fn who_cannot_be_told_is_told_ever_less_often() {
    let (mut now, mut gossip) = (start(), joined_with_one_peer());
    let (end, mut tries) = (now + Duration::from_secs(20), 0);
    assert!(!gossip.has_settled(&ENTITY, now));
    while now < end {
        if gossip.poll_message(now).is_some() {
            tries += 1;
            gossip.handle_failed(1, now);
            assert!(gossip.has_settled(&ENTITY, now), "it is waited for");
        }
        now += Duration::from_millis(50);
    }
    assert!((8..=16).contains(&tries), "{tries}");
}

#[test]
fn who_leaves_says_so_to_all_and_may_come_again() {
    let layout = Layout::for_size(u64::from(PIECES) << 18).unwrap();
    let mut dice = fastrand::Rng::with_seed(2);
    let mut now = start();
    let all = BTreeSet::from([0, 1, 2]);
    let mut nodes: Vec<Node> = (0..3u32)
        .map(|name| {
            let mut gossip = Gossip::default();
            gossip.set_peers(&all.iter().copied().filter(|it| *it != name).collect());
            assert!(gossip.join(Teller::new(ENTITY, layout, None)));
            Node {
                gossip,
                beliefs: Beliefs::default(),
                offered: BTreeSet::new(),
            }
        })
        .collect();
    nodes[0].gossip.tell(&ENTITY, |it| it.offer(PieceIndex(7)));
    carry(&mut nodes, &mut dice, false, &mut now);
    let believed = |node: &Node| node.beliefs.0.contains_key(&0);
    assert!(nodes[1..].iter().all(believed));

    // The others say nothing meanwhile.
    nodes[0].gossip.leave(&ENTITY);
    assert!(!nodes[0].gossip.is_idle());
    carry(&mut nodes, &mut dice, false, &mut now);
    assert!(!nodes[1..].iter().any(believed));
    assert!(nodes[0].gossip.is_idle());

    // Who leaves and is back before anybody heard of it does not leave.
    let anew = |epoch| Teller::new(ENTITY, layout, None).counting_from(epoch);
    assert!(nodes[0].gossip.join(anew(2)));
    carry(&mut nodes, &mut dice, false, &mut now);
    nodes[0].gossip.leave(&ENTITY);
    assert!(nodes[0].gossip.join(anew(3)));
    carry(&mut nodes, &mut dice, false, &mut now);
    assert!(nodes[1..].iter().all(believed));
    assert!(nodes[0].gossip.has_settled(&ENTITY, now));
    // Nobody is left to hear it.
    nodes[0].gossip.leave(&ENTITY);
    nodes[0].gossip.set_peers(&BTreeSet::new());
    assert!(nodes[0].gossip.is_idle());
}
