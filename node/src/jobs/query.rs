//! Which jobs are listed.

use std::sync::Arc;

use potluck_plan::{JobState, Priority};
use serde::{Deserialize, Serialize};

use super::{Job, JobDocument, name_pattern};

/// Which jobs are listed: those that all of it fits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobQuery {
    /// Those that are over as well.
    pub all: bool,
    /// Only in these states, with commas between them; says `all` by itself.
    #[serde(with = "states", skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<JobState>,
    /// Only of this user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<u32>,
    /// Only with such a name; `*` is any text, `?` any character.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Only of this level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// So many at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Only those that come after this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Without their files.
    pub brief: bool,
}

/// Jobs that a query found: as many as are shown at once.
#[derive(Debug, Clone, Default)]
pub struct JobPage {
    /// The oldest first.
    pub jobs: Vec<Arc<JobDocument>>,
    /// Whether there are more: those after the last of these.
    pub has_more: bool,
}

impl JobPage {
    /// After which job the rest comes, where there is more.
    #[must_use]
    pub fn next(&self) -> Option<&str> {
        let last = self.jobs.last().filter(|_| self.has_more);
        last.map(|job| job.id.as_str())
    }
}

impl JobQuery {
    /// Everything that the caller may see.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            all: true,
            ..Self::default()
        }
    }

    /// Whether a job is one of them.
    #[must_use]
    pub fn fits(&self, job: &Job) -> bool {
        let state = job.state();
        let by_state = match self.state.is_empty() {
            true => self.all || !state.is_final(),
            false => self.state.contains(&state),
        };
        let by_name = || {
            let pattern = self.name.as_deref();
            pattern.is_none_or(|pattern| name_pattern::fits(pattern, &job.name))
        };
        by_state
            && self.owner.is_none_or(|owner| owner == job.owner)
            && self.priority.is_none_or(|level| level == job.priority)
            && by_name()
    }
}

/// States as one text with commas.
mod states {
    use potluck_plan::JobState;
    use serde::de::{Error as _, IntoDeserializer as _};
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(states: &[JobState], to: S) -> Result<S::Ok, S::Error> {
        let names: Vec<String> = states.iter().map(ToString::to_string).collect();
        to.serialize_str(&names.join(","))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<JobState>, D::Error> {
        let text = String::deserialize(from)?;
        let state = |name: &str| {
            let name: serde::de::value::StrDeserializer<'_, D::Error> = name.into_deserializer();
            JobState::deserialize(name).map_err(D::Error::custom)
        };
        let names = text.split(',').filter(|name| !name.is_empty());
        names.map(state).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn all_of_it_must_fit() {
        let id = "00000000000000ff".parse().unwrap();
        let mut job = Job::new(id, 7, SystemTime::UNIX_EPOCH);
        job.name = "nightly 5".to_owned();
        let read = |text: &str| serde_json::from_str::<JobQuery>(text).unwrap();
        for fits in [
            "{}",
            r#"{"state":"queued,suspended"}"#,
            r#"{"name":"nightly*","owner":7,"priority":"normal"}"#,
        ] {
            assert!(read(fits).fits(&job), "{fits}");
        }
        for other in [
            r#"{"state":"queued"}"#,
            r#"{"owner":8}"#,
            r#"{"name":"weekly*"}"#,
            r#"{"priority":"low"}"#,
        ] {
            assert!(!read(other).fits(&job), "{other}");
        }
        job.machine.cancel(SystemTime::UNIX_EPOCH).unwrap();
        assert!(!JobQuery::default().fits(&job));
        assert!(JobQuery::everything().fits(&job));
        assert!(read(r#"{"state":"cancelled"}"#).fits(&job));
        assert!(serde_json::from_str::<JobQuery>(r#"{"state":"gone"}"#).is_err());
    }
}
