//! Whom the secrets of a job are for.
//!
//! The record of a job and its secrets are two files. When both change in one call, such as
//! to another URL with another password, a crash in between leaves the one from before with
//! the other from after. So what is kept of secrets says for which origins they are, and
//! they are sent to no other.

use std::collections::BTreeSet;

use potluck_transfer::ProxyChoice;
use url::Url;

use super::{Job, JobSecrets};

impl JobSecrets {
    /// They are for the origins that the job has now. Where they are the same as `before`,
    /// they stay good for those of before: the job may yet turn out to be as it was.
    pub(super) fn bind_to(&mut self, job: &Job, before: &Self) {
        self.origins = before.origins.clone();
        let is_same = self == before;
        self.origins = None;
        if self.is_empty() {
            return;
        }
        let mut origins = origins_of(job);
        if is_same && let Some(known) = &before.origins {
            origins.extend(known.iter().cloned());
        }
        self.origins = Some(origins);
    }

    /// Drops what is not for the origins of this job. Says whether there was anything.
    pub(super) fn keep_bound(&mut self, job: &Job) -> bool {
        let Some(origins) = &self.origins else {
            return false;
        };
        if origins_of(job).is_subset(origins) {
            return false;
        }
        *self = Self::default();
        true
    }
}

/// The origins of all files to which secrets go, and the proxy.
fn origins_of(job: &Job) -> BTreeSet<String> {
    let files = job.files.iter().filter(|file| !file.is_foreign);
    let proxy = match &job.origin.proxy {
        ProxyChoice::Url(url) => Some(format!("proxy {}", origin_of(url))),
        ProxyChoice::Environment | ProxyChoice::None => None,
    };
    let files = files.map(|file| origin_of(&file.url));
    files.chain(proxy).collect()
}

/// Scheme, host and port.
fn origin_of(url: &str) -> String {
    let Ok(parsed) = Url::parse(url) else {
        return url.to_owned();
    };
    let port = parsed.port_or_known_default().unwrap_or_default();
    let host = parsed.host_str().unwrap_or_default();
    format!("{}://{host}:{port}", parsed.scheme())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::jobs::secrets::{split_password, with_password};
    use crate::jobs::{Credentials, JobFile};

    fn job(url: &str) -> Job {
        let id = "00000000000000aa".parse().unwrap();
        Job {
            files: vec![JobFile::new(url.to_owned(), "/a".into())],
            ..Job::new(id, 1, SystemTime::UNIX_EPOCH)
        }
    }

    fn token(text: &str) -> JobSecrets {
        JobSecrets {
            credentials: Some(Credentials::Bearer {
                token: text.to_owned().into(),
            }),
            ..JobSecrets::default()
        }
    }

    #[test]
    fn new_secrets_are_not_for_the_origin_of_before() {
        let (old, new) = (job("http://old/a"), job("http://new/a"));
        let mut before = token("1");
        before.bind_to(&old, &JobSecrets::default());
        let mut after = token("2");
        after.bind_to(&new, &before);
        // Kept, but the job is not yet: it is as before.
        let mut found = after.clone();
        assert!(found.keep_bound(&old) && found.is_empty());
        let mut found = after;
        assert!(!found.keep_bound(&new) && !found.is_empty());
    }

    #[test]
    fn the_same_secrets_are_good_for_both() {
        let (old, new) = (job("http://old/a"), job("http://new/a"));
        let mut secrets = token("1");
        secrets.bind_to(&old, &JobSecrets::default());
        let before = secrets.clone();
        secrets.bind_to(&new, &before);
        assert!(!secrets.keep_bound(&old) && !secrets.keep_bound(&new));
        let mut none = JobSecrets::default();
        none.bind_to(&new, &before);
        assert!(none.is_empty(), "and no file is kept of none");
    }

    #[test]
    fn proxies_are_told_apart() {
        let with = |proxy: &str| {
            let mut job = job("http://a/");
            job.origin.proxy = ProxyChoice::Url(proxy.to_owned());
            job
        };
        let (old, new) = (with("socks5://me@old:1"), with("socks5://me@new:1"));
        let mut secrets = token("1");
        secrets.bind_to(&new, &JobSecrets::default());
        assert!(!secrets.keep_bound(&new) && secrets.keep_bound(&old));
        let (text, password) = split_password("socks5://me:pw@p:1");
        assert_eq!(text, "socks5://me@p:1");
        assert_eq!(
            with_password(&text, password.as_ref()),
            "socks5://me:pw@p:1"
        );
    }

    #[test]
    fn what_an_earlier_version_kept_is_for_all() {
        let mut secrets = token("1");
        assert!(!secrets.keep_bound(&job("http://a/")));
        assert!(!secrets.is_empty());
    }
}
