//! How a command fails: one line for people, one status for scripts.

use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::client::ClientError;
use crate::config::ConfigError;

/// The exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// Something failed.
    Failed = 1,
    /// Wrong usage or wrong settings.
    Usage = 2,
    /// The job ended in error.
    JobError = 3,
    /// No daemon answers.
    NoDaemon = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(super) struct Failure {
    exit: Exit,
    message: String,
    broken_pipe: bool,
}

impl Failure {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            broken_pipe: false,
        }
    }

    /// Something failed.
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// The command was given wrongly.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(super) const fn exit(&self) -> Exit {
        self.exit
    }

    pub(super) const fn is_broken_pipe(&self) -> bool {
        self.broken_pipe
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Usage, error.to_string())
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match error.is_no_daemon() {
            true => Exit::NoDaemon,
            false => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}

/// From writing to standard output, which is all that commands do without saying what
/// they were about.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self {
            exit: Exit::Failed,
            message: format!("cannot write the output: {error}"),
            broken_pipe: error.kind() == io::ErrorKind::BrokenPipe,
        }
    }
}
