use super::*;
use crate::identity::NodeIdentity;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn at(day: u32) -> SystemTime {
    UNIX_EPOCH + DAY * (20_000 + day)
}

fn list(version: u64, entries: &[(PeerId, u32)]) -> RevocationList {
    let entry = |day| Revocation::new("lost".parse().unwrap(), "stolen", at(day));
    RevocationList {
        version,
        issued: at(0),
        entries: entries
            .iter()
            .map(|(peer, day)| (*peer, entry(*day)))
            .collect(),
        ..RevocationList::empty(Fingerprint::from_bytes([7; 16]))
    }
}

fn peer() -> PeerId {
    NodeIdentity::generate().unwrap().peer_id()
}

#[test]
fn its_bytes_are_read_back_and_no_others_are() {
    let list = list(3, &[(peer(), 1), (peer(), 2)]);
    let bytes = list.to_bytes();
    assert_eq!(RevocationList::from_bytes(&bytes), Some(list));
    for len in 0..bytes.len() {
        assert_eq!(RevocationList::from_bytes(&bytes[..len]), None, "{len}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(RevocationList::from_bytes(&longer), None);
    let empty = RevocationList::empty(Fingerprint::from_bytes([7; 16]));
    assert_eq!(RevocationList::from_bytes(&empty.to_bytes()), Some(empty));
}

#[test]
fn entries_have_one_order() {
    let (a, b) = (peer(), peer());
    let (one, two) = (list(1, &[(a, 1)]).to_bytes(), list(1, &[(b, 1)]).to_bytes());
    let head = 4 + 16 + 8 + 8;
    let both = |first: &[u8], second: &[u8]| {
        let entries = [&first[head + 4..], &second[head + 4..]].concat();
        let bytes = [&one[..head], &[0, 0, 0, 2], &entries].concat();
        RevocationList::from_bytes(&bytes).is_some()
    };
    assert_ne!(both(&one, &two), both(&two, &one));
    assert!(!both(&one, &one));
}

#[test]
fn a_union_loses_nobody_and_is_newer_than_both() {
    let (a, b, now) = (peer(), peer(), at(10));
    let (ours, theirs) = (list(2, &[(a, 3)]), list(5, &[(a, 2), (b, 4)]));
    assert!(ours.lacks_of(&theirs, DAY * 30, now));
    assert!(!theirs.lacks_of(&ours, DAY * 30, now));
    let union = ours.union(&theirs, DAY * 30, now);
    assert_eq!((union.version, union.issued), (6, now));
    assert_eq!(union.entries.len(), 2);
    assert_eq!(union.entries[&a].revoked_at, at(2));
}

#[test]
fn who_can_have_no_certificate_any_more_is_left_out() {
    let (a, b) = (peer(), peer());
    let (old, new) = (list(1, &[(a, 1)]), list(2, &[(b, 40)]));
    let now = at(2 * 10 + 3);
    assert!(!new.lacks_of(&old, DAY * 10, now));
    let union = new.union(&old, DAY * 10, now);
    assert_eq!(union.entries.keys().collect::<Vec<_>>(), [&b]);
    assert!(new.union(&old, DAY * 11, now).is_revoked(&a));
}

#[test]
fn reasons_are_one_short_line() {
    let reason = |text: &str| Revocation::new("n".parse().unwrap(), text, at(0)).reason;
    assert_eq!(reason(" left\nthe\u{1b}[1m site "), "left the [1m site");
    assert!(reason(&"ä".repeat(500)).len() <= MAX_REASON);
}

#[test]
fn the_largest_list_fits_without_words() {
    let mut full = list(1, &[]);
    let name: Name = "n".repeat(crate::name::MAX_NAME).parse().unwrap();
    for n in 0..MAX_REVOKED as u32 {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&n.to_be_bytes());
        let peer = crate::identity::PublicKey::from_bytes(key).peer_id();
        let entry = Revocation::new(name.clone(), &"r".repeat(MAX_REASON), at(n % 50));
        full.entries.insert(peer, entry);
    }
    full.entries.pop_first();
    assert!(full.to_bytes().len() > MAX_LIST);
    full.shorten();
    let bytes = full.to_bytes();
    assert!(bytes.len() > MAX_LIST / 2 && RevocationList::from_bytes(&bytes).is_some());
    assert_eq!(full.entries.len(), MAX_REVOKED - 1);
}
