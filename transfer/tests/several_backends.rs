//! Several servers behind one name, which do not agree on what they have.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};

use potluck_content::{ContentId, Digest, Validator};
use potluck_plan::{FileRanges, OriginTrouble};
use potluck_transfer::{FileDone, FileRequest, TransferError};
use support::scripted_origin::{Asked, Reply, ScriptedOrigin, file};
use support::test_domain::TestDomain;
use support::test_node::TestNode;
use support::{blob, bytes_of, check};

const TOLD: [OriginTrouble; 2] = [OriginTrouble::Changed, OriginTrouble::Inconsistent];

/// Gets a file whose backends have these contents, and answer in turn.
async fn get(
    backends: Vec<Vec<u8>>,
    change: impl FnOnce(&mut FileRequest),
) -> Result<FileDone, TransferError> {
    get_marked(backends, false, change).await
}

/// The same; by dates alone they name their versions.
async fn get_marked(
    backends: Vec<Vec<u8>>,
    dates: bool,
    change: impl FnOnce(&mut FileRequest),
) -> Result<FileDone, TransferError> {
    let calls = AtomicUsize::new(0);
    let origin = ScriptedOrigin::start(move |asked| {
        let turn = calls.fetch_add(1, Ordering::SeqCst) % backends.len();
        // It looks at tags only.
        let head = asked.head.replace("if-range", "x-none");
        let asked = Asked {
            head: if dates { head } else { asked.head.clone() },
            ..asked.clone()
        };
        match file(&asked, &backends[turn], &format!("of-{turn}")) {
            // The next request finds another backend.
            Reply::Keep(bytes) if dates => Reply::Close(dated(bytes, turn)),
            Reply::Keep(bytes) => Reply::Close(bytes),
            other => other,
        }
    })
    .await;
    let node = TestNode::start(&TestDomain::new()).await;
    let mut request = FileRequest::new(origin.url("/f"), "job");
    change(&mut request);
    node.get(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_that_differ_keep_no_file_away() {
    for len in [0, 10_000, 9_000_000] {
        let content = blob(len, 1);
        for backends in [2, 3] {
            let got = get(vec![content.clone(); backends], |_| {}).await;
            let got = got.unwrap();
            check(&got, &content);
            if len > 0 {
                assert_eq!(got.troubles, TOLD, "{len} {backends}");
            }
        }
    }
}

/// The same answer without a tag, of a backend where the file was written at another time.
fn dated(mut answer: Vec<u8>, turn: usize) -> Vec<u8> {
    let at = |text: &str, answer: &[u8]| {
        let mut windows = answer.windows(text.len());
        windows.position(|at| at == text.as_bytes()).unwrap()
    };
    let tag = at("ETag:", &answer);
    answer[tag..tag + 4].copy_from_slice(b"X-No");
    let minutes = at(":49:37", &answer);
    answer[minutes + 1..minutes + 3].copy_from_slice(format!("{:02}", 10 + turn).as_bytes());
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn dates_that_differ_keep_no_file_away() {
    for len in [10_000, 9_000_000] {
        let content = blob(len, 7);
        let got = get_marked(vec![content.clone(); 2], true, |_| {}).await;
        let got = got.unwrap();
        check(&got, &content);
        assert_eq!(got.troubles, TOLD, "{len}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_contents_that_differ_one_comes_whole() {
    for len in [10_000, 9_000_000] {
        let contents = [blob(len, 2), blob(len + 1, 3)];
        let got = get(contents.to_vec(), |_| {}).await.unwrap();
        let which = contents.iter().position(|one| *one == bytes_of(&got));
        let which = which.expect("one of them");
        check(&got, &contents[which]);
        let tag = format!("\"of-{which}\"");
        assert_eq!(got.validator, Some(Validator::ETag(tag)));
        assert_eq!(got.troubles, TOLD);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checksum_is_never_that_of_the_other_one() {
    let contents = [blob(10_000, 4), blob(10_000, 5)];
    let mut came = 0;
    for content in &contents {
        let wanted = Digest::B3(ContentId::of(content));
        let got = get(contents.to_vec(), |request| request.checksum = Some(wanted)).await;
        match got {
            Ok(got) => {
                check(&got, content);
                came += 1;
            }
            Err(error) => assert_eq!(error.code, "checksum_mismatch", "{error}"),
        }
    }
    assert_eq!(came, 1, "whoever answers then has one of them");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_cut_from_one_answer() {
    let content = blob(500_000, 6);
    let wanted = FileRanges::parse(&["400000-100", "7-3"], 500).unwrap();
    let got = get(vec![content.clone(); 2], |request| {
        request.ranges = Some(wanted);
    })
    .await
    .unwrap();
    let parts = [&content[400_000..400_100], &content[7..10]].concat();
    check(&got, &parts);
    assert!(got.troubles.contains(&OriginTrouble::Inconsistent));
}
