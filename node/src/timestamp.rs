//! Times as text.

use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// RFC 3339 in UTC, to the millisecond. What every JSON document uses.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    let millis = time.nanosecond() / 1_000_000 * 1_000_000;
    time.replace_nanosecond(millis)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        // Only years beyond 9999 have no such text.
        .unwrap_or_else(|| "9999-12-31T23:59:59Z".to_owned())
}

/// Reads RFC 3339.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc3339)
        .ok()
        .map(SystemTime::from)
}

/// The day, as 2026-11-21, in UTC.
#[must_use]
pub fn day(time: SystemTime) -> String {
    let mut text = rfc3339(time);
    text.truncate(10);
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn both_ways() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_000_000_123);
        let text = rfc3339(time);
        assert_eq!(parse_rfc3339(&text), Some(time));
        assert_eq!(day(SystemTime::UNIX_EPOCH), "1970-01-01");
        assert_eq!(parse_rfc3339("yesterday"), None);
    }
}
