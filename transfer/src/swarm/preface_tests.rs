use potluck_content::{EntityKey, Layout, MIN_PIECE_LEN, Statement};
use potluck_discovery::MemberSignature;
use proptest::prelude::*;

use super::*;
use crate::swarm::test_notary::TestNotary;
use crate::swarm::{Notary, Vouching};

const ENTITY: EntityKey = EntityKey::from_bytes([7; 32]);

fn layout() -> Layout {
    Layout::for_size(40 * MIN_PIECE_LEN).unwrap()
}

/// Statements of these members about the pieces from the first on.
fn said_by(members: &[u16]) -> Vec<Arc<SignedStatement>> {
    let judge = Vouching::new(Arc::new(TestNotary::new(0)));
    let mut statements = Vec::new();
    for (index, member) in (0..).map(PieceIndex).zip(members) {
        let notary = TestNotary::new(*member);
        let statement = Statement {
            entity: ENTITY,
            size: layout().size(),
            index,
            value: ChainingValue::from_bytes([index.0 as u8; 32]),
        };
        let signature = notary.sign(&statement.message()).unwrap();
        let signer = judge.signer(&notary.certificates()).unwrap();
        statements.push(Arc::new(SignedStatement {
            statement,
            signer,
            signature,
        }));
    }
    statements
}

fn check(preface: &[u8], run: std::ops::Range<u32>) -> Result<Vec<SignedStatement>, PrefaceError> {
    let vouching = Vouching::new(Arc::new(TestNotary::new(99)));
    vouching.check(preface, &ENTITY, &layout(), run)
}

#[test]
fn what_was_said_is_heard() {
    let said = said_by(&[3, 4, 3, 5]);
    let heard = check(&encode(&said).unwrap(), 0..4).unwrap();
    for (said, heard) in said.iter().zip(&heard) {
        assert_eq!(said.statement, heard.statement);
        assert_eq!(said.signature, heard.signature);
        assert_eq!(said.signer.id, heard.signer.id);
        assert_eq!(said.signer.chain, heard.signer.chain);
    }
    assert_eq!(heard.len(), 4);
    assert!(Arc::ptr_eq(&heard[0].signer, &heard[2].signer));
    assert!(check(b"", 0..4).unwrap().is_empty(), "a manifest proves it");
}

#[test]
fn the_bytes_are_as_written_down() {
    let signed = &said_by(&[3])[0];
    let value = [0; 32];
    let mut preface = vec![1, 0, 1, 1, 0, 2, 0, 3, 0, 1, 0, 0];
    preface.extend_from_slice(&value);
    preface.extend_from_slice(&[8, 7, 0, 64]);
    preface.extend_from_slice(&signed.signature.bytes);
    assert_eq!(encode(std::slice::from_ref(signed)).unwrap(), preface);
}

#[test]
fn a_word_is_good_for_one_piece_of_one_entity() {
    let preface = encode(&said_by(&[3, 4])).unwrap();
    let wrong = |index| Some(PrefaceError::Signature(PieceIndex(index)));
    assert_eq!(check(&preface, 1..3).err(), wrong(1), "other pieces");
    let vouching = Vouching::new(Arc::new(TestNotary::new(99)));
    let elsewhere = EntityKey::from_bytes([8; 32]);
    let heard = vouching.check(&preface, &elsewhere, &layout(), 0..2);
    assert_eq!(heard.err(), wrong(0), "another entity");
    let other_size = Layout::for_size(layout().size() + 1).unwrap();
    let heard = vouching.check(&preface, &ENTITY, &other_size, 0..2);
    assert_eq!(heard.err(), wrong(0), "another size");
    let mut value = preface.clone();
    let last = value.len() - 70;
    value[last] ^= 1;
    assert_eq!(check(&value, 0..2).err(), wrong(1), "another value");
}

#[test]
fn who_is_no_member_vouches_for_nothing() {
    let preface = encode(&said_by(&[3])).unwrap();
    let notary = Arc::new(TestNotary::new(99));
    let vouching = Vouching::new(notary.clone());
    vouching.check(&preface, &ENTITY, &layout(), 0..1).unwrap();
    notary.revoke();
    let heard = vouching.check(&preface, &ENTITY, &layout(), 0..1);
    let revoked = PrefaceError::Signer(RejectReason::Revoked);
    assert!(!revoked.is_fault(), "who gave it may not have heard");
    assert_eq!(heard.err(), Some(revoked));

    let mut stranger = preface;
    stranger[5] = 3; // its certificate takes one byte more, which nobody knows
    stranger.insert(7, 0);
    let refused = check(&stranger, 0..1).unwrap_err();
    assert_eq!(refused, PrefaceError::Signer(RejectReason::UnknownIssuer));
    assert!(refused.is_fault());
}

#[test]
fn limits_are_kept() {
    let good = encode(&said_by(&[3, 4])).unwrap();
    let malformed = |preface: &[u8], run| {
        let heard = decode(preface, run);
        assert!(
            matches!(heard, Err(PrefaceError::Malformed(_))),
            "{heard:?}"
        );
    };
    decode(&good, 2).unwrap();
    malformed(&good, 1);
    malformed(&good, 3);
    malformed(&[good.as_slice(), &[0]].concat(), 2);
    for len in 0..good.len() {
        malformed(&good[..len], 2);
    }
    let changed = |at: usize, byte: u8| {
        let mut preface = good.clone();
        preface[at] = byte;
        preface
    };
    malformed(&changed(0, 2), 2); // version
    malformed(&changed(2, 0), 2); // no signers
    malformed(&changed(2, 3), 2); // more signers than pieces
    malformed(&changed(3, 0), 2); // no certificates
    malformed(&changed(3, 5), 2); // too many
    let first_piece = 3 + 2 * 5 + 2;
    assert_eq!(good[first_piece..first_piece + 2], [0, 0]);
    malformed(&changed(first_piece + 1, 1), 2); // the second signer first
    let second_piece = good.len() - (2 + 32 + 2 + 2 + 64);
    assert_eq!(good[second_piece..second_piece + 2], [0, 1]);
    malformed(&changed(second_piece + 1, 0), 2); // a signer of nothing
    malformed(&changed(second_piece + 1, 2), 2); // no such signer

    // Two certificates of 40,000 bytes.
    let mut chain = vec![1, 0, 1, 2];
    for _ in 0..2 {
        chain.extend_from_slice(&40_000_u16.to_be_bytes());
        chain.extend_from_slice(&[0; 40_000]);
    }
    let piece = &good[good.len() - 102..];
    let long = [&chain[..], &[0, 1, 0, 0], &piece[2..]].concat();
    malformed(&long, 1);
    malformed(&vec![1; MAX_PREFACE + 1], 2);
}

#[test]
fn more_than_fits_is_not_written() {
    let said = said_by(&[3; 30]);
    assert!(encode(&said).is_some());
    let mut long = SignedStatement::clone(&said[0]);
    long.signature.bytes = vec![0; 40_000];
    let often = Arc::new(long.clone());
    assert!(encode(&vec![often; 30]).is_none());
    long.signature.bytes = vec![0; 70_000];
    assert!(encode(&[Arc::new(long)]).is_none());
}

proptest! {
    #[test]
    fn every_preface_is_read_as_it_was_written(members in prop::collection::vec(0_u16..5, 1..40)) {
        let said = said_by(&members);
        let preface = encode(&said).unwrap();
        let heard = check(&preface, 0..members.len() as u32).unwrap();
        let again: Vec<_> = heard.into_iter().map(Arc::new).collect();
        prop_assert_eq!(encode(&again).unwrap(), preface);
    }

    #[test]
    fn noise_is_refused(noise in prop::collection::vec(any::<u8>(), 1..300), run in 1_u32..4) {
        prop_assert!(check(&noise, 0..run).is_err());
    }

    #[test]
    fn a_preface_with_another_byte_is_never_another_word(
        members in prop::collection::vec(0_u16..3, 1..5),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let said = said_by(&members);
        let mut preface = encode(&said).unwrap();
        *at.get_mut(&mut preface) ^= flip;
        // Signatures of the test's members name their signer: nothing can be said as another.
        prop_assert!(check(&preface, 0..members.len() as u32).is_err());
    }
}

#[test]
fn a_signature_of_a_test_is_one_of_its_signer() {
    let signed = &said_by(&[3])[0];
    assert!(signed.verify());
    let mut forged = SignedStatement::clone(signed);
    forged.signature = MemberSignature {
        scheme: 0x0403,
        ..forged.signature
    };
    assert!(!forged.verify());
}
