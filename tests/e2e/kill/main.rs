//! kill -9 at random moments of a busy node, and what it finds when it starts again.
//!
//! `POTLUCK_KILLS` sets how often (25), `POTLUCK_SEED` the seed, which is printed. The
//! moments are real ones, so a seed gives the same work but never quite the same kill.

mod audit;
mod load;
mod promises;
mod wares;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, ensure};
use fastrand::Rng;
use potluck_tests::{Lab, Nginx, Node, bytes_of, start_circle};
use rustix::process::{Pid, Signal, kill_process};

use audit::{audit, audit_at_rest};
use load::{Shift, Work};
use promises::Promises;
use wares::Wares;

/// A third of what there is to download fits, so there is always something to evict.
const LIMIT: u64 = 16 << 20;

/// Longest time from the begin of the work to the kill.
const LONGEST: Duration = Duration::from_millis(1200);

mod needs_nginx {
    use super::*;

    #[test]
    fn a_node_that_is_killed_keeps_its_word() {
        let kills = setting("POTLUCK_KILLS").unwrap_or(25);
        let seed = setting("POTLUCK_SEED").unwrap_or_else(|| fastrand::u64(..));
        eprintln!("POTLUCK_KILLS={kills} POTLUCK_SEED={seed}");
        Lab::run(|lab| {
            let mut world = World::new(lab, seed)?;
            for kill in 1..=kills {
                world
                    .round()
                    .with_context(|| format!("kill {kill} of {kills}, seed {seed}"))?;
                if kill % 25 == 0 {
                    eprintln!("{kill} kills: {}", world.promises);
                }
            }
            world.end()
        });
    }
}

struct World {
    wares: Wares,
    /// The one that is killed.
    node: Node,
    /// Lives on and takes from it.
    peer: Node,
    promises: Promises,
    rng: Rng,
}

impl World {
    fn new(lab: &Lab, seed: u64) -> Result<Self> {
        let mut rng = Rng::with_seed(seed);
        let nginx = Nginx::start(lab, &lab.host("origin")?)?;
        let wares = Wares::new(lab, nginx, &mut rng)?;
        let limit = format!("cache.max_size = {LIMIT}");
        let settings = ["profile = \"lan\"", limit.as_str()];
        let mut nodes = [
            Node::new(lab, &lab.host("killed")?, &settings)?,
            Node::new(lab, &lab.host("peer")?, &settings)?,
        ];
        start_circle(lab, &mut nodes)?;
        let [node, peer] = nodes;
        Ok(Self {
            wares,
            node,
            peer,
            promises: Promises::default(),
            rng,
        })
    }

    /// Work, kill, look, start, look.
    fn round(&mut self) -> Result<()> {
        let after = LONGEST.mul_f64(self.rng.f64());
        let daemon = Pid::from_raw(self.node.daemon()?.pid() as i32).context("a pid is never 0")?;
        let stop = AtomicBool::new(false);
        // Not everything at once: what somebody waits for leaves nothing to the rest.
        let mut chosen = Work::ALL.to_vec();
        chosen.retain(|_| self.rng.u8(..3) > 0);
        let rng = &mut self.rng;
        thread::scope(|scope| {
            let begin = |work| {
                let mut shift = Shift {
                    node: &self.node,
                    peer: &self.peer,
                    wares: &self.wares,
                    promises: &self.promises,
                    stop: &stop,
                    rng: rng.fork(),
                };
                scope.spawn(move || shift.repeat(work))
            };
            let work: Vec<_> = chosen.into_iter().map(begin).collect();
            // Not a wait for anything: how long the work lasts is what is tried here.
            thread::sleep(after);
            stop.store(true, Ordering::SeqCst);
            kill_process(daemon, Signal::KILL)?;
            for worker in work {
                let done = worker.join();
                done.map_err(|_| anyhow!("a worker panicked"))??;
            }
            Ok::<_, Error>(())
        })?;
        // It must have been this that ended it.
        self.node.kill()?;
        // With no daemon, the program itself opens the cache; nothing moves meanwhile.
        if self.rng.bool() {
            audit_at_rest(&self.node, LIMIT, &self.promises).context("at rest")?;
        }
        self.node.start()?;
        audit(&self.node, LIMIT, &self.promises).context("started again")
    }

    fn end(&mut self) -> Result<()> {
        self.promises.await_jobs(&self.node)?;
        audit(&self.node, LIMIT, &self.promises)?;
        let log = std::fs::read_to_string(self.node.daemon_log())?;
        ensure!(!log.contains("panicked"), "the daemon panicked");
        let served = bytes_of(&self.peer.json(&["stats"])?, "bytes_from_peers")?;
        eprintln!("{}, {served} bytes served to the peer", self.promises);
        ensure!(served > 0, "nothing was served to the peer");
        self.promises.ensure_all_kinds()
    }
}

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .expect("the settings of this test are numbers"),
    )
}
