//! What a job sends to origins and shows to nobody: passwords, tokens, secret header
//! fields.

use std::collections::{BTreeMap, BTreeSet};

use potluck_transfer::{OriginOptions, ProxyChoice};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Credentials, Job, Secret};

/// Header fields that are secret whether or not somebody says so.
const SECRET_FIELDS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

type Fields = Vec<(String, String)>;
type SecretFields = Vec<(String, Secret)>;

/// The secrets of one job. Kept apart from its record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobSecrets {
    /// For the origins of all files.
    pub credentials: Option<Credentials>,
    /// Header fields for the origins of all files.
    pub headers: Vec<(String, Secret)>,
    /// The password in the proxy's URL.
    pub proxy_password: Option<Secret>,
    /// The origins that they are for; `None` where an earlier version kept them.
    pub origins: Option<BTreeSet<String>>,
    /// Those of single files, by their place in the job.
    pub files: BTreeMap<usize, FileSecrets>,
}

/// The secrets of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileSecrets {
    /// Header fields for its origin.
    pub headers: Vec<(String, Secret)>,
    /// The password in its URL.
    pub password: Option<Secret>,
}

impl JobSecrets {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// All header fields for the origin of a file. What is said of the file goes before
    /// what is said of the job, and a header field before credentials.
    pub(super) fn headers_of(
        &self,
        index: usize,
        job: &[(String, String)],
        file: &[(String, String)],
    ) -> Vec<(String, String)> {
        let plain = |fields: &[(String, String)]| fields.to_vec();
        let secret = |fields: &[(String, Secret)]| -> Vec<(String, String)> {
            let field =
                |(name, value): &(String, Secret)| (name.clone(), value.expose().to_owned());
            fields.iter().map(field).collect()
        };
        let mut all = plain(file);
        if let Some(own) = self.files.get(&index) {
            all.extend(secret(&own.headers));
            if own.password.is_some() {
                // The URL says who asks.
                return with_job(all, plain(job), secret(&self.headers), None);
            }
        }
        let credentials = self.credentials.as_ref().map(Credentials::header);
        with_job(all, plain(job), secret(&self.headers), credentials)
    }

    /// The URL of a file with its password.
    pub(super) fn url_of(&self, index: usize, url: &str) -> String {
        let password = self.files.get(&index).and_then(|own| own.password.as_ref());
        with_password(url, password)
    }

    /// How its origins are asked, with the password of the proxy.
    pub(super) fn options_of(&self, origin: &OriginOptions) -> OriginOptions {
        let mut options = origin.clone();
        if let ProxyChoice::Url(url) = &mut options.proxy {
            *url = with_password(url, self.proxy_password.as_ref());
        }
        options
    }

    /// Whether there may be secrets in the record of a job.
    pub(super) fn may_be_in(job: &Job) -> bool {
        let is_secret = |(name, _): &(String, String)| is_secret(name);
        job.headers.iter().any(is_secret)
            || job
                .files
                .iter()
                .any(|file| file.url.contains('@') || file.headers.iter().any(is_secret))
    }

    /// Takes over what is secret in a job, and leaves in it the names only.
    pub(super) fn take_from(&mut self, job: &mut Job) {
        let fields = std::mem::take(&mut job.headers);
        let secret;
        (job.headers, secret) = split_headers(fields);
        self.headers.extend(secret);
        for (index, file) in job.files.iter_mut().enumerate() {
            let fields = std::mem::take(&mut file.headers);
            let secret;
            (file.headers, secret) = split_headers(fields);
            if !secret.is_empty() {
                self.files.entry(index).or_default().headers.extend(secret);
            }
            if let (url, Some(password)) = split_password(&file.url) {
                file.url = url;
                self.set_password(index, Some(password));
            }
            let own = self.files.get(&index);
            file.secret_headers = own.map(|own| names(&own.headers)).unwrap_or_default();
        }
        job.secret_headers = names(&self.headers);
        job.credentials = self.credentials.as_ref().map(Credentials::kind);
    }

    /// Keeps the password that was in the URL of a file, and forgets one from before.
    pub(super) fn set_password(&mut self, index: usize, password: Option<Secret>) {
        let own = self.files.entry(index).or_default();
        own.password = password;
        if *own == FileSecrets::default() {
            self.files.remove(&index);
        }
    }
}

/// Fields of a file, then those of its job that the file does not have itself.
fn with_job(
    file: Vec<(String, String)>,
    plain: Vec<(String, String)>,
    secret: Vec<(String, String)>,
    credentials: Option<Secret>,
) -> Vec<(String, String)> {
    let mut all = file;
    let has = |fields: &[(String, String)], name: &str| {
        fields
            .iter()
            .any(|(other, _)| other.eq_ignore_ascii_case(name))
    };
    let own = all.len();
    for (name, value) in plain.into_iter().chain(secret) {
        if !has(all.get(..own).unwrap_or_default(), &name) {
            all.push((name, value));
        }
    }
    if let Some(value) = credentials
        && !has(&all, "authorization")
    {
        all.push(("Authorization".to_owned(), value.expose().to_owned()));
    }
    all
}

fn names(fields: &[(String, Secret)]) -> Vec<String> {
    fields.iter().map(|(name, _)| name.clone()).collect()
}

/// Takes the password out of a URL.
pub(super) fn split_password(text: &str) -> (String, Option<Secret>) {
    if !text.contains('@') {
        return (text.to_owned(), None);
    }
    let Ok(mut url) = Url::parse(text) else {
        return (text.to_owned(), None);
    };
    let password = url
        .password()
        .map(|password| Secret::from(password.to_owned()));
    if password.is_none() || url.set_password(None).is_err() {
        return (text.to_owned(), None);
    }
    (url.into(), password)
}

/// Puts it back; it is percent-encoded as it was.
pub(super) fn with_password(text: &str, password: Option<&Secret>) -> String {
    let parsed = password.and_then(|password| {
        let mut url = Url::parse(text).ok()?;
        url.set_password(Some(password.expose())).ok()?;
        Some(String::from(url))
    });
    parsed.unwrap_or_else(|| text.to_owned())
}

fn is_secret(name: &str) -> bool {
    SECRET_FIELDS
        .iter()
        .any(|secret| name.eq_ignore_ascii_case(secret))
}

/// Sorts header fields into those that may be shown and those that may not.
pub(super) fn split_headers(fields: Fields) -> (Fields, SecretFields) {
    let mut plain = Vec::new();
    let mut secret = Vec::new();
    for (name, value) in fields {
        if is_secret(&name) {
            secret.push((name, Secret::from(value)));
        } else {
            plain.push((name, value));
        }
    }
    (plain, secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn the_file_goes_before_the_job_and_fields_before_credentials() {
        let mut secrets = JobSecrets {
            credentials: Some(Credentials::Basic {
                user: "me".to_owned(),
                password: Secret::from("p:w".to_owned()),
            }),
            ..JobSecrets::default()
        };
        let job = fields(&[("A", "job"), ("B", "job")]);
        let file = fields(&[("a", "file"), ("a", "twice")]);
        let expected = fields(&[
            ("a", "file"),
            ("a", "twice"),
            ("B", "job"),
            ("Authorization", "Basic bWU6cDp3"),
        ]);
        assert_eq!(secrets.headers_of(0, &job, &file), expected);
        let own = (
            "authorization".to_owned(),
            Secret::from("Bearer x".to_owned()),
        );
        secrets.files.entry(1).or_default().headers.push(own);
        let sent = secrets.headers_of(1, &[], &[]);
        assert_eq!(sent, fields(&[("authorization", "Bearer x")]));
        // A login in the URL is more to the point than that of the job.
        secrets.set_password(2, Some(Secret::from("x".to_owned())));
        assert!(secrets.headers_of(2, &[], &[]).is_empty());
    }

    #[test]
    fn a_password_leaves_the_url_and_comes_back() {
        for (whole, shown) in [
            ("https://me:p%40w@o:8443/a?b", "https://me@o:8443/a?b"),
            ("https://:pw@o/a", "https://o/a"),
            ("https://me@o/a", "https://me@o/a"),
        ] {
            let (url, password) = split_password(whole);
            assert_eq!(url, shown);
            assert_eq!(with_password(&url, password.as_ref()), whole);
        }
    }

    #[test]
    fn secrets_are_not_written_by_accident() {
        let secrets = JobSecrets {
            credentials: Some(Credentials::Bearer {
                token: Secret::from("tok3n".to_owned()),
            }),
            headers: split_headers(fields(&[("Cookie", "cr4cker")])).1,
            ..JobSecrets::default()
        };
        let shown = format!("{secrets:?}");
        assert!(!shown.contains("tok3n") && !shown.contains("cr4cker"));
        let (plain, secret) = split_headers(fields(&[("X", "1"), ("COOKIE", "2")]));
        assert_eq!((plain.len(), secret.len()), (1, 1));
    }
}
