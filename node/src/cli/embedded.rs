//! The node inside a command, where no daemon answers.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::client::Client;
use crate::config::Settings;
use crate::node::{Node, NodeError};

/// How long to look for the first peer: a PROBE goes out at once and answers come
/// within 100 ms, then a connection or two must come about.
const PEER_LIMIT: Duration = Duration::from_millis(700);

/// A node for the length of a command, controlled like any other.
pub(super) struct Embedded {
    node: Node,
    /// Its socket and its job; and its data, where the usual directory was taken.
    _scratch: TempDir,
    _private: Option<TempDir>,
}

impl Embedded {
    pub(super) async fn start(mut settings: Settings, output: &Output) -> Result<Self, Failure> {
        let scratch = tempfile::Builder::new()
            .prefix("potluck-")
            .tempdir()
            .map_err(|error| Failure::failed(format!("no temporary directory: {error}")))?;
        settings.control.socket = scratch.path().join("control.sock");
        settings.control.http = None;
        let jobs = scratch.path().join("jobs");
        let starting = Node::start_embedded(settings.clone(), jobs.clone());
        let (node, private) = match Box::pin(starting).await {
            Ok(node) => (node, None),
            Err(NodeError::InUse(_)) => {
                let (node, private) = start_apart(settings, jobs).await?;
                (node, Some(private))
            }
            Err(error) => return Err(Failure::failed(error.to_string())),
        };
        let state = node.state();
        if state.settings.peering.enabled {
            node.await_peers(PEER_LIMIT).await;
            if state.peering.membership().is_none() && !output.json {
                output.hint("hint: machines of one domain share what they download: potluck domain create NAME, or potluck domain join CODE");
            }
        }
        Ok(Self {
            node,
            _scratch: scratch,
            _private: private,
        })
    }

    pub(super) async fn client(&self) -> Result<Client, Failure> {
        Ok(Client::connect(self.node.socket()).await?)
    }

    pub(super) async fn stop(self) {
        self.node.stop().await;
    }
}

/// Another node works on the data directory: this one has its own inside, without the
/// cache and without peers, because one member cannot be two nodes at a time.
async fn start_apart(mut settings: Settings, jobs: PathBuf) -> Result<(Node, TempDir), Failure> {
    let apart = settings.data_dir.join("apart");
    let make = || {
        fs::create_dir_all(&apart)?;
        remove_leftovers(&apart)?;
        tempfile::Builder::new().prefix("get-").tempdir_in(&apart)
    };
    let private =
        make().map_err(|error| Failure::failed(format!("{}: {error}", apart.display())))?;
    settings.data_dir = private.path().to_owned();
    settings.peering.enabled = false;
    let node = Box::pin(Node::start_embedded(settings, jobs))
        .await
        .map_err(|error| Failure::failed(error.to_string()))?;
    Ok((node, private))
}

/// Removes what commands that were killed have left: nobody holds its lock any more. What
/// has no lock yet was just made.
fn remove_leftovers(apart: &Path) -> io::Result<()> {
    for entry in fs::read_dir(apart)? {
        let dir = entry?.path();
        let lock = File::open(dir.join("lock"));
        if let Ok(lock) = lock
            && lock.try_lock().is_ok()
            && let Err(error) = fs::remove_dir_all(&dir)
        {
            tracing::debug!(path = %dir.display(), %error, "a leftover stays");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_uses_is_a_leftover() {
        let temp = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let dir = temp.path().join(name);
            fs::create_dir(&dir).unwrap();
            dir
        };
        let (left, used, fresh) = (make("left"), make("used"), make("fresh"));
        File::create(left.join("lock")).unwrap();
        let lock = File::create(used.join("lock")).unwrap();
        lock.lock().unwrap();
        remove_leftovers(temp.path()).unwrap();
        assert!(!left.exists() && used.exists() && fresh.exists());
    }
}
