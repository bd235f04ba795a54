use super::*;
use potluck_content::{Digest, EntityKey};

#[test]
fn questions_are_understood() {
    let id = ContentId::of(b"soup");
    let key = EntityKey::from_bytes([3; 32]);
    let sha = Digest::Sha256([4; 32]);
    let wanted = [
        Wanted::Entity(key),
        Wanted::Content(id),
        Wanted::Digest(sha),
    ];
    let understood = Request::have(&wanted).question().unwrap();
    let wanted = wanted.map(Some).to_vec();
    assert_eq!(understood, Question::Have(wanted));
    assert_eq!(Request::ping().question(), Ok(Question::Ping));
    assert_eq!(Request::knock().question(), Ok(Question::Knock));
    assert_eq!(Request::revocations().question(), Ok(Question::Revocations));
    let understood = Request::manifest(id).question();
    assert_eq!(understood, Ok(Question::Manifest(id)));
}

#[test]
fn what_is_not_known_is_refused_not_an_error() {
    let code = |request: Request| request.question().unwrap_err().code;
    assert_eq!(code(Request::of_kind("borrow")), UNKNOWN);
    assert_eq!(code(Request::of_kind("hello")), BAD);
    let mut long = Request::have(&[]);
    long.wanted = vec![String::new(); MAX_WANTED + 1];
    assert_eq!(code(long), BAD);
    let mut newer = Request::have(&[]);
    newer.wanted = vec!["md9:00".to_owned()];
    assert_eq!(newer.question(), Ok(Question::Have(vec![None])));
}

#[test]
fn holdings_arrive_as_they_were_sent() {
    let mut some = Bitfield::empty(3);
    some.set(potluck_content::PieceIndex(1));
    let size = 3 * potluck_content::MIN_PIECE_LEN;
    let content = ContentId::of(b"soup");
    let holdings = vec![
        None,
        Some(Holding {
            content,
            size,
            bitfield: None,
            serves: Some(Serves {
                clients: 1,
                bits_per_second: None,
            }),
        }),
        Some(Holding {
            content,
            size,
            bitfield: Some(some),
            serves: Some(Serves {
                clients: 3,
                bits_per_second: Some(1_000_000),
            }),
        }),
    ];
    let sent = Response::have(&holdings);
    assert_eq!(sent.clone().into_have(3), Ok(holdings.clone()));
    assert!(sent.clone().into_have(2).is_err());
    assert!(Response::pong().into_have(2).is_err());
    let mut wrong = sent;
    if let Some(Some(form)) = wrong.have.as_mut().and_then(|forms| forms.last_mut()) {
        form.size *= 100;
    }
    assert!(wrong.into_have(3).is_err());
}

#[test]
fn manifests_prove_themselves() {
    let bytes = vec![5; 3 * 256 * 1024 + 1];
    let manifest = Manifest::of(&bytes).unwrap();
    let sent = Response::manifest(Some(&manifest));
    assert_eq!(sent.clone().into_manifest(manifest.id()), Ok(manifest));
    assert!(sent.into_manifest(ContentId::of(b"other")).is_err());
    let none = Response::manifest(None);
    assert_eq!(none.refusal.unwrap().code, NOT_HELD);
}
