//! What crossed a host's link, as its kernel counted it.

use anyhow::{Context, Result};

/// Bytes and packets since the host was made. Bytes are frames without preamble:
/// 14 bytes of Ethernet, 20 of IP and 32 of TCP around each packet's data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes that came in.
    pub received: u64,
    /// Packets that came in.
    pub packets_received: u64,
    /// Bytes that went out.
    pub sent: u64,
    /// Packets that went out.
    pub packets_sent: u64,
}

impl Counters {
    /// What was added since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            received: self.received - earlier.received,
            packets_received: self.packets_received - earlier.packets_received,
            sent: self.sent - earlier.sent,
            packets_sent: self.packets_sent - earlier.packets_sent,
        }
    }

    /// Bytes sent without the headers of Ethernet, IP and TCP.
    pub fn payload_sent(self) -> u64 {
        self.sent.saturating_sub(self.packets_sent * HEADERS)
    }

    /// Bytes received without the headers of Ethernet, IP and TCP.
    pub fn payload_received(self) -> u64 {
        self.received
            .saturating_sub(self.packets_received * HEADERS)
    }

    /// Finds the interface in the text of `/proc/net/dev`.
    pub(super) fn parse(table: &str, interface: &str) -> Result<Self> {
        let line = table
            .lines()
            .find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':'))
            .with_context(|| format!("no interface {interface}"))?;
        let numbers: Vec<u64> = line
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let at = |index: usize| numbers.get(index).copied().context("a short line");
        Ok(Self {
            received: at(0)?,
            packets_received: at(1)?,
            sent: at(8)?,
            packets_sent: at(9)?,
        })
    }
}

const HEADERS: u64 = 14 + 20 + 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernel_s_table() {
        let table = "Inter-|   Receive\n face |bytes packets\n    lo: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n  \
            eth0: 1000 10 0 0 0 0 0 0 2000 20 0 0 0 0 0 0\n";
        let counters = Counters::parse(table, "eth0").unwrap();
        let expected = Counters {
            received: 1000,
            packets_received: 10,
            sent: 2000,
            packets_sent: 20,
        };
        assert_eq!(counters, expected);
        assert_eq!(counters.payload_sent(), 2000 - 20 * 66);
        assert!(Counters::parse(table, "eth1").is_err());
    }
}
