//! Members that do not play fair: the file is right everywhere, and what it costs is
//! bounded.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use potluck_content::{ContentId, Digest};
use potluck_transfer::{EngineConfig, FileRequest};
use support::hostile_member::{Conduct, Has, HostileMember};
use support::scripted_origin::{Reply, ScriptedOrigin, file, head};
use support::site::{Member, Site, acquaint, get_all, sharing};
use support::{blob, check, counting_origin, until};

const MIB: usize = 1 << 20;

async fn origin_of(content: &[u8]) -> (ScriptedOrigin, Arc<AtomicU64>) {
    let content = content.to_vec();
    counting_origin(move |asked| match asked.path.as_str() {
        "/f" => file(asked, &content, "v1"),
        "/f?again" => file(asked, &content, "v2"),
        _ => not_there(),
    })
    .await
}

fn not_there() -> Reply {
    let nothing = ("Content-Length", "0".to_owned());
    Reply::Keep(head("404 Not Found", &[nothing]))
}

/// A crowd with a hostile member among it, and what came of a file.
struct Outcome {
    crowd: Vec<Member>,
    hostile: HostileMember,
    copies: f64,
}

impl Outcome {
    async fn of(
        honest: usize,
        config: &EngineConfig,
        conduct: impl FnOnce(&[u8]) -> Conduct,
    ) -> Self {
        let content = blob(4 * MIB, 1);
        let (origin, sent) = origin_of(&content).await;
        let site = Site::new();
        let crowd = site.crowd_with(honest, config).await;
        let hostile = HostileMember::start(&site, conduct(&content), None).await;
        hostile.meet(&crowd);
        let done = get_all(&crowd, &origin.url("/f")).await;
        done.iter().for_each(|done| check(done, &content));
        assert!(hostile.heard() > 0, "nobody told it anything");
        Self {
            copies: sent.load(Ordering::SeqCst) as f64 / content.len() as f64,
            crowd,
            hostile,
        }
    }

    /// The honest members that took it off their lists.
    fn rejected_by(&self) -> usize {
        let rejects = |member: &&Member| {
            let faults = member.neighbours.faults();
            let of_others = faults
                .iter()
                .filter(|(peer, _)| *peer != self.hostile.at.id);
            assert_eq!(of_others.count(), 0, "an honest one is blamed: {faults:?}");
            !faults.is_empty()
        };
        self.crowd.iter().filter(rejects).count()
    }
}

/// As if one bit of each piece were another.
fn forged(content: &[u8]) -> Vec<u8> {
    let mut bytes = content.to_vec();
    bytes
        .iter_mut()
        .step_by(100_000)
        .for_each(|byte| *byte ^= 1);
    bytes
}

#[tokio::test]
async fn who_signs_wrong_hashes_is_exposed_by_an_audit() {
    // Members together audit as much as there is.
    let config = EngineConfig {
        audit_share: 1.0,
        ..sharing()
    };
    let outcome = Outcome::of(3, &config, |content| Conduct {
        gives: Some(forged(content)),
        signs: forged(content),
        ..Conduct::of(content)
    })
    .await;
    assert!(outcome.rejected_by() > 0);
    // Each may audit every piece that others gave, and fetch those of the liar anew.
    assert!(outcome.copies <= 6.0, "{}", outcome.copies);
}

/// What one finds out, the others look at before they have the file.
#[tokio::test]
async fn what_one_audit_finds_saves_all() {
    let content = blob(16 * MIB, 1);
    let (release, released) = tokio::sync::watch::channel(false);
    let served = content.clone();
    let half = content.len() as u64 / 2;
    let origin = ScriptedOrigin::start(move |asked| match asked.path.as_str() {
        "/f" => match (asked.range(), file(asked, &served, "v1")) {
            // Nobody is done before both have seen it.
            (Some((_, last)), Reply::Keep(bytes)) if last >= half => {
                Reply::Once(Vec::new(), released.clone(), bytes)
            }
            (_, reply) => reply,
        },
        _ => not_there(),
    })
    .await;
    let site = Site::new();
    let [audits, trusts] = [1.0, 0.0].map(|audit_share| EngineConfig {
        audit_share,
        ..sharing()
    });
    let crowd = [
        site.member_with(audits).await,
        site.member_with(trusts).await,
    ];
    acquaint(&crowd);
    let conduct = Conduct {
        gives: Some(forged(&content)),
        signs: forged(&content),
        has: Has::FirstHalf,
        ..Conduct::of(&content)
    };
    let hostile = HostileMember::start(&site, conduct, None).await;
    hostile.meet(&crowd);
    let caught = || {
        let mut faults = crowd.iter().map(|member| member.neighbours.faults());
        faults.all(|faults| faults.iter().any(|(peer, _)| *peer == hostile.at.id))
    };
    let releasing = async {
        until("both have caught it", caught).await;
        release.send(true).unwrap();
    };
    let url = origin.url("/f");
    let (done, ()) = tokio::join!(get_all(&crowd, &url), releasing);
    done.iter().for_each(|done| check(done, &content));
}

#[tokio::test]
async fn who_gives_other_bytes_than_were_signed_is_rejected() {
    let outcome = Outcome::of(3, &sharing(), |content| Conduct {
        gives: Some(forged(content)),
        ..Conduct::of(content)
    })
    .await;
    assert!(outcome.rejected_by() > 0);
    assert!(outcome.copies <= 1.5, "{}", outcome.copies);
}

#[tokio::test]
async fn who_has_nothing_of_what_it_announces_is_left_aside() {
    let outcome = Outcome::of(3, &sharing(), |content| Conduct {
        gives: None,
        ..Conduct::of(content)
    })
    .await;
    assert_eq!(outcome.rejected_by(), 0);
    assert!(outcome.copies <= 2.5, "{}", outcome.copies);
}

#[tokio::test]
async fn noise_is_no_news() {
    let outcome = Outcome::of(3, &sharing(), |content| Conduct {
        answers: Some(vec![0xff; 30_000]),
        ..Conduct::of(content)
    })
    .await;
    assert_eq!(outcome.hostile.traffic.served(), 0);
    assert!(outcome.copies <= 1.1, "{}", outcome.copies);
}

#[tokio::test]
async fn the_word_of_a_stranger_is_worth_nothing() {
    let content = blob(4 * MIB, 1);
    let (origin, sent) = origin_of(&content).await;
    let (site, elsewhere) = (Site::new(), Site::new());
    let crowd = site.crowd(3).await;
    let dir = tempfile::tempdir().unwrap();
    let (_, stranger) = elsewhere.join(dir.path());
    let conduct = Conduct {
        gives: Some(forged(&content)),
        signs: forged(&content),
        ..Conduct::of(&content)
    };
    let hostile = HostileMember::start(&site, conduct, Some(Arc::new(stranger))).await;
    hostile.meet(&crowd);
    for done in get_all(&crowd, &origin.url("/f")).await {
        check(&done, &content);
    }
    let copies = sent.load(Ordering::SeqCst) as f64 / content.len() as f64;
    assert!(copies <= 2.5, "{copies}");
}

/// Gets a file of which the job knows the digest, while a member gives something else.
#[tokio::test]
async fn who_signs_wrong_hashes_is_exposed_by_the_digest() {
    let content = blob(4 * MIB, 1);
    let (origin, sent) = origin_of(&content).await;
    let site = Site::new();
    let member = site.member().await;
    let conduct = Conduct {
        gives: Some(forged(&content)),
        signs: forged(&content),
        ..Conduct::of(&content)
    };
    let hostile = HostileMember::start(&site, conduct, None).await;
    hostile.meet(std::slice::from_ref(&member));
    let mut told = member.swarms.exposures();
    let request = FileRequest {
        checksum: Some(Digest::B3(ContentId::of(&content))),
        ..FileRequest::new(origin.url("/f"), "job")
    };
    let done = member.engine.transfer(request).outcome().await.unwrap();
    check(&done, &content);
    let caught = told.try_recv().expect("nobody was exposed");
    assert_eq!(caught.signed.signer.id, hostile.at.id);
    assert_eq!(member.neighbours.faults().len(), 1);
    let copies = sent.load(Ordering::SeqCst) as f64 / content.len() as f64;
    assert!(copies <= 1.1, "{copies}");
}

#[tokio::test]
async fn who_was_caught_once_is_no_member_of_anything_any_more() {
    let config = EngineConfig {
        audit_share: 1.0,
        ..sharing()
    };
    let content = blob(4 * MIB, 1);
    let (origin, sent) = origin_of(&content).await;
    let site = Site::new();
    let member = site.member_with(config).await;
    let conduct = Conduct {
        gives: Some(forged(&content)),
        signs: forged(&content),
        ..Conduct::of(&content)
    };
    let hostile = HostileMember::start(&site, conduct, None).await;
    hostile.meet(std::slice::from_ref(&member));
    check(&member.get(&origin.url("/f")).await.unwrap(), &content);
    assert_eq!(member.neighbours.faults().len(), 1);
    let (given, before) = (hostile.traffic.served(), sent.load(Ordering::SeqCst));
    assert!(given > 0);
    // It is let in again, and heard: but not asked.
    member.neighbours.forgive();
    hostile.meet(std::slice::from_ref(&member));
    let again = origin.url("/f?again");
    check(&member.get(&again).await.unwrap(), &content);
    assert_eq!(hostile.traffic.served(), given);
    assert_eq!(sent.load(Ordering::SeqCst) - before, content.len() as u64);
}

/// An origin that gives other bytes now and then must not make liars of those who tell
/// what they got.
#[tokio::test]
async fn an_origin_that_changes_its_mind_makes_no_liars() {
    let content = blob(4 * MIB, 1);
    let other = forged(&content);
    let asked_for = Arc::new(std::sync::Mutex::new(std::collections::HashMap::new()));
    let served = content.clone();
    let origin = ScriptedOrigin::start(move |asked| {
        let mut counts = asked_for.lock().unwrap();
        let count: &mut u32 = counts.entry(asked.range()).or_default();
        *count += 1;
        // The second time that a piece is asked for it is another.
        let bytes = if *count == 2 { &other } else { &served };
        match asked.path.as_str() {
            "/f" => file(asked, bytes, "v1"),
            _ => not_there(),
        }
    })
    .await;
    let config = EngineConfig {
        audit_share: 1.0,
        ..sharing()
    };
    let crowd = Site::new().crowd_with(2, &config).await;
    for done in get_all(&crowd, &origin.url("/f")).await {
        assert_eq!(done.size, content.len() as u64);
    }
    for member in &crowd {
        assert_eq!(member.neighbours.faults(), []);
    }
}

#[tokio::test]
async fn who_claims_everything_for_ever_is_not_waited_for() {
    let outcome = Outcome::of(3, &sharing(), |content| Conduct {
        has: Has::Nothing,
        claims_all: true,
        ..Conduct::of(content)
    })
    .await;
    assert_eq!(outcome.rejected_by(), 0);
    assert!(outcome.copies <= 2.5, "{}", outcome.copies);
}
