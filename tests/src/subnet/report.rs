//! What came of a story.

use std::fmt;
use std::time::Duration;

use crate::subnet::connections::Lost;
use crate::subnet::traffic::{Kind, Traffic};
use crate::subnet::world::SubnetSettings;

/// How long something took the nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quantiles {
    /// Half of the nodes were not slower.
    pub median: Duration,
    /// 99 of 100 nodes were not slower.
    pub p99: Duration,
    /// The slowest of those who came to it.
    pub slowest: Duration,
    /// How many nodes did not come to it.
    pub missing: usize,
}

impl Quantiles {
    /// Of how long each node took; `None` stands for one that did not come to it.
    #[must_use]
    pub fn of(times: &[Option<Duration>]) -> Self {
        let mut done: Vec<Duration> = times.iter().copied().flatten().collect();
        done.sort_unstable();
        let at = |part: f64| {
            let rank = (done.len() as f64 * part).ceil() as usize;
            done.get(rank.saturating_sub(1))
                .copied()
                .unwrap_or_default()
        };
        Self {
            median: at(0.5),
            p99: at(0.99),
            slowest: at(1.0),
            missing: times.len() - done.len(),
        }
    }
}

impl fmt::Display for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |time: Duration| time.as_secs_f64();
        let (median, p99) = (seconds(self.median), seconds(self.p99));
        write!(f, "{median:.2} / {p99:.2} / {:.2}", seconds(self.slowest))?;
        if self.missing > 0 {
            write!(f, " ({} never)", self.missing)?;
        }
        Ok(())
    }
}

/// One part of a story.
#[derive(Clone, Debug)]
pub struct StoryPart {
    /// What happens in it.
    pub name: &'static str,
    /// How many nodes ran.
    pub nodes: usize,
    /// How long it was.
    pub time: Duration,
    /// What was sent in it.
    pub traffic: Traffic,
    /// How long that took which the part is about.
    pub until: Option<Quantiles>,
    /// Peers that left a list though they ran and were in reach.
    pub false_removals: Vec<Lost>,
}

impl StoryPart {
    /// Per node and second, of something that is counted for all nodes.
    fn rate(&self, count: u64) -> f64 {
        count as f64 / self.nodes as f64 / self.time.as_secs_f64()
    }

    /// Bytes that a node gets from beacons in a second.
    #[must_use]
    pub fn bytes_received(&self) -> f64 {
        self.rate(self.traffic.received_bytes)
    }
}

/// A story that was told.
#[derive(Clone, Debug)]
pub struct Report {
    /// Of which subnet.
    pub settings: SubnetSettings,
    /// Its parts in order.
    pub parts: Vec<StoryPart>,
}

impl Report {
    /// The names of the columns of [`Report`]'s lines, as a table in Markdown.
    pub const HEADER: &str = "\
| nodes | loss | part | s | received/node/s | B received/node/s | sent/node/s | B sent/node/s \
| HELLO | PROBE | MATCH | answers/PROBE (most) | peak second | calls (full) | until, s: median / p99 / slowest | false removals |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|";

    /// The part of this name.
    #[must_use]
    pub fn part(&self, name: &str) -> Option<&StoryPart> {
        self.parts.iter().find(|part| part.name == name)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            let (traffic, settings) = (&part.traffic, &self.settings);
            let until = part
                .until
                .as_ref()
                .map_or_else(String::new, |it| it.to_string());
            let unread = match traffic.unread {
                0 => String::new(),
                unread => format!(" (+{:.2} unread)", part.rate(unread)),
            };
            writeln!(
                f,
                "| {} | {:.0} % | {} | {:.0} | {:.2}{unread} | {:.0} | {:.3} | {:.1} | {} | {} | {} | {:.1} ({}) | {} | {} ({}) | {until} | {} |",
                part.nodes,
                settings.loss * 100.0,
                part.name,
                part.time.as_secs_f64(),
                part.rate(traffic.received),
                part.bytes_received(),
                part.rate(traffic.sent_in_all()),
                part.rate(traffic.sent_bytes),
                traffic.sent_of(Kind::Hello),
                traffic.sent_of(Kind::Probe),
                traffic.sent_of(Kind::Match),
                traffic.answers_per_probe(),
                traffic.most_answers,
                traffic.peak,
                traffic.calls,
                traffic.full,
                part.false_removals.len(),
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_leave_out_those_who_never_came() {
        let times: Vec<_> = (1..=100).map(|n| Some(Duration::from_secs(n))).collect();
        let all = Quantiles::of(&times);
        assert_eq!(all.to_string(), "50.00 / 99.00 / 100.00");
        let some = Quantiles::of(&[None, times[6], None]);
        assert_eq!(some.to_string(), "7.00 / 7.00 / 7.00 (2 never)");
    }
}
