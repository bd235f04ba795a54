//! A setting's value as it was written, and how each kind of value is read.

use potluck_discovery::{NamePattern, NamePatternError};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::path::PathBuf;
use std::time::Duration;

use potluck_plan::Rate;
use serde::Serialize;

use super::settings::{CacheSize, MinFree};
use super::size::{parse_duration, parse_percent, parse_size, show_duration};

/// A value before it is understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Number(u64),
    /// Text in quotes, or anything from environment and command line.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
    /// Something no setting takes, as it was written.
    #[serde(skip)]
    Other(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(value) => write!(f, "{value:?}"),
            Self::List(values) => write!(f, "{values:?}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// A value that does not fit its key: what fits instead.
pub(super) type Expected = String;

pub(super) fn boolean(value: &Value) -> Result<bool, Expected> {
    match value {
        Value::Bool(value) => Ok(*value),
        Value::Text(text) if text == "true" || text == "1" => Ok(true),
        Value::Text(text) if text == "false" || text == "0" => Ok(false),
        _ => Err("choose true or false".into()),
    }
}

pub(super) fn count(value: &Value, least: u64, most: u64) -> Result<usize, Expected> {
    let number = match value {
        Value::Number(number) => Some(*number),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    };
    number
        .filter(|number| (least..=most).contains(number))
        .and_then(|number| usize::try_from(number).ok())
        .ok_or_else(|| format!("choose a number from {least} to {most}"))
}

pub(super) fn choice<T: Copy>(value: &Value, choices: &[(&str, T)]) -> Result<T, Expected> {
    let found = match value {
        Value::Text(text) => choices.iter().find(|(name, _)| name == text),
        _ => None,
    };
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<String> = choices
            .iter()
            .map(|(name, _)| format!("{name:?}"))
            .collect();
        format!("choose {}", names.join(" or "))
    })
}

/// A cache size: percent of the disk, or bytes.
pub(super) fn cache_size(value: &Value) -> Result<CacheSize, Expected> {
    let expected = || "write a size such as \"10 GiB\", or 1% to 80% of the disk such as \"20%\"";
    match value {
        Value::Number(bytes) => Ok(CacheSize::Bytes(*bytes)),
        Value::Text(text) if text.trim_end().ends_with('%') => parse_percent(text)
            .filter(|percent| (100..=8_000).contains(percent))
            .map(CacheSize::Percent)
            .ok_or_else(|| expected().into()),
        Value::Text(text) => parse_size(text)
            .map(CacheSize::Bytes)
            .ok_or_else(|| expected().into()),
        _ => Err(expected().into()),
    }
}

pub(super) fn min_free(value: &Value) -> Result<MinFree, Expected> {
    let expected =
        || "write \"auto\", a size such as \"1 GiB\", or 0% to 50% of the disk such as \"5%\"";
    let size = match value {
        Value::Number(bytes) => Some(CacheSize::Bytes(*bytes)),
        Value::Text(text) if text == "auto" => return Ok(MinFree::Auto),
        Value::Text(text) => parse_percent(text)
            .filter(|percent| *percent <= 5_000)
            .map(CacheSize::Percent)
            .or_else(|| parse_size(text).map(CacheSize::Bytes)),
        _ => None,
    };
    size.map(MinFree::Size).ok_or_else(|| expected().into())
}

/// A part of a whole, from 0 to 1.
pub(super) fn part(value: &Value) -> Result<f64, Expected> {
    let hundredths = match value {
        Value::Number(0) => Some(0),
        Value::Text(text) if text == "0" => Some(0),
        Value::Text(text) => parse_percent(text),
        _ => None,
    };
    let hundredths = hundredths.filter(|hundredths| *hundredths <= 10_000);
    hundredths
        .map(|hundredths| f64::from(hundredths) / 10_000.0)
        .ok_or_else(|| "write 0% to 100% such as \"1%\", or 0 for none".into())
}

pub(super) fn rate(value: &Value) -> Result<Rate, Expected> {
    match value {
        Value::Text(text) => text.parse().map_err(|error: potluck_plan::RateError| {
            let text = error.to_string();
            // The message begins with the value, which the mistake names already.
            text.split_once(": ")
                .map_or(text.clone(), |(_, rest)| rest.to_owned())
        }),
        Value::Number(0) => Ok(Rate::ZERO),
        _ => Err("write for example \"1 Mbps\", \"500 KB/s\" or \"unlimited\"".into()),
    }
}

/// A rate at which something is done all the time, or not at all.
pub(super) fn rate_or_off(value: &Value) -> Result<Option<Rate>, Expected> {
    if *value == Value::Text("off".to_owned()) {
        return Ok(None);
    }
    match rate(value) {
        Ok(Rate::ZERO) | Err(_) => Err("write a rate such as \"5 MB/s\", or \"off\"".into()),
        Ok(rate) => Ok(Some(rate)),
    }
}

pub(super) fn duration(
    value: &Value,
    least: Duration,
    most: Duration,
) -> Result<Duration, Expected> {
    let read = match value {
        Value::Text(text) => parse_duration(text),
        _ => None,
    };
    read.filter(|duration| (least..=most).contains(duration))
        .ok_or_else(|| {
            format!(
                "write a time from {} to {} such as \"600s\", \"36h\" or \"14d\"",
                show_duration(least),
                show_duration(most)
            )
        })
}

pub(super) fn path(value: &Value) -> Result<PathBuf, Expected> {
    match value {
        Value::Text(text) if text.starts_with('/') => Ok(PathBuf::from(text)),
        _ => Err("write a path that begins with /".into()),
    }
}

/// A path, or empty for none.
pub(super) fn optional_path(value: &Value) -> Result<Option<PathBuf>, Expected> {
    match value {
        Value::Text(text) if text.is_empty() => Ok(None),
        other => path(other).map(Some),
    }
}

/// DNS names, the first label of each of which may be `*`.
pub(super) fn name_patterns(value: &Value) -> Result<Vec<NamePattern>, Expected> {
    let names = list(value)?;
    let read = names.iter().map(|text| text.parse());
    read.collect::<Result<_, NamePatternError>>()
        .map_err(|error| error.to_string())
}

pub(super) fn listen(value: &Value) -> Result<SocketAddr, Expected> {
    match value {
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
    // Control and joining use the next two ports.
    .filter(|address: &SocketAddr| address.port() != 0 && address.port() <= u16::MAX - 2)
    .ok_or_else(|| "write an address and a port such as \"0.0.0.0:7381\"".into())
}

/// Where pages are shown to this machine only.
pub(super) fn http(value: &Value) -> Result<Option<SocketAddr>, Expected> {
    let text = match value {
        Value::Text(text) => text,
        _ => return Err("write \"127.0.0.1:7380\", or \"\" for none".into()),
    };
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        "write an address and a port such as \"127.0.0.1:7380\", or \"\" for none".into()
    })
}

/// The beacon's group; empty for none.
pub(super) fn multicast(value: &Value) -> Result<Option<SocketAddrV4>, Expected> {
    let expected =
        || "write a multicast address and a port such as \"239.255.73.81:7383\", or \"\" for none";
    match value {
        Value::Text(text) if text.is_empty() => Ok(None),
        Value::Text(text) => text
            .parse::<SocketAddrV4>()
            .ok()
            .filter(|address| address.ip().is_multicast() && address.port() != 0)
            .map(Some)
            .ok_or_else(|| expected().into()),
        _ => Err(expected().into()),
    }
}

/// The beacon's group with IPv6; empty for none. Only groups that end at a router are
/// of use: link-local ones.
pub(super) fn multicast6(value: &Value) -> Result<Option<SocketAddrV6>, Expected> {
    let expected = || "write a multicast address of link-local scope and a port such as \"[ff12::7381:7383]:7383\", or \"\" for none";
    match value {
        Value::Text(text) if text.is_empty() => Ok(None),
        Value::Text(text) => text
            .parse::<SocketAddrV6>()
            .ok()
            .filter(|group| group.ip().segments()[0] & 0xff0f == 0xff02 && group.port() != 0)
            .map(Some)
            .ok_or_else(|| expected().into()),
        _ => Err(expected().into()),
    }
}

/// A list of texts; from environment and command line with commas between them.
pub(super) fn list(value: &Value) -> Result<Vec<String>, Expected> {
    match value {
        Value::List(texts) => Ok(texts.clone()),
        Value::Text(text) if text.is_empty() => Ok(Vec::new()),
        Value::Text(text) => Ok(text.split(',').map(|part| part.trim().to_owned()).collect()),
        _ => Err("write a list of texts such as [\"one\", \"two\"]".into()),
    }
}

pub(super) fn paths(value: &Value) -> Result<Vec<PathBuf>, Expected> {
    let read: Option<Vec<PathBuf>> = list(value)?
        .iter()
        .map(|text| text.starts_with('/').then(|| PathBuf::from(text)))
        .collect();
    read.ok_or_else(|| "write a list of paths that begin with /".into())
}

/// `host:port` or `host`, each.
pub(super) fn hosts(value: &Value) -> Result<Vec<String>, Expected> {
    let hosts = list(value)?;
    let fits = |text: &String| {
        text.parse::<SocketAddr>().is_ok()
            || text.parse::<IpAddr>().is_ok()
            || is_ipv6(text)
            || match text.split_once(':') {
                Some((host, port)) => is_name(host) && port.parse::<u16>().is_ok_and(|p| p != 0),
                None => is_name(text),
            }
    };
    match hosts.iter().find(|host| !fits(host)) {
        None => Ok(hosts),
        Some(wrong) => Err(format!(
            "{wrong:?} is no peer: write \"host:port\" or \"host\""
        )),
    }
}

/// `[address]`, `[address%interface]`, with or without a port.
fn is_ipv6(text: &str) -> bool {
    let Some((address, port)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) else {
        return false;
    };
    let ip = match address.split_once('%') {
        Some((ip, interface)) if is_name(interface) => ip,
        Some(_) => return false,
        None => address,
    };
    let port = port.strip_prefix(':').unwrap_or("7381");
    ip.parse::<Ipv6Addr>().is_ok() && port.parse::<u16>().is_ok_and(|port| port != 0)
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn each_kind_says_what_fits() {
        assert_eq!(count(&Value::Number(3), 1, 9), Ok(3));
        assert_eq!(count(&text("3"), 1, 9), Ok(3));
        assert!(
            count(&Value::Number(10), 1, 9)
                .unwrap_err()
                .contains("1 to 9")
        );
        assert_eq!(cache_size(&text("1%")), Ok(CacheSize::Percent(100)));
        assert!(cache_size(&text("81%")).is_err());
        assert_eq!(part(&text("0.5%")), Ok(0.005));
        assert_eq!(
            (part(&Value::Number(0)), part(&text("0"))),
            (Ok(0.0), Ok(0.0))
        );
        assert!(part(&text("101%")).is_err() && part(&Value::Number(1)).is_err());
        assert!(rate(&text("1 parsec")).unwrap_err().contains("Mbps"));
        assert!(multicast(&text("10.0.0.1:1")).is_err());
        assert!(multicast6(&text("[ff12::1]:9")).is_ok());
        assert!(multicast6(&text("[ff05::1]:9")).is_err());
        assert!(hosts(&text("[fe80::1%eth0]:7381,[::1],cellar:9")).is_ok());
        assert!(hosts(&text("[fe80::1%]:7381")).is_err());
        assert_eq!(multicast(&text("")), Ok(None));
        assert!(listen(&text("0.0.0.0:65534")).is_err());
        assert!(
            choice(&text("c"), &[("a", 1), ("b", 2)])
                .unwrap_err()
                .contains("\"a\" or \"b\"")
        );
    }

    #[test]
    fn peers_are_hosts_with_or_without_port() {
        let good = [
            "10.0.0.1:7381",
            "10.0.0.1",
            "node-1.lan",
            "node-1.lan:7",
            "[::1]:9",
        ];
        let good = Value::List(good.map(str::to_owned).into());
        assert_eq!(hosts(&good).map(|hosts| hosts.len()), Ok(5));
        for wrong in ["http://x", "a:b", "x:0", ""] {
            assert!(hosts(&Value::List(vec![wrong.into()])).is_err(), "{wrong}");
        }
    }
}
