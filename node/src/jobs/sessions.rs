//! Who is logged in, as logind says it.

use std::fs;
use std::io;
use std::path::Path;

/// Where logind keeps a file for each user with a session, by their number.
const USERS: &str = "/run/systemd/users";

/// Whether a user has a session; `None` where the system does not say.
pub(super) fn is_logged_in(uid: u32) -> Option<bool> {
    is_logged_in_by(Path::new(USERS), uid)
}

fn is_logged_in_by(users: &Path, uid: u32) -> Option<bool> {
    match fs::read_to_string(users.join(uid.to_string())) {
        Ok(text) => Some(has_session(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && users.is_dir() => Some(false),
        Err(_) => None,
    }
}

/// `active` and `online` users have a session; those that linger have only services, and
/// those that close have left.
fn has_session(text: &str) -> bool {
    let state = text.lines().find_map(|line| line.strip_prefix("STATE="));
    matches!(state, Some("active" | "online"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As logind 252 writes it for a user with one session, from another machine.
    const WRITTEN: &str = "\
# This is private data. Do not parse.
NAME=ann
STATE=online
STOPPING=no
RUNTIME=/run/user/1000
DISPLAY=1
REALTIME=1795287049933365
MONOTONIC=51445373045
SESSIONS=1
SEATS=
ACTIVE_SESSIONS=1
ONLINE_SESSIONS=1
ACTIVE_SEATS=
ONLINE_SEATS=
";

    #[test]
    fn what_logind_writes_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let says = |text: &str| {
            fs::write(dir.path().join("1000"), text).unwrap();
            is_logged_in_by(dir.path(), 1_000)
        };
        assert_eq!(says(WRITTEN), Some(true));
        for (state, is_in) in [("active", true), ("lingering", false), ("offline", false)] {
            let text = WRITTEN.replace("STATE=online", &format!("STATE={state}"));
            assert_eq!(says(&text), Some(is_in), "{state}");
        }
        // A name is no state, whatever it is.
        let odd = WRITTEN.replace("NAME=ann", "NAME=STATE=active");
        assert_eq!(
            says(&odd.replace("STATE=online", "STATE=closing")),
            Some(false)
        );
    }

    #[test]
    fn only_sessions_count() {
        let dir = tempfile::tempdir().unwrap();
        let says = |state: &str| {
            let text = format!("# This is private data. Do not parse.\nNAME=ann\nSTATE={state}\n");
            fs::write(dir.path().join("1000"), text).unwrap();
            is_logged_in_by(dir.path(), 1_000)
        };
        assert_eq!(says("active"), Some(true));
        assert_eq!(says("online"), Some(true));
        assert_eq!(says("lingering"), Some(false));
        assert_eq!(says("closing"), Some(false));
        assert_eq!(is_logged_in_by(dir.path(), 1_001), Some(false));
        assert_eq!(is_logged_in_by(&dir.path().join("none"), 1_000), None);
    }
}
