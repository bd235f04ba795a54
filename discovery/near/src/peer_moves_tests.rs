use std::time::Duration;

use super::*;
use crate::peer_table::tests::{actions, info, pair, sighting, table, with_peer};
use crate::table_action::{Admission, Sighting};

fn sighting_at(peer: PeerId, last: u8, generation: u64) -> Sighting {
    Sighting {
        address: ([10, 0, 0, last], 7382).into(),
        ..sighting(peer, generation)
    }
}

#[test]
fn where_nobody_answers_another_address_is_tried_at_once() {
    let now = Instant::now();
    let (me, other) = pair();
    let mut table = table(me, 32, now);
    table.handle_sighting(&sighting_at(other, 1, 1), now);
    table.handle_sighting(&sighting_at(other, 2, 1), now);
    let call = |table: &mut PeerTable| match actions(table).pop() {
        Some(TableAction::Dial { address, .. }) => Some(address.to_string()),
        _ => None,
    };
    assert_eq!(call(&mut table).unwrap(), "10.0.0.1:7382");
    table.handle_dial_failed(DialTarget::Peer(other), Setback::Unreachable, now);
    assert_eq!(call(&mut table).unwrap(), "10.0.0.2:7382");
    table.handle_dial_failed(DialTarget::Peer(other), Setback::Unreachable, now);
    assert_eq!(call(&mut table), None, "now it is left alone for a while");
    assert!(table.poll_timeout().unwrap() > now);
}

#[test]
fn a_peer_that_moves_is_checked_called_and_keeps_its_place() {
    let now = Instant::now();
    let (mut table, other) = with_peer(now);
    let since = table.info(&other).unwrap().since;
    table.handle_sighting(&sighting_at(other, 77, 5), now);
    assert!(matches!(actions(&mut table)[..], [TableAction::Check(_)]));
    table.handle_sighting(&sighting_at(other, 77, 5), now);
    assert!(actions(&mut table).is_empty(), "it is checked once");

    let later = now + Duration::from_secs(20);
    table.handle_sighting(&sighting_at(other, 77, 5), later);
    table.handle_check_failed(other, later);
    match &actions(&mut table)[..] {
        [TableAction::Dial { address, .. }] => assert_eq!(address.to_string(), "10.0.0.77:7382"),
        done => panic!("{done:?}"),
    }
    // The old connection breaks meanwhile.
    let lost = Departure::Lost("reset".to_owned());
    table.handle_disconnected(&other, lost, Setback::Unreachable, later);
    assert!(actions(&mut table).is_empty() && table.info(&other).is_some());
    let dialed = Some(DialTarget::Peer(other));
    let admission = table.handle_connected(other, dialed, later);
    assert_eq!(admission, Admission::Welcome);
    let mut moved = info(other, 5);
    moved.address = ([10, 0, 0, 77], 7381).into();
    table.handle_hello(moved.clone(), later);
    match &actions(&mut table)[..] {
        [TableAction::Moved(now_there, _)] => {
            assert_eq!((now_there.address, now_there.since), (moved.address, since));
        }
        done => panic!("{done:?}"),
    }
    assert_eq!(table.info(&other).unwrap().address, moved.address);
}

#[test]
fn a_peer_that_answers_nowhere_goes() {
    let now = Instant::now();
    let (mut table, other) = with_peer(now);
    table.handle_sighting(&sighting(other, 5), now);
    table.handle_links_changed();
    assert!(matches!(actions(&mut table)[..], [TableAction::Check(_)]));
    table.handle_check_failed(other, now);
    assert!(matches!(
        actions(&mut table)[..],
        [TableAction::Dial { .. }]
    ));
    table.handle_dial_failed(DialTarget::Peer(other), Setback::Unreachable, now);
    assert!(matches!(
        actions(&mut table)[..],
        [
            TableAction::Removed(_, Departure::Unreachable),
            TableAction::Close(_)
        ]
    ));
    assert_eq!(table.listed().count(), 0);
}
