//! Whatever an origin does, every byte that came is counted once.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::io::Write as _;
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;
use potluck_plan::{Accounting, Counted};
use potluck_transfer::{EngineConfig, FileRequest};
use support::scripted_origin::{Asked, Reply, ScriptedOrigin, file, head};
use support::test_domain::TestDomain;
use support::test_node::TestNode;
use support::{blob, check};

const LEN: usize = 1_300_000;

/// What the origin does in one try.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// Sends parts, and says which version they are of.
    Parts,
    /// Sends the whole whatever is asked, and does not name its version.
    Whole,
    /// Does not say how much it sends.
    Unmeasured,
    /// The same, and packed.
    Packed,
}

/// An origin in the hand of a seed.
struct Fate {
    state: u64,
    manner: Manner,
    version: u64,
    /// Bytes of bodies that were sent, all of which are read.
    sent: u64,
}

impl Fate {
    fn new(seed: u64) -> Self {
        Self {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            manner: Manner::Parts,
            version: 0,
            sent: 0,
        }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % below
    }

    /// The next try is another one.
    fn turn(&mut self) {
        self.manner = match self.draw(6) {
            0 => Manner::Parts,
            1 => Manner::Whole,
            _ if self.draw(4) == 0 => Manner::Unmeasured,
            _ => Manner::Packed,
        };
        self.version += u64::from(self.draw(4) == 0);
    }

    fn content(&self) -> Vec<u8> {
        // Half of it can be packed.
        let mut content = blob(LEN / 2, self.version);
        content.resize(LEN, 7);
        content
    }

    fn answer(&mut self, asked: &Asked) -> Reply {
        let content = self.content();
        let (mut fields, body) = match self.manner {
            Manner::Parts => {
                let etag = format!("v{}", self.version);
                let Reply::Keep(bytes) = file(asked, &content, &etag) else {
                    unreachable!("it is well-behaved");
                };
                return self.send(asked, bytes, true);
            }
            Manner::Whole => (vec![("Content-Length", LEN.to_string())], content),
            Manner::Unmeasured => (Vec::new(), content),
            Manner::Packed => {
                let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
                packer.write_all(&content).unwrap();
                let fields = vec![("Content-Encoding", "gzip".to_owned())];
                (fields, packer.finish().unwrap())
            }
        };
        fields.push(("Accept-Ranges", "none".to_owned()));
        let mut bytes = head("200 OK", &fields);
        if asked.method == "GET" {
            bytes.extend(body);
        }
        // Where nobody says where the end is, every end is a good one.
        let may_break = !matches!(self.manner, Manner::Unmeasured);
        self.send(asked, bytes, may_break)
    }

    /// Sends all of it, or breaks off somewhere in the middle.
    fn send(&mut self, asked: &Asked, mut bytes: Vec<u8>, may_break: bool) -> Reply {
        let head = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        let body = (bytes.len() - head) as u64;
        // One that asks for the first byte only looks at the head.
        if asked.method != "GET" || asked.range() == Some((0, 0)) {
            return Reply::Close(bytes);
        }
        let sent = match may_break && self.draw(3) > 0 {
            true => self.draw(body),
            false => body,
        };
        bytes.truncate(head + usize::try_from(sent).unwrap());
        self.sent += sent;
        Reply::Close(bytes)
    }
}

/// Tries until the file is here, as a job does.
async fn tries(seed: u64) -> usize {
    let fate = Arc::new(Mutex::new(Fate::new(seed)));
    let script = Arc::clone(&fate);
    let origin = ScriptedOrigin::start(move |asked| script.lock().unwrap().answer(asked)).await;
    let node = TestNode::start(&TestDomain::new()).await;
    // With one connection, nothing is on its way when another one fails.
    node.engine.set_config(EngineConfig {
        origin_connections: 1,
        ..EngineConfig::default()
    });
    let mut before = Accounting::default();
    let (mut counted, mut counters) = (Counted::default(), Accounting::default());
    for number in 1.. {
        fate.lock().unwrap().turn();
        let mut request = FileRequest::new(origin.url("/f"), "job");
        request.before = before;
        let got = node.get(request).await;
        let (sent, content) = {
            let fate = fate.lock().unwrap();
            (fate.sent, fate.content())
        };
        before = match &got {
            Ok(done) => done.accounting,
            Err(error) => error.accounting,
        };
        let manner = fate.lock().unwrap().manner;
        assert_eq!(
            before.received(),
            sent,
            "seed {seed}, try {number}, {manner:?}: {got:?}"
        );
        counters += counted.take(&before);
        assert_eq!(counters.received(), sent, "seed {seed}, try {number}");
        if let Ok(done) = got {
            check(&done, &content);
            return number;
        }
    }
    unreachable!("it tries for ever")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_adds_up_whatever_the_origin_does() {
    let mut failed = 0;
    for seed in 0..16 {
        failed += tries(seed).await - 1;
    }
    assert!(failed > 5, "only {failed} tries failed");
}
