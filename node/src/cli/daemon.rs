//! Reaching the daemon, or finding that there is none.

use std::time::Duration;

use super::failure::Failure;
use crate::client::{Client, ClientError};
use crate::config::{Settings, parse_duration};

/// The daemon, for a command that is nothing without one.
pub(super) async fn client(settings: &Settings) -> Result<Client, Failure> {
    Ok(Client::connect(&settings.control.socket).await?)
}

/// The daemon if there is one, for a command that can do without.
pub(super) async fn client_if_any(settings: &Settings) -> Result<Option<Client>, Failure> {
    match Client::connect(&settings.control.socket).await {
        Ok(client) => Ok(Some(client)),
        Err(ClientError::NoDaemon(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Reads a time such as `10m` from the command line.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write a time such as 600s, 10m, 36h or 14d".to_owned())
}

/// A time of a document as people read it: `2026-11-21 06:45:10Z`.
pub(super) fn show_time(rfc3339: &str) -> String {
    match rfc3339.split_once('T') {
        Some((day, time)) => {
            let time = time.trim_end_matches('Z');
            let seconds = time.split_once('.').map_or(time, |(seconds, _)| seconds);
            format!("{day} {seconds}Z")
        }
        None => rfc3339.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_for_people() {
        assert_eq!(
            show_time("2026-11-21T06:45:10.123Z"),
            "2026-11-21 06:45:10Z"
        );
        assert_eq!(show_time("2026-11-21T06:45:10Z"), "2026-11-21 06:45:10Z");
        assert_eq!(show_time("never"), "never");
    }

    #[test]
    fn durations_are_those_of_the_settings() {
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("1d"), Ok(Duration::from_secs(86_400)));
        assert!(duration("10").unwrap_err().contains("600s"));
    }
}
