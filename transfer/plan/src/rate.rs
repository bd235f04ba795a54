//! Rates, in bits per second.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How fast bytes flow, or may flow: decimal bits per second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Rate {
    /// This many bits per second. Nothing flows at 0.
    Bits(u64),
    /// No limit. Ordered above every number.
    Unlimited,
}

impl Rate {
    /// Nothing flows.
    pub const ZERO: Self = Self::Bits(0);

    /// A rate of so many bytes per second.
    #[must_use]
    pub const fn from_bytes_per_second(bytes: u64) -> Self {
        Self::Bits(bytes.saturating_mul(8))
    }

    /// The average of `bytes` over `time`; [`Rate::Unlimited`] over no time at all.
    #[must_use]
    pub fn average(bytes: u64, time: Duration) -> Self {
        let nanos = time.as_nanos();
        if nanos == 0 {
            return Self::Unlimited;
        }
        let bits = u128::from(bytes) * 8 * 1_000_000_000 / nanos;
        Self::Bits(u64::try_from(bits).unwrap_or(u64::MAX))
    }

    /// Bits per second; `None` for no limit. What JSON shows.
    #[must_use]
    pub const fn bits(self) -> Option<u64> {
        match self {
            Self::Bits(bits) => Some(bits),
            Self::Unlimited => None,
        }
    }

    /// How long `bytes` take. Zero without a limit, [`Duration::MAX`] at rate 0.
    #[must_use]
    pub fn time_for(self, bytes: u64) -> Duration {
        match self {
            Self::Unlimited => Duration::ZERO,
            Self::Bits(0) if bytes > 0 => Duration::MAX,
            Self::Bits(0) => Duration::ZERO,
            Self::Bits(bits) => {
                let nanos = (u128::from(bytes) * 8 * 1_000_000_000).div_ceil(u128::from(bits));
                u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos)
            }
        }
    }

    /// How many whole bytes flow in `time`; [`u64::MAX`] without a limit.
    #[must_use]
    pub fn bytes_in(self, time: Duration) -> u64 {
        match self {
            Self::Unlimited => u64::MAX,
            Self::Bits(bits) => {
                let bytes = u128::from(bits).saturating_mul(time.as_nanos()) / 8_000_000_000;
                u64::try_from(bytes).unwrap_or(u64::MAX)
            }
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 3] = [
            (1_000_000_000, "Gbps"),
            (1_000_000, "Mbps"),
            (1_000, "kbps"),
        ];
        match *self {
            Self::Unlimited => f.pad("unlimited"),
            Self::Bits(bits) => {
                let (value, unit) = UNITS
                    .into_iter()
                    .find(|(size, _)| bits >= *size && bits % size == 0)
                    .map_or((bits, "bps"), |(size, unit)| (bits / size, unit));
                f.pad(&format!("{value} {unit}"))
            }
        }
    }
}

/// Text that is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// Not a number and a unit.
    #[error("{0:?} is no rate: write for example \"1 Mbps\", \"500 KB/s\" or \"unlimited\"")]
    Malformed(String),
    /// A number without a unit could mean bits or bytes.
    #[error("{0:?} has no unit: write for example \"1 Mbps\" or \"500 KB/s\"")]
    NoUnit(String),
    /// A unit that nobody knows.
    #[error(
        "{unit:?} is no unit of rate: choose bps, kbps, Mbps, Gbps (bits) or B/s, KB/s, MB/s, GB/s (bytes)"
    )]
    UnknownUnit {
        /// What was written.
        unit: String,
    },
    /// More than 2^64 bits per second.
    #[error("{0:?} is beyond what a rate can be: write \"unlimited\" for no limit")]
    TooLarge(String),
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trimmed = text.trim();
        if trimmed.eq_ignore_ascii_case("unlimited") {
            return Ok(Self::Unlimited);
        }
        let malformed = || RateError::Malformed(text.to_owned());
        let end = trimmed
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty()
            || fraction.contains('.')
            || (number.contains('.') && fraction.is_empty())
        {
            return Err(malformed());
        }
        let unit = unit.trim();
        let factor = match unit {
            "" if number.bytes().all(|byte| matches!(byte, b'0' | b'.')) => 1,
            "" => return Err(RateError::NoUnit(text.to_owned())),
            unit => unit_factor(unit).ok_or_else(|| RateError::UnknownUnit {
                unit: unit.to_owned(),
            })?,
        };
        let too_large = || RateError::TooLarge(text.to_owned());
        let mut bits = whole
            .parse::<u64>()
            .ok()
            .and_then(|whole| whole.checked_mul(factor))
            .ok_or_else(too_large)?;
        let mut place = factor;
        for digit in fraction.bytes() {
            place /= 10;
            bits = bits
                .checked_add(u64::from(digit - b'0') * place)
                .ok_or_else(too_large)?;
        }
        Ok(Self::Bits(bits))
    }
}

/// Bits per second in one of this unit. Only the case of the `b` in `Mb/s` and `MB/s`,
/// `Mbps` and `MBps` tells bits from bytes; elsewhere case does not matter.
fn unit_factor(unit: &str) -> Option<u64> {
    let mut rest = unit;
    let scale = match rest.chars().next()?.to_ascii_lowercase() {
        'k' => 1_000,
        'm' => 1_000_000,
        'g' => 1_000_000_000,
        't' => 1_000_000_000_000,
        _ => 1,
    };
    if scale > 1 {
        rest = &rest[1..];
    }
    match rest {
        "bps" | "b/s" => Some(scale),
        "Bps" | "B/s" => Some(scale * 8),
        _ => match rest.to_ascii_lowercase().as_str() {
            "bit/s" | "bits/s" => Some(scale),
            "byte/s" | "bytes/s" => Some(scale * 8),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, bits) in [
            ("1 Mbps", 1_000_000),
            ("1Mbps", 1_000_000),
            ("10 Mbit/s", 10_000_000),
            ("500 KB/s", 4_000_000),
            ("500 kB/s", 4_000_000),
            ("1.5 Gbps", 1_500_000_000),
            ("0.25 kbps", 250),
            ("8 b/s", 8),
            ("8 B/s", 64),
            ("3 MB/s", 24_000_000),
            ("3 Mb/s", 3_000_000),
            ("0", 0),
            ("0 bps", 0),
        ] {
            assert_eq!(text.parse(), Ok(Rate::Bits(bits)), "{text}");
        }
        assert_eq!("unlimited".parse(), Ok(Rate::Unlimited));
        assert_eq!("Unlimited".parse(), Ok(Rate::Unlimited));
    }

    #[test]
    fn refuses_the_rest_and_says_why() {
        let error = |text: &str| text.parse::<Rate>().unwrap_err();
        assert!(matches!(error(""), RateError::Malformed(_)));
        assert!(matches!(error("fast"), RateError::Malformed(_)));
        assert!(matches!(error("1..5 Mbps"), RateError::Malformed(_)));
        assert!(matches!(error("1. Mbps"), RateError::Malformed(_)));
        assert!(matches!(error("-1 Mbps"), RateError::Malformed(_)));
        assert!(matches!(error("12"), RateError::NoUnit(_)));
        assert!(matches!(error("1 parsec"), RateError::UnknownUnit { .. }));
        assert!(matches!(error("1 Mé"), RateError::UnknownUnit { .. }));
        assert!(matches!(error("99999999999 Gbps"), RateError::TooLarge(_)));
    }

    #[test]
    fn shows_what_it_reads() {
        for (bits, text) in [
            (0, "0 bps"),
            (999, "999 bps"),
            (1_000, "1 kbps"),
            (1_500_000, "1500 kbps"),
            (4_000_000, "4 Mbps"),
            (10_000_000_000, "10 Gbps"),
        ] {
            assert_eq!(Rate::Bits(bits).to_string(), text);
            assert_eq!(text.parse(), Ok(Rate::Bits(bits)));
        }
        assert_eq!(Rate::Unlimited.to_string(), "unlimited");
        assert!(Rate::Bits(u64::MAX) < Rate::Unlimited);
    }

    #[test]
    fn times_and_bytes_agree() {
        let rate = Rate::Bits(1_000_000);
        assert_eq!(rate.time_for(125_000), Duration::from_secs(1));
        assert_eq!(rate.bytes_in(Duration::from_secs(1)), 125_000);
        assert_eq!(Rate::average(125_000, Duration::from_secs(1)), rate);
        assert_eq!(Rate::ZERO.time_for(1), Duration::MAX);
        assert_eq!(Rate::Unlimited.time_for(1), Duration::ZERO);
        assert_eq!(Rate::Bits(1).time_for(u64::MAX), Duration::MAX);
        assert_eq!(Rate::average(1, Duration::ZERO), Rate::Unlimited);
    }
}
