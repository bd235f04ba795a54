//! One daemon, an origin with one file, and two users who call the daemon.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{Blob, Lab, Nginx, Node, User};

const SIZE: usize = 3 << 20;

/// Two users of one machine.
#[derive(Debug)]
pub struct TwoUsers {
    /// Serves `file`.
    pub nginx: Nginx,
    /// The daemon that both call; it runs.
    pub node: Node,
    /// What is in `file`.
    pub blob: Blob,
    /// One of them.
    pub ann: User,
    /// The other.
    pub bob: User,
}

impl TwoUsers {
    /// With these numbers, and a daemon of root, or of `daemon`.
    pub fn new(
        lab: &Lab,
        [ann, bob]: [u32; 2],
        daemon: Option<&User>,
        settings: &[&str],
    ) -> Result<Self> {
        let nginx = Nginx::start(lab, &lab.host("origin")?)?;
        let blob = Blob::new(1, SIZE);
        blob.write(nginx.root(), "file")?;
        let mut node = Node::new(lab, &lab.host("a")?, settings)?;
        let (ann, bob) = (User::new(lab, ann)?, User::new(lab, bob)?);
        fs::set_permissions(node.dir(), Permissions::from_mode(0o711))?;
        if let Some(daemon) = daemon {
            daemon.own(node.dir())?;
            let words = daemon.words();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            node.run_under(&words);
        }
        node.start()?;
        Ok(Self {
            nginx,
            node,
            blob,
            ann,
            bob,
        })
    }

    /// What a user gets into their own directory is right, and theirs.
    pub fn gets(&self, user: &User, name: &str) -> Result<()> {
        let path = user.path(name);
        let url = self.nginx.url("file");
        self.ok(user, &["get", &url, "-o", text(&path)?])?;
        self.is_of(user, &path)
    }

    /// The file is right, and belongs to the user.
    pub fn is_of(&self, user: &User, path: &Path) -> Result<()> {
        self.blob.check(path)?;
        let uid = fs::metadata(path)?.uid();
        ensure!(uid == user.uid(), "{} is of {uid}", path.display());
        Ok(())
    }

    /// A call that goes well; says what it printed.
    pub fn ok(&self, user: &User, args: &[&str]) -> Result<Value> {
        let mut all = vec!["--json"];
        all.extend(args);
        let outcome = self.node.run_as(user, &all)?;
        ensure!(outcome.status.success(), "{args:?}: {outcome:?}");
        serde_json::from_str(&outcome.stdout).context(outcome.stdout)
    }

    /// A call that fails, and says these words.
    pub fn refused(&self, user: &User, args: &[&str], words: &str) -> Result<()> {
        let outcome = self.node.run_as(user, args)?;
        let said = &outcome.stdout;
        ensure!(outcome.code()? != 0, "{args:?} went well: {said}");
        let said = &outcome.stderr;
        ensure!(said.contains(words), "{args:?}: {said}");
        Ok(())
    }

    /// A detached job for the file, of which nobody took what it brought.
    pub fn begun(&self, user: &User, name: &str) -> Result<String> {
        let (url, path) = (self.nginx.url("file"), user.path(name));
        let job = self.ok(user, &["get", &url, "-o", text(&path)?, "--detach"])?;
        Ok(job["id"].as_str().context("an id")?.to_owned())
    }

    /// How many jobs a user sees.
    pub fn jobs_of(&self, user: &User) -> Result<usize> {
        let jobs = self.ok(user, &["job", "list"])?;
        Ok(jobs.as_array().context("an array")?.len())
    }
}

/// A path for the command line.
pub fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path in UTF-8")
}
