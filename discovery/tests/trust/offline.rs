//! Joining and renewing by files, for an authority that no network reaches.

use std::time::{Duration, SystemTime};

use potluck_discovery::{
    AnswerError, DomainOptions, Membership, SignError, SigningRequest, accept_answer,
    create_domain, make_request, sign_request,
};

use crate::support::{Founder, name};

#[test]
fn a_request_and_its_answer_make_a_member_and_renew_it() {
    let founder = Founder::new();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let text = make_request(&data, &name("far")).unwrap();
    let request = SigningRequest::parse(&text).unwrap();
    let answer = sign_request(founder.dir.path(), &request).unwrap();
    // What lies on the stick in between gives no secret away.
    let secret = founder.membership.beacon_key().unwrap().expose();
    assert!(
        !answer
            .as_bytes()
            .windows(8)
            .any(|part| part == &secret[..8])
    );

    let joined = accept_answer(&data, &answer).unwrap();
    assert_eq!(joined.domain_id(), founder.membership.domain_id());
    assert_eq!(joined.node_name().as_str(), "far");
    assert_eq!(joined.peer_id(), request.peer_id());
    assert_eq!(joined.beacon_key(), founder.membership.beacon_key());
    let read = Membership::load(&data).unwrap().unwrap();
    assert_eq!(read.expires(), joined.expires());

    // The same again renews: same key, same node.
    let again = SigningRequest::parse(&make_request(&data, &name("far")).unwrap()).unwrap();
    assert_eq!(again.peer_id(), joined.peer_id());
    let answer = sign_request(founder.dir.path(), &again).unwrap();
    let renewed = accept_answer(&data, &answer).unwrap();
    assert!(renewed.expires() >= joined.expires());
    let month = Duration::from_secs(29 * 24 * 3600);
    assert!(renewed.expires() > SystemTime::now() + month);
}

#[test]
fn an_answer_is_for_one_node_and_one_domain() {
    let founder = Founder::new();
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let request = |dir: &tempfile::TempDir| {
        SigningRequest::parse(&make_request(dir.path(), &name("far")).unwrap()).unwrap()
    };
    let answer = sign_request(founder.dir.path(), &request(&one)).unwrap();
    request(&two);
    let refused = accept_answer(two.path(), &answer);
    assert!(matches!(refused, Err(AnswerError::OtherNode)));
    let empty = tempfile::tempdir().unwrap();
    let refused = accept_answer(empty.path(), &answer);
    assert!(matches!(refused, Err(AnswerError::NoRequest)));
    for wrong in ["", "hello", &answer[..answer.len() / 2]] {
        let refused = accept_answer(one.path(), wrong);
        assert!(matches!(refused, Err(AnswerError::Form)), "{wrong}");
    }
    // Another certificate slipped in.
    let other = sign_request(founder.dir.path(), &request(&two)).unwrap();
    let end = "-----END CERTIFICATE-----\n";
    let at = |text: &str| text.find(end).unwrap() + end.len();
    let mixed = format!("{}{}", &other[..at(&other)], &answer[at(&answer)..]);
    assert!(accept_answer(one.path(), &mixed).is_err());
    assert!(Membership::load(one.path()).unwrap().is_none());

    create_domain(two.path(), &DomainOptions::new(name("other"))).unwrap();
    let refused = accept_answer(two.path(), &other);
    assert!(matches!(refused, Err(AnswerError::AlreadyMember(_))));
    let nobody = sign_request(one.path(), &request(&two));
    assert!(matches!(nobody, Err(SignError::NoAuthority)));
}
