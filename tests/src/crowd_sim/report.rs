//! What came of a crowd.

use std::fmt;
use std::time::Duration;

use super::bound::least_time;
use super::event::Place;
use super::line::LineUp;
use super::member_host::Host;
use super::settings::{CrowdSettings, Fate, HostSettings};

/// What came of a crowd.
#[derive(Debug, Clone)]
pub struct CrowdReport {
    /// Bytes that the origin sent over the bytes of the file.
    pub copies: f64,
    /// The least time in which it can be done ([`least_time`]), by the hosts that have to
    /// finish: not before each of them had the time to take the file once since it began.
    pub bound: Duration,
    /// When it was over, or given up.
    pub ended: Duration,
    /// For how much of that time the origin sent something: 0 to 1.
    pub origin_busy: f64,
    /// What came of each host.
    pub hosts: Vec<HostReport>,
}

/// What came of one host.
#[derive(Debug, Clone, Copy)]
pub struct HostReport {
    /// Whether it is one that has to finish.
    pub counts: bool,
    /// When it began.
    pub started: Duration,
    /// When it had everything.
    pub finished: Option<Duration>,
    /// Pieces that it took for right and that are not.
    pub wrong_pieces: usize,
    /// Bytes of control messages that it sent, with headers.
    pub control: u64,
    /// Control messages that it sent, answers not counted.
    pub messages: u64,
    /// Pieces that it got twice.
    pub discarded: u64,
    /// Pieces that it asked of the origin in place of another.
    pub taken_over: u64,
    /// Pieces of others that it compared with the origin.
    pub audited: u64,
    /// How many of these were not what the origin has.
    pub forged: u64,
    /// Members that it found out.
    pub exposed: usize,
    /// How many of these are honest.
    pub exposed_honest: usize,
    /// Pieces that it holds and that only somebody vouched for whom it found out.
    pub of_exposed: usize,
    /// How often it was refused a piece, its queue being full.
    pub refused: u64,
}

impl HostSettings {
    /// Whether it is one that has to finish: honest, and there at the end.
    #[must_use]
    pub fn is_to_finish(&self) -> bool {
        let stays = matches!(self.fate, None | Some((_, Fate::Restarts(_))));
        stays && !self.manner.is_hostile()
    }
}

impl CrowdReport {
    /// The head of the table whose lines [`fmt::Display`] writes.
    pub const HEADER: &str = "| N | copies | last s | x bound | p99/p50 | origin busy | \
        control KB/host | messages/host | twice | taken over |\n\
        |---|---|---|---|---|---|---|---|---|---|";

    pub(super) fn of(
        settings: &CrowdSettings,
        hosts: &[Host],
        origin: &LineUp,
        ended: Duration,
    ) -> Self {
        Self {
            copies: origin.bytes as f64 / settings.size as f64,
            bound: bound(settings),
            ended,
            origin_busy: origin.busy.as_secs_f64() / ended.as_secs_f64(),
            hosts: hosts
                .iter()
                .map(|host| HostReport::of(host, hosts))
                .collect(),
        }
    }

    /// The honest hosts that were there to the end.
    pub fn counted(&self) -> impl Iterator<Item = &HostReport> {
        self.hosts.iter().filter(|host| host.counts)
    }

    /// Whether all of these finished.
    #[must_use]
    pub fn all_finished(&self) -> bool {
        self.counted().all(|host| host.finished.is_some())
    }

    /// When the last finished, since the first began; when some did not, the end.
    #[must_use]
    pub fn last(&self) -> Duration {
        let first = self.counted().map(|host| host.started).min();
        let last = self
            .counted()
            .map(|host| host.finished.unwrap_or(self.ended));
        last.max().unwrap_or_default() - first.unwrap_or_default()
    }

    /// The same over the bound.
    #[must_use]
    pub fn times_bound(&self) -> f64 {
        self.last().as_secs_f64() / self.bound.as_secs_f64()
    }

    /// How long the last hundredth took over what the half took.
    #[must_use]
    pub fn tail(&self) -> f64 {
        let took = |host: &HostReport| {
            host.finished
                .unwrap_or(self.ended)
                .saturating_sub(host.started)
        };
        let mut times: Vec<Duration> = self.counted().map(took).collect();
        times.sort_unstable();
        let at =
            |part: usize| times.get((times.len() * part / 100).min(times.len().wrapping_sub(1)));
        match (at(99), at(50)) {
            (Some(late), Some(middle)) => late.as_secs_f64() / middle.as_secs_f64(),
            _ => 1.0,
        }
    }

    fn mean(&self, of: impl Fn(&HostReport) -> u64) -> f64 {
        let sum: u64 = self.hosts.iter().map(of).sum();
        sum as f64 / self.hosts.len().max(1) as f64
    }
}

impl HostReport {
    fn of(host: &Host, hosts: &[Host]) -> Self {
        let pieces = || host.disk.iter().flatten();
        let exposed = &host.audits.exposed;
        let is_honest = |place: &&Place| !hosts[**place].settings.manner.is_hostile();
        Self {
            counts: host.settings.is_to_finish(),
            started: host.settings.starts,
            finished: host.finished,
            wrong_pieces: pieces().filter(|piece| !piece.right).count(),
            control: host.counts.control,
            messages: host.counts.messages,
            discarded: host.counts.discarded,
            taken_over: host.counts.taken_over,
            audited: host.audits.counts.pieces,
            forged: host.audits.counts.forged,
            exposed: exposed.len(),
            exposed_honest: exposed.iter().filter(is_honest).count(),
            of_exposed: pieces()
                .filter(|piece| exposed.contains(&piece.signer))
                .count(),
            refused: host.counts.refused,
        }
    }
}

fn bound(settings: &CrowdSettings) -> Duration {
    let counted = || settings.hosts.iter().filter(|host| host.is_to_finish());
    let first = counted().map(|host| host.starts).min().unwrap_or_default();
    let bits = settings.size as f64 * 8.0;
    let each = counted().map(|host| host.starts + Duration::from_secs_f64(bits / host.down as f64));
    let joined = each.max().unwrap_or_default().saturating_sub(first);
    least_time(settings.size, settings.origin_up, counted()).max(joined)
}

impl fmt::Display for CrowdReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |of: fn(&HostReport) -> u64| self.hosts.iter().map(of).sum::<u64>();
        write!(
            f,
            "| {} | {:.3} | {:.2} | {:.3} | {:.2} | {:.2} | {:.1} | {:.0} | {} | {} |",
            self.hosts.len(),
            self.copies,
            self.last().as_secs_f64(),
            self.times_bound(),
            self.tail(),
            self.origin_busy,
            self.mean(|host| host.control) / 1000.0,
            self.mean(|host| host.messages),
            sum(|host| host.discarded),
            sum(|host| host.taken_over),
        )?;
        if !self.all_finished() {
            let missing = self.counted().filter(|host| host.finished.is_none());
            write!(f, " {} did not finish", missing.count())?;
        }
        Ok(())
    }
}
