//! Sizes and durations as people write them.

use std::time::Duration;

const SECOND: u64 = 1;
const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

/// Reads `10 MiB`, `1 GB` or `4096`: bytes.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    scaled(number, factor)
}

/// Reads `20%` in hundredths of a percent, so that `0.5%` has an exact value.
pub(super) fn parse_percent(text: &str) -> Option<u32> {
    let number = text.trim().strip_suffix('%')?.trim();
    u32::try_from(scaled(number, 100)?).ok()
}

/// Reads `600s`, `10 min`, `36h` or `14d`.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => SECOND * 1_000,
        "m" | "min" => MINUTE * 1_000,
        "h" => HOUR * 1_000,
        "d" => DAY * 1_000,
        _ => return None,
    };
    scaled(number, millis).map(Duration::from_millis)
}

/// The shortest way to write a duration: `14d`, not `1209600s`.
pub(crate) fn show_duration(duration: Duration) -> String {
    if duration.subsec_millis() != 0 {
        return format!("{}ms", duration.as_millis());
    }
    let seconds = duration.as_secs();
    for (size, unit) in [(DAY, "d"), (HOUR, "h")] {
        if seconds >= size && seconds.is_multiple_of(size) {
            return format!("{}{unit}", seconds / size);
        }
    }
    format!("{seconds}s")
}

/// Bytes for people: `64 MiB`, `1.5 GiB`.
pub(crate) fn show_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let text = format!("{value:.1}");
    format!(
        "{} {}",
        text.strip_suffix(".0").unwrap_or(&text),
        UNITS[unit]
    )
}

fn number_and_unit(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (!number.is_empty()).then(|| (number, unit.trim()))
}

/// `number * factor` without going through floating point; digits too fine for the
/// factor are dropped.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (number, ""),
    };
    let mut value = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    if !fraction.is_empty() {
        let fraction = &fraction[..fraction.len().min(9)];
        let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(factor) / scale;
        value = value.checked_add(u64::try_from(part).ok()?)?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("10 MiB", 10 << 20),
            ("1 GB", 1_000_000_000),
            ("1.5 KiB", 1536),
            ("77", 77),
            ("0.5TiB", 1 << 39),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "MiB", "1 MBit", "1. GB", "-1", "99999999999 TB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
        assert_eq!(parse_percent("20%"), Some(2_000));
        assert_eq!(parse_percent("0.5 %"), Some(50));
        assert_eq!(parse_percent("20"), None);
    }

    #[test]
    fn durations() {
        for (text, seconds) in [
            ("600s", 600),
            ("14d", 14 * 86_400),
            ("10 min", 600),
            ("2h", 7_200),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_secs(seconds)),
                "{text}"
            );
        }
        assert_eq!(parse_duration("600"), None);
        assert_eq!(show_duration(Duration::from_secs(14 * 86_400)), "14d");
        assert_eq!(show_duration(Duration::from_secs(600)), "600s");
        assert_eq!(show_duration(Duration::from_millis(1_500)), "1500ms");
    }

    #[test]
    fn sizes_for_people() {
        for (bytes, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1 KiB"),
            (64 << 20, "64 MiB"),
            (1_048_575, "1 MiB"),
            (1_610_612_736, "1.5 GiB"),
        ] {
            assert_eq!(show_size(bytes), text);
        }
    }
}
