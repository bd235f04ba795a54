//! What a self-test says.

use serde::{Deserialize, Serialize};

/// How well something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// As it should be.
    Ok,
    /// Not wrong in itself; may be why others are not found.
    Warning,
    /// Wrong.
    Failed,
    /// Not looked at, and why.
    Skipped,
}

/// One line of the self-test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at: `clock`, `certificate`, `domain files`, `ports`, `multicast`, `reachability`,
    /// `beacons`, `peers` or `refused`.
    pub check: String,
    /// How well it is.
    pub health: Health,
    /// What is so.
    pub finding: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// The whole self-test, in the order in which it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorDocument {
    /// Whether nothing failed.
    pub healthy: bool,
    /// Line by line.
    pub findings: Vec<Finding>,
}

impl DoctorDocument {
    pub(super) fn of(findings: Vec<Finding>) -> Self {
        Self {
            healthy: findings
                .iter()
                .all(|finding| finding.health != Health::Failed),
            findings,
        }
    }
}

impl Finding {
    pub(super) fn ok(check: &str, finding: impl Into<String>) -> Self {
        Self::new(check, Health::Ok, finding, None)
    }

    pub(super) fn skipped(check: &str, finding: impl Into<String>) -> Self {
        Self::new(check, Health::Skipped, finding, None)
    }

    pub(super) fn warning(check: &str, finding: impl Into<String>, advice: &str) -> Self {
        Self::new(check, Health::Warning, finding, Some(advice))
    }

    pub(super) fn failed(check: &str, finding: impl Into<String>, advice: &str) -> Self {
        Self::new(check, Health::Failed, finding, Some(advice))
    }

    fn new(check: &str, health: Health, finding: impl Into<String>, advice: Option<&str>) -> Self {
        Self {
            check: check.to_owned(),
            health,
            finding: finding.into(),
            advice: advice.map(str::to_owned),
        }
    }
}

impl Health {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "FAILED",
            Self::Skipped => "skipped",
        }
    }
}
