//! Engines that fetch the same file together while some come and go.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use potluck_transfer::FileRequest;
use support::scripted_origin::{Asked, Reply, ScriptedOrigin, file, head};
use support::site::{Site, acquaint, get_all, sharing};
use support::{blob, check, until};

const MIB: usize = 1 << 20;

/// An origin of one file; it says nothing to ranges of which `is_stuck` says so.
async fn origin_of(
    content: &[u8],
    is_stuck: impl Fn(&Asked) -> bool + Send + Sync + 'static,
) -> ScriptedOrigin {
    let content = content.to_vec();
    ScriptedOrigin::start(move |asked| {
        if asked.path != "/f" {
            let nothing = ("Content-Length", "0".to_owned());
            return Reply::Keep(head("404 Not Found", &[nothing]));
        }
        if asked.method == "GET" && is_stuck(asked) {
            return Reply::Hang(Vec::new());
        }
        file(asked, &content, "v1")
    })
    .await
}

fn is_of(asked: &Asked, id: &str) -> bool {
    asked.field("user-agent").as_deref() == Some(id)
}

#[tokio::test]
async fn what_a_member_took_with_it_is_fetched_by_others() {
    let content = blob(8 * MIB, 1);
    let mut crowd = Site::new().crowd(4).await;
    let lost = crowd.pop().unwrap();
    let id = lost.at.id.to_string();
    let named = id.clone();
    let origin = origin_of(&content, move |asked| is_of(asked, &named)).await;
    let url = origin.url("/f");
    let going = lost.begin(&url);
    let mut begun: Vec<_> = crowd.iter().map(|it| it.begin(&url)).collect();
    until("it asked for what it claims", || {
        let asked = origin.asked();
        asked
            .iter()
            .any(|it| is_of(it, &id) && it.range().is_some())
    })
    .await;
    drop(going);
    crowd.iter().for_each(|it| it.neighbours.lose(lost.at.id));
    drop(lost);
    let mut of_origin = 0;
    for transfer in &mut begun {
        let done = transfer.outcome().await.unwrap();
        check(&done, &content);
        of_origin += done.accounting.origin + done.accounting.discarded;
    }
    let copies = of_origin as f64 / content.len() as f64;
    assert!(copies <= 1.1, "{copies}");
}

#[tokio::test]
async fn who_claims_and_gets_nothing_is_not_waited_for() {
    let content = blob(4 * MIB, 2);
    let crowd = Site::new().crowd(3).await;
    let id = crowd[0].at.id.to_string();
    let origin = origin_of(&content, move |asked| is_of(asked, &id)).await;
    let url = origin.url("/f");
    let mut stuck = crowd[0].begin(&url);
    let mut begun: Vec<_> = crowd[1..].iter().map(|it| it.begin(&url)).collect();
    let mut of_origin = 0;
    for transfer in &mut begun {
        let done = transfer.outcome().await.unwrap();
        check(&done, &content);
        of_origin += done.accounting.origin + done.accounting.discarded;
    }
    // And it has it from the others.
    check(&stuck.outcome().await.unwrap(), &content);
    let copies = of_origin as f64 / content.len() as f64;
    assert!(copies <= 1.1, "{copies}");
}

#[tokio::test]
async fn a_transfer_goes_on_in_the_swarm_where_it_was_stopped() {
    let content = blob(8 * MIB, 3);
    let stuck = Arc::new(AtomicBool::new(false));
    let is_stuck = Arc::clone(&stuck);
    let origin = origin_of(&content, move |asked| {
        let (first, _) = asked.range().unwrap_or_default();
        is_stuck.load(Ordering::SeqCst) && first >= 4 * MIB as u64
    })
    .await;
    let url = origin.url("/f");
    let site = Site::new();
    let first = site.member().await;
    stuck.store(true, Ordering::SeqCst);
    let begun = first.begin(&url);
    let came = || begun.progress().borrow().accounting.total();
    until("half of it", || came() >= 2 * MIB as u64).await;
    let before = begun.progress().borrow().accounting;
    drop(begun);
    first.engine.at_rest().await;
    let first = first.again(sharing()).await;
    let mut crowd = site.crowd(2).await;
    crowd.push(first);
    acquaint(&crowd);
    stuck.store(false, Ordering::SeqCst);
    let mut resumed = crowd[2].engine.transfer(FileRequest {
        before,
        ..FileRequest::new(&url, "job")
    });
    let done = get_all(&crowd[..2], &url).await;
    done.iter().for_each(|done| check(done, &content));
    let resumed = resumed.outcome().await.unwrap();
    check(&resumed, &content);
    let of_origin: u64 = done
        .iter()
        .chain([&resumed])
        .map(|it| it.accounting.origin)
        .sum();
    let copies = of_origin as f64 / content.len() as f64;
    assert!(copies <= 1.6, "{copies}");
}
