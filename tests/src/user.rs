//! Other users of the machine, as whom a test that is root calls `potluck`.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::Lab;

/// A user who needs no entry anywhere: a number.
#[derive(Debug, Clone)]
pub struct User {
    uid: u32,
    home: PathBuf,
}

impl User {
    /// A user with a directory of their own in the lab, closed to others. Only root can
    /// make one.
    pub fn new(lab: &Lab, uid: u32) -> Result<Self> {
        let pass = Permissions::from_mode(0o711);
        fs::set_permissions(lab.dir(), pass).context("to open the lab")?;
        let home = lab.subdir(&format!("user-{uid}"))?;
        let user = Self { uid, home };
        user.own(&user.home)?;
        fs::set_permissions(&user.home, Permissions::from_mode(0o700))?;
        Ok(user)
    }

    /// Their number.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// A path in their own directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// Gives them a file or a directory.
    pub fn own(&self, path: &Path) -> Result<()> {
        chown(path, Some(self.uid), Some(self.uid)).context("only root can give files away")
    }

    /// What runs a program as them.
    pub fn words(&self) -> [String; 5] {
        [
            "setpriv".to_owned(),
            format!("--reuid={}", self.uid),
            format!("--regid={}", self.uid),
            "--clear-groups".to_owned(),
            "--".to_owned(),
        ]
    }
}
