//! Whether the cache is what it says, looked at from outside.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Error, Result, ensure};
use potluck_tests::{Node, bytes_of, until};

use crate::promises::{Promised, Promises};

/// Looks while the daemon goes on with its jobs: files that are on their way in or out
/// may be seen once, but not for long.
pub(crate) fn audit(node: &Node, limit: u64, promises: &Promises) -> Result<()> {
    let mut promised = promises.get();
    promised.check_jobs(node)?;
    promised.give_up_others(node)?;
    promised.check_files()?;
    let mut last: Option<Error> = None;
    let calm = until(Duration::from_secs(30), "the files to be in order", || {
        last = look(node, limit, &promised, false).err();
        Ok(last.is_none().then_some(()))
    });
    match last {
        Some(error) => Err(error),
        None => calm,
    }?;
    node.ok(&["cache", "verify"]).map(drop)
}

/// Looks while there is no daemon: everything has to be in order at once.
pub(crate) fn audit_at_rest(node: &Node, limit: u64, promises: &Promises) -> Result<()> {
    look(node, limit, &promises.get(), true)
}

fn look(node: &Node, limit: u64, promised: &Promised, at_rest: bool) -> Result<()> {
    let listed = node.json(&["cache", "list"])?;
    let contents = node.data_dir().join("contents");
    let (mut expected, mut held, mut pinned, mut total) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new(), 0);
    for content in listed.as_array().context("a list of contents")? {
        let id = content["content_id"].as_str().context("an id")?;
        let hex = id.strip_prefix("b3:").context("a content id")?.to_owned();
        let name = format!("{}/{}", &hex[..2], &hex[2..]);
        let bytes = fs::read(contents.join(&name)).with_context(|| format!("reading {name}"))?;
        ensure!(
            blake3::hash(&bytes).to_hex().as_str() == hex,
            "{hex} has the wrong bytes"
        );
        if content["pinned"] == true {
            pinned.insert(hex.clone());
        }
        total += bytes_of(content, "size")?;
        expected.insert(format!("{name}.meta"));
        expected.insert(name);
        held.insert(hex);
    }
    let found = names_below(&contents)?;
    let orphans: Vec<_> = found.difference(&expected).collect();
    ensure!(orphans.is_empty(), "files of no content: {orphans:?}");
    let lost: Vec<_> = expected.difference(&found).collect();
    ensure!(lost.is_empty(), "files that are missing: {lost:?}");
    let missing: Vec<_> = promised.pinned.difference(&pinned).collect();
    ensure!(missing.is_empty(), "pinned, and not there: {missing:?}");
    let risen: Vec<_> = promised.removed.intersection(&held).collect();
    ensure!(risen.is_empty(), "removed, and there again: {risen:?}");
    check_size(node, limit, total)?;
    check_others(&node.data_dir(), at_rest)
}

/// What is pinned, and what only waits for its jobs, is outside the limit.
fn check_size(node: &Node, limit: u64, total: u64) -> Result<()> {
    let cache = node.json(&["cache", "show"])?;
    let evictable = bytes_of(&cache, "bytes")?;
    ensure!(evictable <= limit, "more than {limit}: {cache}");
    let counted =
        evictable + bytes_of(&cache, "pinned_bytes")? + bytes_of(&cache, "uncached_bytes")?;
    ensure!(counted == total, "the contents have {total} bytes: {cache}");
    Ok(())
}

/// What is beside the contents.
fn check_others(data: &Path, at_rest: bool) -> Result<()> {
    let partials = names_below(&data.join("partial"))?;
    for name in partials.iter().filter(|_| at_rest) {
        let data = name.strip_suffix(".meta");
        let data = data.or_else(|| name.strip_suffix(".written"));
        // Unfinished bytes are worth something with either of the two files beside them.
        let is_paired = match data {
            Some(data) => partials.contains(data),
            None => [".meta", ".written"]
                .iter()
                .any(|end| partials.contains(&format!("{name}{end}"))),
        };
        ensure!(is_paired, "partial/{name} is alone");
    }
    for dir in ["scratch", "aside"] {
        let left = names_below(&data.join(dir))?;
        ensure!(left.is_empty(), "left in {dir}: {left:?}");
    }
    Ok(())
}

fn names_below(dir: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            let inner = names_below(&entry.path())?;
            names.extend(inner.into_iter().map(|inner| format!("{name}/{inner}")));
        } else {
            names.insert(name);
        }
    }
    Ok(names)
}
