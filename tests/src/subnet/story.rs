//! What happens to a simulated subnet, in parts.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::subnet::event::Place;
use crate::subnet::report::{Quantiles, Report, StoryPart};
use crate::subnet::world::{Subnet, SubnetSettings};

/// All nodes start within this time.
const BOOT: Duration = Duration::from_secs(1);
/// How long the parts around the steady state are.
const START: Duration = Duration::from_secs(10);
const REST_OF_MINUTE: Duration = Duration::from_secs(50);
const AFTER_LEAVING: Duration = Duration::from_secs(120);
const SPLIT: Duration = Duration::from_secs(120);
const AFTER_HEALING: Duration = Duration::from_secs(300);
/// How exactly times are taken.
const STEP: Duration = Duration::from_millis(10);

/// A subnet from the moment its machines are switched on.
pub struct Story {
    subnet: Subnet,
    parts: Vec<StoryPart>,
}

impl Story {
    /// Tells the whole story: all start within a second; they rest for `steady`; each
    /// tenth node vanishes; the network falls into two halves and becomes one again.
    #[must_use]
    pub fn tell(settings: SubnetSettings, steady: Duration) -> Report {
        let mut story = Self::new(settings);
        story.boot();
        story.rest("first minute", REST_OF_MINUTE);
        story.rest("steady", steady);
        story.vanish();
        story.split();
        story.heal();
        story.report()
    }

    /// The beginning of one.
    #[must_use]
    pub fn new(settings: SubnetSettings) -> Self {
        Self {
            subnet: Subnet::new(settings),
            parts: Vec::new(),
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn report(self) -> Report {
        Report {
            settings: *self.subnet.settings(),
            parts: self.parts,
        }
    }

    /// The subnet as it is now.
    #[must_use]
    pub const fn subnet(&self) -> &Subnet {
        &self.subnet
    }

    /// "boot": all start within a second, and ten seconds pass. It is about how long
    /// each node takes from its own start until it has its peers.
    pub fn boot(&mut self) {
        self.subnet.boot_all(BOOT);
        let goal = self.goal(self.subnet.settings().nodes);
        let mut booted = Vec::new();
        let times = self.until(START, |subnet, place| {
            subnet
                .node(place)
                .is_some_and(|node| node.listed().len() >= goal)
        });
        for (place, node) in self.subnet.nodes() {
            let taken = times[place].map(|at| at.saturating_sub(node.booted()));
            booted.push(taken);
        }
        self.finish("boot", START, Some(Quantiles::of(&booted)));
    }

    /// Nothing happens for a while.
    pub fn rest(&mut self, name: &'static str, time: Duration) {
        self.subnet.run_for(time);
        self.finish(name, time, None);
    }

    /// A node stops in order.
    pub fn stop(&mut self, place: Place) {
        self.subnet.stop(place);
    }

    /// "tenth vanishes": each tenth node is switched off without a goodbye. It is about
    /// how long each of the others takes until it lists none of them any more.
    pub fn vanish(&mut self) {
        let running: Vec<Place> = self.subnet.nodes().map(|(place, _)| place).collect();
        let count = running.len().div_ceil(10);
        let gone: BTreeSet<Place> = self
            .subnet
            .random()
            .choose_multiple(running, count)
            .into_iter()
            .collect();
        for place in &gone {
            self.subnet.vanish(*place);
        }
        let times = self.until(AFTER_LEAVING, |subnet, place| {
            let node = subnet.node(place);
            node.is_some_and(|node| node.listed().is_disjoint(&gone))
        });
        let until = self.of_those_who_run(&times);
        self.finish("tenth vanishes", AFTER_LEAVING, Some(until));
    }

    /// "split": the network falls into two halves for two minutes. It is about how long
    /// each node takes until it lists nobody of the other half.
    pub fn split(&mut self) {
        self.subnet.cut(true);
        let times = self.until(SPLIT, |subnet, place| {
            let mut listed = subnet
                .node(place)
                .into_iter()
                .flat_map(|node| node.listed());
            listed.all(|peer| subnet.reaches(place, *peer))
        });
        let until = self.of_those_who_run(&times);
        self.finish("split", SPLIT, Some(until));
    }

    /// "healed": the network is one again, for five minutes. It is about how long the
    /// halves take until every node is linked to every other by lists; where nodes look
    /// for more peers than there are, until each lists all.
    pub fn heal(&mut self) {
        self.subnet.cut(false);
        let running = self.subnet.nodes().count();
        let goal = self.goal(running);
        let everybody = goal + 1 == running;
        let mut healed = None;
        let start = self.subnet.now();
        let step = STEP * 50;
        while self.subnet.now() < start + AFTER_HEALING {
            self.subnet.run_for(step);
            let full = || {
                self.subnet
                    .nodes()
                    .all(|(_, node)| node.listed().len() >= goal)
            };
            if healed.is_none() && self.is_connected() && (!everybody || full()) {
                healed = Some(self.subnet.now() - start);
            }
        }
        self.finish("healed", AFTER_HEALING, Some(Quantiles::of(&[healed])));
    }

    /// How many peers a node looks for among so many nodes.
    fn goal(&self, nodes: usize) -> usize {
        let most = self.subnet.settings().max_peers;
        (most - most / 4).min(nodes.saturating_sub(1))
    }

    /// Lets `time` pass; when each node came to it, since the beginning of the part.
    fn until(
        &mut self,
        time: Duration,
        done: impl Fn(&Subnet, Place) -> bool,
    ) -> Vec<Option<Duration>> {
        let start = self.subnet.now();
        let mut times = vec![None; self.subnet.settings().nodes];
        while self.subnet.now() < start + time {
            self.subnet.run_for(STEP);
            let now = self.subnet.now() - start;
            for (place, at) in times.iter_mut().enumerate() {
                if at.is_none() && done(&self.subnet, place) {
                    *at = Some(now);
                }
            }
        }
        times
    }

    fn of_those_who_run(&self, times: &[Option<Duration>]) -> Quantiles {
        let running = self.subnet.nodes().map(|(place, _)| times[place]);
        Quantiles::of(&running.collect::<Vec<_>>())
    }

    fn is_connected(&self) -> bool {
        let Some((first, _)) = self.subnet.nodes().next() else {
            return true;
        };
        let mut seen = BTreeSet::from([first]);
        let mut next = vec![first];
        while let Some(place) = next.pop() {
            let listed = self
                .subnet
                .node(place)
                .into_iter()
                .flat_map(|node| node.listed());
            for peer in listed {
                if self.subnet.node(*peer).is_some() && seen.insert(*peer) {
                    next.push(*peer);
                }
            }
        }
        seen.len() == self.subnet.nodes().count()
    }

    fn finish(&mut self, name: &'static str, time: Duration, until: Option<Quantiles>) {
        self.parts.push(StoryPart {
            name,
            nodes: self.subnet.nodes().count(),
            time,
            traffic: self.subnet.take_traffic(),
            until,
            false_removals: self.subnet.take_false_removals(),
        });
    }
}
