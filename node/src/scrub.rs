//! Looks for rot: reads all contents again, slowly, while the node has nothing else to
//! do, and takes out what is not what it was.

mod place;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use potluck_cache::Cache;
use potluck_content::{ContentId, PieceIndex};
use potluck_plan::Rate;
use potluck_transfer::EngineHandle;
use serde_json::json;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::api::State;
use crate::contents::{Contents, Found};
use crate::events::EventLog;
use place::Place;

/// Bytes that are read at once, but for pieces that are larger: so long does a transfer
/// that begins meanwhile share the disk.
const STEP: u64 = 4 << 20;
/// Contents that are looked at in one step, however small they are.
const STEP_CONTENTS: u32 = 64;
/// How long the node must have been at rest, and how often that is looked at.
const QUIET: Duration = Duration::from_secs(1);
/// How often a pass that is not due yet is thought of.
const IDLE: Duration = Duration::from_secs(60);
/// How often the place is kept.
const KEEP_EVERY: Duration = Duration::from_secs(60);

/// Reads at `rate` until `stop`.
pub(crate) async fn run(state: State, rate: Rate, stop: CancellationToken) {
    let path = state.settings.data_dir.join("scrub.json");
    let engine = state.engine.clone();
    let mut scrub = Scrub {
        contents: Contents::new(state.cache.clone(), state.events.clone()),
        cache: state.cache,
        events: state.events,
        place: Place::read(&path, SystemTime::now()),
        within: None,
        path,
    };
    let mut pause = Duration::ZERO;
    let mut kept = Instant::now();
    loop {
        let turn = async {
            sleep(pause).await;
            quiet(&engine).await;
        };
        if stop.run_until_cancelled(turn).await.is_none() {
            return scrub.keep();
        }
        if !scrub.place.is_due(SystemTime::now()) {
            pause = IDLE;
            continue;
        }
        let read;
        (scrub, read) = blocking(move || {
            let read = scrub.step();
            (scrub, read)
        })
        .await;
        pause = rate.time_for(read);
        if kept.elapsed() >= KEEP_EVERY || scrub.place.is_at_end() {
            scrub.keep();
            kept = Instant::now();
        }
    }
}

/// Waits until the node transfers nothing, in either direction.
async fn quiet(engine: &EngineHandle) {
    let mut served = engine.traffic().served();
    while !engine.is_at_rest() || served != engine.traffic().served() {
        served = engine.traffic().served();
        sleep(QUIET).await;
    }
}

struct Scrub {
    cache: Cache,
    contents: Contents,
    events: EventLog,
    place: Place,
    /// The content that is being checked, and the piece to go on with.
    within: Option<(ContentId, PieceIndex)>,
    path: PathBuf,
}

impl Scrub {
    /// Checks a part of a content, or some small ones. Says how many bytes were read.
    fn step(&mut self) -> u64 {
        let mut read = 0;
        for _ in 0..STEP_CONTENTS {
            let next = self.within.take().or_else(|| {
                let next = self.cache.next_after(self.place.after.as_ref());
                next.map(|id| (id, PieceIndex(0)))
            });
            let Some((id, from)) = next else {
                self.end_pass();
                break;
            };
            read += self.check(&id, from, STEP - read);
            if read >= STEP {
                break;
            }
        }
        self.place.bytes += read;
        read
    }

    fn check(&mut self, id: &ContentId, from: PieceIndex, max_bytes: u64) -> u64 {
        let part = match self.cache.check_part(id, from, max_bytes) {
            Ok(part) => part,
            Err(error) => {
                // What cannot be read is a notice; what has gone is no matter.
                tracing::debug!(content = %id, %error, "not checked");
                self.leave(id, false);
                return 0;
            }
        };
        match part.next {
            _ if !part.is_good => {
                // All of it, to know what can be kept.
                let damaged = self.contents.verify(&id.to_string());
                self.leave(
                    id,
                    damaged.is_ok_and(|verified| verified.result == Found::Damaged),
                );
            }
            Some(next) => self.within = Some((*id, next)),
            None => self.leave(id, false),
        }
        part.bytes
    }

    /// Done with a content.
    fn leave(&mut self, id: &ContentId, damaged: bool) {
        self.place.after = Some(*id);
        self.place.contents += 1;
        self.place.damaged += u64::from(damaged);
    }

    fn end_pass(&mut self) {
        self.place.end();
        let place = &self.place;
        let fields = json!({
            "contents": place.contents,
            "bytes": place.bytes,
            "damaged": place.damaged,
        });
        self.events.record("scrub_finished", None, fields);
    }

    fn keep(&self) {
        if let Err(error) = self.place.write(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "how far the scrub is was not kept");
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
