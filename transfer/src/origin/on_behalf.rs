//! Files that are opened on behalf of a user, with no more than that user's rights.
//!
//! A node of root takes these rights on for a moment, in a thread of its own that ends then;
//! signals go by the other user ids of that thread, which stay root's (kill(2)). Another
//! node cannot, and opens for others only what everybody may read, on a way that everybody
//! may go.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// The group of a user whom `/etc/passwd` does not name: nobody's.
const NO_GROUP: u32 = 65_534;
/// Whether everybody may read a file, and pass a directory.
const READ_BY_ALL: u32 = 0o004;
const PASSED_BY_ALL: u32 = 0o001;

/// The group of a user, as `/etc/passwd` names it.
#[must_use]
pub fn group_of_user(uid: u32) -> u32 {
    // Without the file nobody has a group.
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    group_in(&passwd, uid)
}

fn group_in(passwd: &str, uid: u32) -> u32 {
    let of_line = |line: &str| {
        let mut fields = line.split(':').skip(2);
        let found: u32 = fields.next()?.parse().ok()?;
        (found == uid)
            .then(|| fields.next()?.parse().ok())
            .flatten()
    };
    passwd.lines().find_map(of_line).unwrap_or(NO_GROUP)
}

/// Opens files to be read: all of them, or the first that cannot be says why. `None`, root
/// and the user of the node are as the node itself. Blocks.
pub(super) fn open_all(paths: &[&Path], owner: Option<u32>) -> Vec<io::Result<File>> {
    let own = geteuid();
    match owner {
        Some(owner) if owner != 0 && owner != own.as_raw() => match own.is_root() {
            true => as_user(paths, owner),
            false => paths.iter().map(|path| open_for_all(path)).collect(),
        },
        _ => paths.iter().map(|path| open(path)).collect(),
    }
}

fn as_user(paths: &[&Path], owner: u32) -> Vec<io::Result<File>> {
    let group = group_of_user(owner);
    std::thread::scope(|scope| {
        let opening = scope.spawn(|| {
            if let Err(error) = become_user(owner, group) {
                let again = |_| Err(error.into());
                return paths.iter().map(again).collect();
            }
            paths.iter().map(|path| open(path)).collect()
        });
        opening.join().unwrap_or_default()
    })
}

/// This thread has the rights of a user, and no way back.
fn become_user(uid: u32, gid: u32) -> rustix::io::Result<()> {
    let gid = Gid::from_raw(gid);
    set_thread_groups(&[])?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(Uid::ROOT, Uid::from_raw(uid), Uid::ROOT)
}

fn open(path: &Path) -> io::Result<File> {
    // Opening a pipe must not wait for somebody who writes into it.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = File::options();
    options.read(true).custom_flags(flags.bits().cast_signed());
    options.open(path)
}

/// Looks at what was opened, not at what was named: names change.
fn open_for_all(path: &Path) -> io::Result<File> {
    let file = open(path)?;
    let place = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let may = |about: io::Result<Metadata>, right| about.is_ok_and(|it| it.mode() & right != 0);
    let mut parents = place.ancestors().skip(1);
    if may(file.metadata(), READ_BY_ALL)
        && parents.all(|parent| may(parent.metadata(), PASSED_BY_ALL))
    {
        return Ok(file);
    }
    Err(io::ErrorKind::PermissionDenied.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_looked_up() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1001::/home/ann:/bin/sh\n";
        assert_eq!(group_in(passwd, 1_000), 1_001);
        assert_eq!(group_in(passwd, 1_001), NO_GROUP);
    }
}
