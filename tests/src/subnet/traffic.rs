//! What the beacons cost the subnet.

use std::collections::VecDeque;
use std::time::Duration;

use potluck_near::BeaconMessage;

/// The peak is looked for in every second that begins at one of these.
const BIN: Duration = Duration::from_millis(100);
const BINS_PER_SECOND: usize = 10;

/// What a beacon says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// An announcement.
    Hello,
    /// A question.
    Probe,
    /// An answer.
    Match,
    /// A goodbye.
    Bye,
}

impl Kind {
    pub(crate) const fn of(message: &BeaconMessage) -> Self {
        match message {
            BeaconMessage::Hello => Self::Hello,
            BeaconMessage::Probe { .. } => Self::Probe,
            BeaconMessage::Match => Self::Match,
            BeaconMessage::Bye => Self::Bye,
        }
    }
}

/// Datagrams and bytes of one stretch of time. Bytes are those of the sealed datagram
/// with 28 for the headers of UDP and IPv4.
#[derive(Clone, Default, Debug)]
pub struct Traffic {
    /// Datagrams on the wire, each once, however many hear it: by [`Kind`].
    pub sent: [u64; 4],
    /// Bytes on the wire.
    pub sent_bytes: u64,
    /// Datagrams that arrived, counted at each node.
    pub received: u64,
    /// Bytes that arrived.
    pub received_bytes: u64,
    /// Datagrams that a node did not read, since it reads only so many in one second.
    pub unread: u64,
    /// Datagrams on the wire in the worst second.
    pub peak: u64,
    /// The most answers that one question drew.
    pub most_answers: u64,
    /// Calls that were made.
    pub calls: u64,
    /// Calls that were answered by a node without a place to give.
    pub full: u64,
    bins: VecDeque<u64>,
    first_bin: u128,
}

impl Traffic {
    pub(crate) fn note_sent(&mut self, kind: Kind, length: usize, now: Duration) {
        self.sent[kind as usize] += 1;
        self.sent_bytes += length as u64;
        let bin = now.as_nanos() / BIN.as_nanos();
        while self.first_bin + self.bins.len() as u128 <= bin {
            if self.bins.len() == BINS_PER_SECOND {
                self.bins.pop_front();
                self.first_bin += 1;
            }
            if self.bins.is_empty() {
                self.first_bin = bin;
            }
            self.bins.push_back(0);
        }
        if let Some(last) = self.bins.back_mut() {
            *last += 1;
        }
        self.peak = self.peak.max(self.bins.iter().sum());
    }

    pub(crate) fn note_received(&mut self, length: usize) {
        self.received += 1;
        self.received_bytes += length as u64;
    }

    /// Datagrams of one kind on the wire.
    #[must_use]
    pub const fn sent_of(&self, kind: Kind) -> u64 {
        self.sent[kind as usize]
    }

    /// Datagrams of all kinds on the wire.
    #[must_use]
    pub fn sent_in_all(&self) -> u64 {
        self.sent.iter().sum()
    }

    /// Answers that a question drew on the average; 0 where none was put.
    #[must_use]
    pub fn answers_per_probe(&self) -> f64 {
        self.sent_of(Kind::Match) as f64 / (self.sent_of(Kind::Probe) as f64).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_that_of_any_second() {
        let mut traffic = Traffic::default();
        for millis in [0, 950, 1000, 1050, 1850, 60_000] {
            traffic.note_sent(Kind::Hello, 100, Duration::from_millis(millis));
        }
        assert_eq!((traffic.peak, traffic.sent_in_all()), (4, 6));
    }
}
