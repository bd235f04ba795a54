//! Programs that are told how a job came out.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use potluck_transfer::group_of_user;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

/// How long a program may take.
const LIMIT: Duration = Duration::from_secs(60);
/// After the first failure, and at most.
const FIRST_DELAY: Duration = Duration::from_secs(10);
const LONGEST_DELAY: Duration = Duration::from_secs(3_600);

/// A program that is to be told how a job came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// Its full path.
    pub program: PathBuf,
    /// The words it is called with. No shell reads them.
    #[serde(default)]
    pub arguments: Vec<String>,
}

/// What a hook is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookCause {
    /// All files are here.
    Complete,
    /// The job is in error.
    Error,
}

/// A call that has not succeeded yet. It survives a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookDue {
    /// What it is told of.
    pub cause: HookCause,
    /// How often it failed.
    pub failures: u32,
    /// When it is called.
    pub at: SystemTime,
}

impl HookDue {
    /// The first call.
    #[must_use]
    pub const fn new(cause: HookCause, now: SystemTime) -> Self {
        Self {
            cause,
            failures: 0,
            at: now,
        }
    }

    /// It failed: the next call, each time after twice as long.
    pub(super) fn put_off(mut self, now: SystemTime) -> Self {
        let delay = FIRST_DELAY
            .saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX))
            .min(LONGEST_DELAY);
        self.failures = self.failures.saturating_add(1);
        self.at = now.checked_add(delay).unwrap_or(now);
        self
    }
}

/// Which hooks may be called, and as whom.
#[derive(Debug, Clone, Default)]
pub struct HookRules {
    /// The administrator's list.
    pub allowed: Vec<PathBuf>,
    /// The user of this process.
    pub own_uid: u32,
}

impl HookRules {
    /// Whether the owner of a job may have a program called. Looks at the file.
    ///
    /// # Errors
    /// One sentence that says why not.
    pub fn check(&self, program: &Path, owner: u32) -> Result<(), String> {
        let name = program.display();
        if self.own_uid != 0 && self.own_uid != owner {
            return Err(format!(
                "{name} is not called: the daemon is not root and cannot do so as its owner"
            ));
        }
        if !self.allowed.iter().any(|allowed| allowed == program) {
            return Err(format!(
                "{name} is not called: the administrator has not put it into hooks.allowed"
            ));
        }
        let meta = fs::symlink_metadata(program).map_err(|error| format!("{name}: {error}"))?;
        if !meta.is_file() || meta.mode() & 0o111 == 0 {
            return Err(format!("{name} is not called: it is no program"));
        }
        let is_ours = meta.uid() == 0 || meta.uid() == self.own_uid;
        if !is_ours || meta.mode() & 0o022 != 0 {
            return Err(format!(
                "{name} is not called: others than the administrator can write it"
            ));
        }
        Ok(())
    }
}

/// One call.
#[derive(Debug)]
pub(super) struct HookCall {
    pub(super) rules: HookRules,
    pub(super) hook: Hook,
    pub(super) owner: u32,
    pub(super) environment: [(&'static str, String); 3],
}

impl HookCall {
    /// Calls the program and waits for its end, as its owner where this process is root.
    /// Dropping it kills the program and what it has begun. The error is one sentence.
    pub(super) async fn run(self) -> Result<(), String> {
        let Self {
            rules, hook, owner, ..
        } = &self;
        rules.check(&hook.program, *owner)?;
        let mut command = tokio::process::Command::new(&hook.program);
        command
            .args(&hook.arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        if rules.own_uid == 0 && *owner != 0 {
            // Without groups of its own, a child of another user gets none of ours.
            command.gid(group_of_user(*owner)).uid(*owner);
        }
        let name = hook.program.display();
        let not_called = |error| format!("{name} cannot be called: {error}");
        let mut child = command.spawn().map_err(not_called)?;
        let mut group = Group::of(&child);
        let ended = tokio::time::timeout(LIMIT, child.wait()).await;
        if ended.is_ok() {
            // What it leaves running on purpose is its own business, and its number may be
            // somebody else's from now on.
            group.0 = None;
        }
        match ended {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(format!("{name} ended with {status}")),
            Ok(Err(error)) => Err(not_called(error)),
            Err(_) => Err(format!("{name} took longer than {} s", LIMIT.as_secs())),
        }
    }
}

/// A program that runs, with everything that it has begun. Dropping it kills all of them.
struct Group(Option<Pid>);

impl Group {
    /// The program leads a group of its own.
    fn of(child: &tokio::process::Child) -> Self {
        let number = child.id().and_then(|id| i32::try_from(id).ok());
        Self(number.and_then(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // It may have ended by itself just now.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn program(dir: &Path, mode: u32) -> PathBuf {
        let path = dir.join(format!("program-{mode:o}"));
        fs::write(&path, "#!/bin/sh\n[ \"$POTLUCK_STATE\" = good ]\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn only_what_the_administrator_allows_is_called() {
        let dir = tempfile::tempdir().unwrap();
        let own_uid = rustix::process::geteuid().as_raw();
        let good = program(dir.path(), 0o755);
        let (open, plain) = (program(dir.path(), 0o775), program(dir.path(), 0o644));
        let rules = HookRules {
            allowed: vec![good.clone(), open.clone(), plain.clone()],
            own_uid,
        };
        assert_eq!(rules.check(&good, own_uid), Ok(()));
        let refused = |path: &Path| rules.check(path, own_uid).unwrap_err();
        assert!(refused(&open).contains("can write it"));
        assert!(refused(&plain).contains("no program"));
        assert!(refused(Path::new("/bin/true")).contains("hooks.allowed"));
        let other = HookRules {
            own_uid: 7,
            ..rules.clone()
        };
        assert!(other.check(&good, 8).unwrap_err().contains("not root"));
    }

    #[test]
    fn a_failure_is_tried_later_and_later() {
        let mut due = HookDue::new(HookCause::Error, SystemTime::UNIX_EPOCH);
        let mut delays = Vec::new();
        for _ in 0..40 {
            due = due.put_off(SystemTime::UNIX_EPOCH);
            delays.push(
                due.at
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .unwrap()
                    .as_secs(),
            );
        }
        assert_eq!(delays[..4], [10, 20, 40, 80]);
        assert_eq!(delays[39], 3_600);
    }

    #[tokio::test]
    async fn nothing_is_left_of_a_call_that_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        let path = dir.path().join("program");
        // A child of its own that holds the pipe open for as long as it lives.
        let text = "#!/bin/sh\n(echo begun; exec sleep 600) >\"$1\" &\nwait\n";
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let own_uid = rustix::process::geteuid().as_raw();
        let call = HookCall {
            rules: HookRules {
                allowed: vec![path.clone()],
                own_uid,
            },
            hook: Hook {
                program: path,
                arguments: vec![pipe.display().to_string()],
            },
            owner: own_uid,
            environment: ["A", "B", "C"].map(|key| (key, String::new())),
        };
        let running = tokio::spawn(call.run());
        let mut reader = tokio::net::unix::pipe::OpenOptions::new()
            .open_receiver(&pipe)
            .unwrap();
        let mut begun = [0; 6];
        // Until somebody writes there is nothing but an end.
        while tokio::io::AsyncReadExt::read(&mut reader, &mut begun)
            .await
            .unwrap()
            == 0
        {
            tokio::task::yield_now().await;
        }
        running.abort();
        let end = tokio::io::AsyncReadExt::read(&mut reader, &mut begun);
        let end = tokio::time::timeout(Duration::from_secs(30), end).await;
        assert_eq!(end.expect("its child lives on").unwrap(), 0);
    }

    #[tokio::test]
    async fn a_call_has_its_own_environment_and_says_how_it_ended() {
        let dir = tempfile::tempdir().unwrap();
        let own_uid = rustix::process::geteuid().as_raw();
        let path = program(dir.path(), 0o755);
        let call = |state: &str| HookCall {
            rules: HookRules {
                allowed: vec![path.clone()],
                own_uid,
            },
            hook: Hook {
                program: path.clone(),
                arguments: Vec::new(),
            },
            owner: own_uid,
            environment: [
                ("POTLUCK_JOB", String::new()),
                ("POTLUCK_STATE", state.to_owned()),
                ("POTLUCK_NAME", String::new()),
            ],
        };
        assert_eq!(call("good").run().await, Ok(()));
        assert!(
            call("bad")
                .run()
                .await
                .unwrap_err()
                .contains("exit status: 1")
        );
    }
}
