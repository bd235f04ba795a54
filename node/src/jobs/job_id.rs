//! How jobs are named.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use potluck_plan::JobKey;
use serde::{Deserialize, Serialize};

/// The name of a job: 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(u64);

/// Text that names no job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no job id: it has 16 hexadecimal digits")]
pub struct JobIdError(String);

impl JobId {
    /// A new one that nobody can guess.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn random() -> Result<Self, getrandom::Error> {
        Ok(Self(getrandom::u64()?))
    }

    /// All ids that begin so; `None` where none does.
    #[must_use]
    pub fn beginning_with(text: &str) -> Option<RangeInclusive<Self>> {
        let fits = (1..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
        let end = |digit: char| {
            let id = format!("{text}{}", String::from(digit).repeat(16 - text.len()));
            u64::from_str_radix(&id, 16).ok().map(Self)
        };
        fits.then(|| Some(end('0')?..=end('f')?)).flatten()
    }

    /// How the queue and the governor know the job.
    #[must_use]
    pub const fn key(self) -> JobKey {
        JobKey(self.0)
    }

    /// The job that the queue knows by this key.
    #[must_use]
    pub const fn from_key(key: JobKey) -> Self {
        Self(key.0)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:016x}", self.0))
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for JobId {
    type Err = JobIdError;

    fn from_str(text: &str) -> Result<Self, JobIdError> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u64::from_str_radix(text, 16)
            .ok()
            .filter(|_| digits)
            .map(Self)
            .ok_or_else(|| JobIdError(text.to_owned()))
    }
}

impl TryFrom<String> for JobId {
    type Error = JobIdError;

    fn try_from(text: String) -> Result<Self, JobIdError> {
        text.parse()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_sixteen_digits() {
        let id: JobId = "00000000000000ff".parse().unwrap();
        assert_eq!(id.key(), JobKey(255));
        assert_eq!(id.to_string(), "00000000000000ff");
        assert_eq!(JobId::from_key(id.key()), id);
        for wrong in ["", "ff", "+0000000000000ff", "00000000000000fg"] {
            assert!(wrong.parse::<JobId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_beginning_of_an_id_names_a_range() {
        let range = |text| JobId::beginning_with(text).map(|ids| (ids.start().0, ids.end().0));
        let all = "00000000000000fF";
        assert_eq!(range(all), Some((255, 255)));
        assert_eq!(range("a"), Some((0xa << 60, (0xb << 60) - 1)));
        assert_eq!(range("ffff").map(|(_, end)| end), Some(u64::MAX));
        for wrong in ["", "g", "+1", "00000000000000fff", "ü"] {
            assert_eq!(range(wrong), None, "{wrong}");
        }
    }
}
