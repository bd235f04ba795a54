//! What may be changed about a job.

use std::path::PathBuf;
use std::time::Duration;

use potluck_plan::Priority;
use potluck_transfer::{ClientCertificate, OriginOptions, ProxyChoice, Redirects};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::secrets::{split_headers, split_password};
use super::{Credentials, Hook, Job, JobFile, JobSecrets, Refusal, Secret, checks};
use crate::config::parse_duration;

/// The shortest retry delay; a shorter one is raised to it.
const SHORTEST_RETRY_DELAY: Duration = Duration::from_secs(5);

/// A change of one property of a job. `None` leaves it to the settings of the node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Its name.
    Name(String),
    /// What its owner says about it.
    Description(String),
    /// Its priority.
    Priority(Priority),
    /// Whether it may take from peers.
    UsePeers(Option<bool>),
    /// How long after a transient error it is tried again; at least 5 s.
    RetryDelay(Option<JobTime>),
    /// How long errors may go on without progress.
    NoProgressTimeout(Option<JobTime>),
    /// How long it may be connecting and transferring, all together.
    MaxDownloadTime(Option<JobTime>),
    /// What it calls itself at origins.
    UserAgent(Option<String>),
    /// The method of its requests.
    Method(Option<String>),
    /// What a redirect is met with.
    Redirects(Redirects),
    /// Whether a redirect may lead from https to http.
    AllowDowngrade(bool),
    /// The proxy on the way to origins.
    Proxy(ProxyChoice),
    /// Trust roots beside those of the node.
    CaFiles(Vec<PathBuf>),
    /// What it shows to origins that ask who we are.
    ClientCertificate(Option<ClientCertificate>),
    /// Whether it begins anew when one of its files changes at the origin.
    SameVersion(bool),
    /// Whether it runs only while its owner is logged in.
    OnlyLoggedIn(bool),
    /// Whom to tell when all files are here.
    OnComplete(Option<Hook>),
    /// Whom to tell when it fails.
    OnError(Option<Hook>),
    /// Header fields for the origins of all files, instead of those before. Such as are
    /// always secret join the secret ones, in the place of those of the same name.
    Headers(Vec<(String, String)>),
    /// Header fields that are shown to nobody, instead of all secret ones before.
    SecretHeaders(Vec<(String, String)>),
    /// Who it says it is to its origins.
    Credentials(Option<Credentials>),
    /// Another beginning for all URLs that begin so, of files that are not here yet.
    UrlPrefix {
        /// How they begin.
        from: String,
        /// How they are to begin.
        to: String,
    },
    /// Another URL for a file that is not here yet.
    Url {
        /// Which, counted from 0.
        file: usize,
        /// Where it comes from.
        url: String,
    },
    /// Another place for a file that is not in its place yet.
    Path {
        /// Which, counted from 0.
        file: usize,
        /// Where it goes.
        path: PathBuf,
    },
}

/// A time as the settings have it, such as `600s` or `14d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct JobTime(pub Duration);

impl TryFrom<String> for JobTime {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_duration(&text)
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no time: write for example 600s, 36h or 14d"))
    }
}

/// What follows from a change. The greater includes the lesser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Effect {
    /// Nothing that runs depends on it.
    None,
    /// What runs is begun again with it.
    Run,
}

impl Change {
    /// Reads changes as the API has them: one field of an object each.
    ///
    /// # Errors
    /// When a job has no such property, or the value does not fit.
    pub fn read(fields: Map<String, Value>) -> Result<Vec<Self>, Refusal> {
        let change = |(key, value): (String, Value)| {
            let wrong =
                |error: serde_json::Error| Refusal::Invalid(format!("cannot set {key}: {error}"));
            let field = Map::from_iter([(key.clone(), value)]);
            serde_json::from_value(Value::Object(field)).map_err(wrong)
        };
        let mut changes: Vec<Self> = fields.into_iter().map(change).collect::<Result<_, _>>()?;
        // Secret ones among the header fields come to those that are named as such.
        changes.sort_by_key(|change| matches!(change, Self::Headers(_)));
        Ok(changes)
    }

    /// Makes it. When it is refused, the job may be half changed.
    ///
    /// # Errors
    /// When it does not fit the job.
    pub(super) fn apply(self, job: &mut Job, secrets: &mut JobSecrets) -> Result<Effect, Refusal> {
        match self {
            Self::Name(name) => job.name = checks::name(name)?,
            Self::Description(text) => job.description = checks::description(text)?,
            Self::RetryDelay(time) => {
                job.retry_delay = time.map(|JobTime(time)| time.max(SHORTEST_RETRY_DELAY));
            }
            Self::NoProgressTimeout(time) => {
                job.no_progress_timeout = time.map(|JobTime(time)| time);
            }
            Self::MaxDownloadTime(time) => job.max_download_time = time.map(|JobTime(time)| time),
            Self::SameVersion(wanted) => job.same_version = wanted,
            Self::Path { file, path } => set_path(job, file, path)?,
            Self::OnComplete(hook) => job.on_complete = hook.map(checks::hook).transpose()?,
            Self::OnError(hook) => job.on_error = hook.map(checks::hook).transpose()?,
            other => {
                other.apply_to_runs(job, secrets)?;
                return Ok(Effect::Run);
            }
        }
        Ok(Effect::None)
    }

    fn apply_to_runs(self, job: &mut Job, secrets: &mut JobSecrets) -> Result<(), Refusal> {
        match self {
            Self::Priority(priority) => set_priority(job, priority)?,
            Self::UsePeers(wish) => job.use_peers = wish,
            Self::OnlyLoggedIn(wanted) => job.only_logged_in = wanted,
            Self::Headers(fields) => {
                checks::headers(&fields)?;
                let (plain, secret) = split_headers(fields);
                job.headers = plain;
                let again = |name: &str| {
                    let mut names = secret.iter().map(|(name, _)| name);
                    names.any(|other| other.eq_ignore_ascii_case(name))
                };
                secrets.headers.retain(|(name, _)| !again(name));
                secrets.headers.extend(secret);
            }
            Self::SecretHeaders(fields) => {
                checks::headers(&fields)?;
                let secret = |(name, value)| (name, Secret::from(value));
                secrets.headers = fields.into_iter().map(secret).collect();
            }
            Self::Credentials(credentials) => {
                credentials.iter().try_for_each(checks::credentials)?;
                secrets.credentials = credentials;
            }
            Self::UrlPrefix { from, to } => replace_prefix(job, secrets, &from, &to)?,
            Self::Url { file, url } => set_url(job, secrets, file, &url)?,
            other => other.apply_to_origin(&mut job.origin, &mut job.priority, secrets)?,
        }
        Ok(())
    }

    fn apply_to_origin(
        self,
        origin: &mut OriginOptions,
        priority: &mut Priority,
        secrets: &mut JobSecrets,
    ) -> Result<(), Refusal> {
        match self {
            Self::UserAgent(text) => {
                origin.user_agent = text.map(checks::user_agent).transpose()?;
            }
            Self::Method(method) => {
                origin.method = method.map(checks::method).transpose()?;
                // As in BITS: what another method brings is for who waits for it.
                if is_special(origin) {
                    *priority = Priority::Foreground;
                }
            }
            Self::Redirects(choice) => origin.redirects = choice,
            Self::AllowDowngrade(allowed) => origin.allow_downgrade = allowed,
            Self::Proxy(choice) => {
                secrets.proxy_password = None;
                origin.proxy = choice;
                if let ProxyChoice::Url(url) = &mut origin.proxy {
                    checks::proxy(url)?;
                    (*url, secrets.proxy_password) = split_password(url);
                }
            }
            Self::CaFiles(paths) => origin.ca_files = checks::ca_files(paths)?,
            Self::ClientCertificate(certificate) => {
                if let Some(certificate) = &certificate {
                    checks::full_path(&certificate.certificate_file)?;
                    checks::full_path(&certificate.key_file)?;
                }
                origin.client_certificate = certificate;
            }
            // All others are made before.
            _ => {}
        }
        Ok(())
    }

    /// Its name, as callers write it.
    pub(super) const fn key(&self) -> &'static str {
        match self {
            Self::Name(_) => "name",
            Self::Description(_) => "description",
            Self::Priority(_) => "priority",
            Self::UsePeers(_) => "use_peers",
            Self::RetryDelay(_) => "retry_delay",
            Self::NoProgressTimeout(_) => "no_progress_timeout",
            Self::MaxDownloadTime(_) => "max_download_time",
            Self::UserAgent(_) => "user_agent",
            Self::Method(_) => "method",
            Self::Redirects(_) => "redirects",
            Self::AllowDowngrade(_) => "allow_downgrade",
            Self::Proxy(_) => "proxy",
            Self::CaFiles(_) => "ca_files",
            Self::ClientCertificate(_) => "client_certificate",
            Self::SameVersion(_) => "same_version",
            Self::OnlyLoggedIn(_) => "only_logged_in",
            Self::OnComplete(_) => "on_complete",
            Self::OnError(_) => "on_error",
            Self::Headers(_) => "headers",
            Self::SecretHeaders(_) => "secret_headers",
            Self::Credentials(_) => "credentials",
            Self::UrlPrefix { .. } => "url_prefix",
            Self::Url { .. } => "url",
            Self::Path { .. } => "path",
        }
    }
}

fn is_special(origin: &OriginOptions) -> bool {
    !origin.is_get()
}

fn set_priority(job: &mut Job, priority: Priority) -> Result<(), Refusal> {
    if is_special(&job.origin) && priority != Priority::Foreground {
        let message = "a job with another method than GET is always foreground";
        return Err(Refusal::Invalid(message.to_owned()));
    }
    job.priority = priority;
    Ok(())
}

fn set_path(job: &mut Job, index: usize, path: PathBuf) -> Result<(), Refusal> {
    checks::full_path(&path)?;
    let file = file_of(job, index)?;
    if file.placed {
        let message = format!("file {index} is in its place already: move it there");
        return Err(Refusal::Invalid(message));
    }
    file.path = path;
    file.path_of = None;
    file.error = None;
    Ok(())
}

fn file_of(job: &mut Job, index: usize) -> Result<&mut JobFile, Refusal> {
    let files = job.files.len();
    job.files.get_mut(index).ok_or_else(|| {
        let message = format!("the job has no file {index}: it has {files}, counted from 0");
        Refusal::Invalid(message)
    })
}

fn set_url(
    job: &mut Job,
    secrets: &mut JobSecrets,
    index: usize,
    url: &str,
) -> Result<(), Refusal> {
    checks::url(url)?;
    let file = file_of(job, index)?;
    if file.is_transferred() {
        let message = format!("file {index} is here already: its URL cannot change any more");
        return Err(Refusal::Invalid(message));
    }
    move_to(file, secrets, index, url);
    Ok(())
}

fn replace_prefix(
    job: &mut Job,
    secrets: &mut JobSecrets,
    from: &str,
    to: &str,
) -> Result<(), Refusal> {
    let mut any = false;
    for (index, file) in job.files.iter_mut().enumerate() {
        let Some(rest) = file.url.strip_prefix(from).filter(|_| !from.is_empty()) else {
            continue;
        };
        any = true;
        // As in BITS, what is here stays.
        if !file.is_transferred() {
            let url = format!("{to}{rest}");
            checks::url(&url)?;
            move_to(file, secrets, index, &url);
        }
    }
    if any {
        Ok(())
    } else {
        let message = format!("no URL of the job begins with {from:?}");
        Err(Refusal::Invalid(message))
    }
}

/// What came from the URL before is given up.
fn move_to(file: &mut JobFile, secrets: &mut JobSecrets, index: usize, url: &str) {
    let (shown, password) = split_password(url);
    if shown != file.url {
        file.begin_anew();
        file.most_held = None;
    }
    file.url = shown;
    file.is_foreign = false;
    secrets.set_password(index, password);
}
