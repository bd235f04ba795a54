use std::time::SystemTime;

use proptest::prelude::*;

use super::*;
use crate::beacon::tests::peer;
use crate::peer_calls::{DIAL_BURST, GRACE};
use crate::peer_entries::MAX_ENTRIES;
use crate::table_action::Sighting;

/// Two ids, the smaller first.
pub(crate) fn pair() -> (PeerId, PeerId) {
    let (a, b) = (peer(1), peer(2));
    (a.min(b), a.max(b))
}

pub(crate) fn table(me: PeerId, max_peers: usize, now: Instant) -> PeerTable {
    PeerTable::new(me, max_peers, Vec::new(), 7, now)
}

pub(crate) fn sighting(peer: PeerId, generation: u64) -> Sighting {
    Sighting {
        peer,
        generation,
        address: "10.0.0.9:7382".parse().unwrap(),
        name: "cellar".to_owned(),
    }
}

pub(crate) fn info(id: PeerId, generation: u64) -> PeerInfo {
    PeerInfo {
        id,
        name: "cellar".to_owned(),
        address: "10.0.0.9:7381".parse().unwrap(),
        since: SystemTime::UNIX_EPOCH,
        certificate_expires: SystemTime::UNIX_EPOCH,
        generation,
    }
}

pub(crate) fn actions(table: &mut PeerTable) -> Vec<TableAction> {
    std::iter::from_fn(|| table.poll_action()).collect()
}

fn dialed(table: &mut PeerTable) -> Vec<DialTarget> {
    let actions = actions(table).into_iter();
    let dials = actions.filter_map(|action| match action {
        TableAction::Dial { target, .. } => Some(target),
        _ => None,
    });
    dials.collect()
}

/// A table with one peer on its list.
pub(crate) fn with_peer(now: Instant) -> (PeerTable, PeerId) {
    let (me, other) = pair();
    let mut table = table(me, 32, now);
    table.handle_sighting(&sighting(other, 5), now);
    assert_eq!(dialed(&mut table), [DialTarget::Peer(other)]);
    let dialed = Some(DialTarget::Peer(other));
    let admission = table.handle_connected(other, dialed, now);
    assert_eq!(admission, Admission::Welcome);
    assert_eq!(table.listed().count(), 0, "a Hello is still to come");
    table.handle_hello(info(other, 5), now);
    assert_eq!(table.listed().count(), 1);
    actions(&mut table);
    (table, other)
}

#[test]
fn the_smaller_id_calls_at_once_and_the_larger_after_a_while() {
    let now = Instant::now();
    let (small, large) = pair();
    let mut first = table(small, 32, now);
    first.handle_sighting(&sighting(large, 1), now);
    assert_eq!(dialed(&mut first), [DialTarget::Peer(large)]);

    let mut second = table(large, 32, now);
    second.handle_sighting(&sighting(small, 1), now);
    assert_eq!(dialed(&mut second), []);
    let due = second.poll_timeout().unwrap();
    assert!((GRACE..=GRACE * 5 / 4).contains(&(due - now)));
    second.handle_timeout(due);
    assert_eq!(dialed(&mut second), [DialTarget::Peer(small)]);
}

#[test]
fn who_called_meanwhile_is_not_called_back() {
    let now = Instant::now();
    let (small, large) = pair();
    let mut table = table(large, 32, now);
    table.handle_sighting(&sighting(small, 1), now);
    assert_eq!(table.handle_connected(small, None, now), Admission::Welcome);
    table.handle_timeout(now + GRACE * 2);
    assert_eq!(dialed(&mut table), []);
}

#[test]
fn failed_calls_are_repeated_ever_more_seldom() {
    let now = Instant::now();
    let (me, other) = pair();
    let mut table = table(me, 32, now);
    table.handle_sighting(&sighting(other, 1), now);
    let mut waits = Vec::new();
    let mut at = now;
    for _ in 0..12 {
        assert_eq!(dialed(&mut table), [DialTarget::Peer(other)]);
        table.handle_dial_failed(DialTarget::Peer(other), Setback::Unreachable, at);
        let next = table.poll_timeout().unwrap();
        waits.push((next - at).as_secs_f64());
        at = next;
        table.handle_sighting(&sighting(other, 1), at);
        table.handle_timeout(at);
    }
    assert!(waits[0] < 2.0 && waits[4] > 8.0, "{waits:?}");
    assert!(waits[11] > 200.0 && waits[11] < 400.0, "{waits:?}");
}

#[test]
fn a_restarted_node_is_not_its_former_self() {
    let now = Instant::now();
    let (mut table, other) = with_peer(now);
    table.handle_sighting(&sighting(other, 4), now);
    table.handle_sighting(&sighting(other, 5), now);
    assert!(actions(&mut table).is_empty());

    table.handle_sighting(&sighting(other, 6), now);
    // Anybody may say so: its connection is asked.
    assert!(matches!(actions(&mut table)[..], [TableAction::Check(_)]));
    assert_eq!(table.listed().count(), 1);
    let lost = Departure::Unreachable;
    table.handle_disconnected(&other, lost, Setback::Unreachable, now);
    let done = actions(&mut table);
    assert!(matches!(&done[0], TableAction::Removed(..)));
    let now = now + Duration::from_secs(5);
    table.handle_timeout(now);
    let done = actions(&mut table);
    assert!(matches!(done[..], [TableAction::Dial { .. }]));
    let dialed = Some(DialTarget::Peer(other));
    table.handle_connected(other, dialed, now);
    table.handle_hello(info(other, 6), now);
    assert_eq!(table.info(&other).unwrap().generation, 6);
    table.handle_sighting(&sighting(other, 6), now);
    assert_eq!(table.listed().count(), 1);
}

#[test]
fn a_restart_ends_the_wait_after_an_unreachable_run_but_not_after_a_fault() {
    let now = Instant::now();
    let (me, other) = pair();
    for (why, at_once) in [(Setback::Unreachable, true), (Setback::Refused, false)] {
        let mut table = table(me, 32, now);
        table.handle_sighting(&sighting(other, 1), now);
        actions(&mut table);
        table.handle_dial_failed(DialTarget::Peer(other), why, now);
        table.handle_sighting(&sighting(other, 2), now);
        assert_eq!(dialed(&mut table).len() == 1, at_once, "{why:?}");
    }
    let (mut table, other) = with_peer(now);
    let fault = Departure::Fault("it lied".to_owned());
    table.handle_dismissal(other, fault, Setback::Fault, now);
    let done = actions(&mut table);
    assert!(matches!(&done[0], TableAction::Removed(..)));
    assert!(matches!(done[1], TableAction::Close(_)));
    table.handle_sighting(&sighting(other, 9), now);
    table.handle_timeout(now + Duration::from_secs(300));
    assert_eq!(dialed(&mut table), []);
    assert_eq!(table.handle_connected(other, None, now), Admission::Shunned);
}

#[test]
fn a_goodbye_is_checked_before_it_is_believed() {
    let now = Instant::now();
    let (mut table, other) = with_peer(now);
    table.handle_goodbye(&other, 4);
    assert!(actions(&mut table).is_empty(), "of an earlier run");
    table.handle_goodbye(&other, 5);
    assert!(matches!(actions(&mut table)[..], [TableAction::Check(_)]));
    assert_eq!(table.listed().count(), 1);
    let lost = Departure::Lost("closed".to_owned());
    table.handle_disconnected(&other, lost, Setback::Unreachable, now);
    let done = actions(&mut table);
    assert!(matches!(
        &done[..],
        [TableAction::Removed(_, Departure::Left)]
    ));
    assert_eq!(table.poll_timeout(), None, "nobody is called");
}

#[test]
fn a_lost_peer_is_called_again() {
    let now = Instant::now();
    let (mut table, other) = with_peer(now);
    let lost = Departure::Lost("reset".to_owned());
    table.handle_disconnected(&other, lost, Setback::Unreachable, now);
    assert!(matches!(
        &actions(&mut table)[..],
        [TableAction::Removed(_, Departure::Lost(_))]
    ));
    let due = table.poll_timeout().unwrap();
    assert!(due - now < Duration::from_secs(2));
    table.handle_timeout(due);
    assert_eq!(dialed(&mut table), [DialTarget::Peer(other)]);
}

#[test]
fn places_and_calls_are_bounded() {
    let now = Instant::now();
    let me = peer(0);
    let mut table = table(me, 8, now);
    for n in 1..100 {
        table.handle_sighting(&sighting(peer(n), 1), now);
    }
    table.handle_timeout(now + Duration::from_secs(1));
    assert_eq!(dialed(&mut table).len(), 6, "three quarters of the places");
    assert_eq!(table.need(), None);
    for n in 200..202 {
        assert_eq!(
            table.handle_connected(peer(n), None, now),
            Admission::Welcome
        );
    }
    assert!(!table.has_room());
    assert_eq!(
        table.handle_connected(peer(300), None, now),
        Admission::Full
    );
}

#[test]
fn calls_have_a_rate() {
    let now = Instant::now();
    let me = peer(0);
    let mut table = table(me, 4000, now);
    let mut calls = 0;
    for n in 1..500 {
        table.handle_sighting(&sighting(peer(n), 1), now);
        for target in dialed(&mut table) {
            calls += 1;
            table.handle_dial_failed(target, Setback::Unreachable, now);
        }
    }
    assert!(calls <= DIAL_BURST + 1, "{calls} calls at once");
    assert!(table.poll_timeout().unwrap() > now);
}

/// If all forgot the same nodes, all would call the same few that are left.
#[test]
fn on_a_large_site_each_remembers_others() {
    let now = Instant::now();
    let mut tables = [7, 8].map(|seed| PeerTable::new(peer(1), 0, Vec::new(), seed, now));
    let all: Vec<PeerId> = (10..10 + 4 * MAX_ENTRIES as u64).map(peer).collect();
    for seen in &all {
        for table in &mut tables {
            table.handle_sighting(&sighting(*seen, 1), now);
        }
    }
    let known = |peer: &&PeerId| tables.iter().all(|table| table.entries.contains_key(peer));
    let by_both = all.iter().filter(known).count();
    assert!(by_both < MAX_ENTRIES * 3 / 4, "{by_both}");
    let early = all[..MAX_ENTRIES].iter();
    let early = early.filter(|peer| tables[0].entries.contains_key(peer));
    assert!(early.count() > 0);
}

#[test]
fn memory_is_bounded() {
    let now = Instant::now();
    let (mut table, other) = with_peer(now);
    for n in 10..10 + 2 * MAX_ENTRIES as u64 {
        table.handle_sighting(&sighting(peer(n), 1), now + Duration::from_secs(1));
    }
    assert_eq!(table.entries.len(), MAX_ENTRIES);
    assert!(table.info(&other).is_some());
    table.handle_timeout(now + FORGET_AFTER * 2);
    assert!(table.info(&other).is_some(), "a peer is not forgotten");
}

#[test]
fn static_peers_are_called_when_resolved_and_known_by_their_answer() {
    let now = Instant::now();
    let (me, other) = pair();
    let statics = vec![StaticPeer::parse("10.0.0.9:7381", now).unwrap()];
    let mut table = PeerTable::new(me, 32, statics, 7, now);
    table.handle_timeout(now);
    assert_eq!(dialed(&mut table), []);
    let resolve = table.statics_to_resolve();
    assert_eq!(resolve, [(0, "10.0.0.9".to_owned(), 7382)]);
    table.handle_resolved(0, "10.0.0.9:7382".parse().unwrap(), now);
    let target = DialTarget::Static(0);
    assert_eq!(dialed(&mut table), [target]);
    table.handle_dial_failed(target, Setback::Unreachable, now);
    let due = table.poll_timeout().unwrap();
    table.handle_timeout(due);
    assert_eq!(dialed(&mut table), [target]);
    table.handle_connected(other, Some(target), due);
    table.handle_hello(info(other, 1), due);
    assert!(table.statics_to_resolve().is_empty());
    actions(&mut table);

    // Whatever happens to it, it is called again.
    table.handle_goodbye(&other, 1);
    let lost = Departure::Lost("closed".to_owned());
    table.handle_disconnected(&other, lost, Setback::Unreachable, due);
    actions(&mut table);
    assert_eq!(table.statics_to_resolve().len(), 1);
    let again = table.poll_timeout().unwrap();
    table.handle_timeout(again);
    assert_eq!(dialed(&mut table), [target]);
}

#[test]
fn this_node_is_never_its_own_peer() {
    let now = Instant::now();
    let me = peer(1);
    let statics = vec![StaticPeer::parse("10.0.0.9", now).unwrap()];
    let mut table = PeerTable::new(me, 32, statics, 7, now);
    table.handle_sighting(&sighting(me, 1), now);
    table.handle_resolved(0, "10.0.0.9:7382".parse().unwrap(), now);
    assert_eq!(dialed(&mut table), [DialTarget::Static(0)]);
    table.handle_myself(DialTarget::Static(0));
    assert_eq!(table.poll_timeout(), None);
    assert!(table.statics_to_resolve().is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Sighting(u64, u64),
    Goodbye(u64, u64),
    Connected(u64),
    Hello(u64, u64),
    Lost(u64),
    Failed(u64),
    Fault(u64),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (who, generation) = (0_u64..12, 1_u64..4);
    prop_oneof![
        (who.clone(), generation.clone()).prop_map(|(who, it)| Step::Sighting(who, it)),
        (who.clone(), generation.clone()).prop_map(|(who, it)| Step::Goodbye(who, it)),
        who.clone().prop_map(Step::Connected),
        (who.clone(), generation).prop_map(|(who, it)| Step::Hello(who, it)),
        who.clone().prop_map(Step::Lost),
        who.clone().prop_map(Step::Failed),
        who.prop_map(Step::Fault),
        (1_u64..2000).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens in whatever order: the list is bounded, and what was announced
    /// is what is listed.
    #[test]
    fn the_list_is_what_was_announced(steps in proptest::collection::vec(step(), 0..200)) {
        let mut now = Instant::now();
        let mut table = table(peer(0), 6, now);
        let mut announced = std::collections::BTreeSet::new();
        let lost = || Departure::Lost(String::new());
        for step in steps {
            match step {
                Step::Sighting(who, it) => table.handle_sighting(&sighting(peer(who), it), now),
                Step::Goodbye(who, it) => table.handle_goodbye(&peer(who), it),
                Step::Connected(who) if who != 0 => {
                    table.handle_connected(peer(who), None, now);
                }
                Step::Connected(_) => {}
                Step::Hello(who, it) => table.handle_hello(info(peer(who), it), now),
                Step::Lost(who) => {
                    table.handle_disconnected(&peer(who), lost(), Setback::Unreachable, now);
                }
                Step::Failed(who) => {
                    let target = DialTarget::Peer(peer(who));
                    table.handle_dial_failed(target, Setback::Unreachable, now);
                }
                Step::Fault(who) => {
                    table.handle_dismissal(peer(who), lost(), Setback::Fault, now);
                }
                Step::Wait(millis) => {
                    now += Duration::from_millis(millis);
                    table.handle_timeout(now);
                }
            }
            for action in actions(&mut table) {
                match action {
                    TableAction::Added(info) => prop_assert!(announced.insert(info.id)),
                    TableAction::Removed(info, _) => prop_assert!(announced.remove(&info.id)),
                    _ => {}
                }
            }
            let listed: std::collections::BTreeSet<_> =
                table.listed().map(|info| info.id).collect();
            prop_assert_eq!(&listed, &announced);
            prop_assert!(table.occupied() <= 6);
            prop_assert!(!listed.contains(&peer(0)));
        }
    }
}
