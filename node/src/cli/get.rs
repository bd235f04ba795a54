//! `potluck get`: makes a job, shows how it goes, and completes it.

mod destinations;
mod progress;

use std::path::PathBuf;
use std::time::Instant;

use potluck_content::Digest;
use potluck_plan::{FileRange, JobState, Priority};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::args::Global;
use super::config;
use super::credentials;
use super::embedded::Embedded;
use super::failure::{Exit, Failure};
use super::job::{assignments, range};
use super::output::Output;
use crate::client::{Client, ClientError};
use crate::hand_over::complete;
use crate::jobs::{JobDocument, check_destination};
use crate::public_url::public_url;
pub(super) use destinations::name_of;
use progress::Progress;

/// How often a transfer is begun again that fails without moving a byte. Somebody waits
/// for it, so it neither fails at the first hiccup nor waits for the retry delay of
/// background jobs.
const MAX_TRIES: u32 = 4;

/// `potluck get`
#[derive(Debug, clap::Args)]
pub(super) struct GetArgs {
    /// What to get: http or https.
    #[arg(required = true, value_name = "URL")]
    urls: Vec<String>,
    /// Where to put it; one URL only. Default: the name in the URL, here.
    #[arg(
        short,
        long,
        value_name = "FILE",
        conflicts_with = "dir",
        env = "POTLUCK_OUTPUT",
        hide_env_values = true
    )]
    output: Option<PathBuf>,
    /// Into which directory to put everything, under the names in the URLs.
    #[arg(
        short,
        long,
        value_name = "DIR",
        env = "POTLUCK_DIR",
        hide_env_values = true
    )]
    dir: Option<PathBuf>,
    /// foreground, high, normal or low. Default: foreground, with --detach normal.
    #[arg(long, env = "POTLUCK_PRIORITY", hide_env_values = true)]
    priority: Option<Priority>,
    /// What it must be: b3:HEX, sha256:HEX or sha512:HEX; one URL only.
    #[arg(
        long,
        value_name = "ALG:HEX",
        env = "POTLUCK_CHECKSUM",
        hide_env_values = true
    )]
    checksum: Option<Digest>,
    /// Take nothing from peers.
    #[arg(long, env = "POTLUCK_NO_PEERS", value_parser = clap::builder::FalseyValueParser::new(), hide_env_values = true)]
    no_peers: bool,
    /// A header field for the origin; may be given more than once.
    #[arg(long = "header", value_name = "K: V", value_parser = header, env = "POTLUCK_HEADER", hide_env_values = true)]
    headers: Vec<(String, String)>,
    /// A header field for the origin that is shown to nobody afterwards.
    #[arg(long = "secret-header", value_name = "K: V", value_parser = header, env = "POTLUCK_SECRET_HEADER", hide_env_values = true)]
    secret_headers: Vec<(String, String)>,
    /// Read credentials from this file, - for standard input: one line with basic
    /// USER:PASSWORD or bearer TOKEN.
    #[arg(
        long,
        value_name = "FILE",
        env = "POTLUCK_CREDENTIALS_FILE",
        hide_env_values = true
    )]
    credentials_file: Option<PathBuf>,
    /// Only this part: its first byte, counted from 0, and its length or eof. May be given
    /// several times; the parts are put together in the order given. One URL only.
    #[arg(long = "range", value_name = "OFF-LEN", value_parser = range, value_delimiter = ',', env = "POTLUCK_RANGE", hide_env_values = true)]
    ranges: Vec<FileRange>,
    /// Set a property of the job, as `job set` does; may be given several times.
    #[arg(
        long = "property",
        value_name = "KEY=VALUE",
        env = "POTLUCK_PROPERTY",
        hide_env_values = true
    )]
    properties: Vec<String>,
    /// Leave it to the daemon and return at once.
    #[arg(long, env = "POTLUCK_DETACH", value_parser = clap::builder::FalseyValueParser::new(), hide_env_values = true)]
    detach: bool,
    /// A program to call when all files are here; one of those in hooks.allowed.
    #[arg(
        long,
        value_name = "PROGRAM",
        requires = "detach",
        env = "POTLUCK_ON_COMPLETE",
        hide_env_values = true
    )]
    on_complete: Option<PathBuf>,
    /// A program to call when the job fails; one of those in hooks.allowed.
    #[arg(
        long,
        value_name = "PROGRAM",
        requires = "detach",
        env = "POTLUCK_ON_ERROR",
        hide_env_values = true
    )]
    on_error: Option<PathBuf>,
}

pub(super) async fn run(global: &Global, args: &GetArgs, output: &Output) -> Result<(), Failure> {
    let settings = config::load(global)?.settings;
    let paths = destinations::choose(&args.urls, args.output.as_deref(), args.dir.as_deref())?;
    if args.checksum.is_some() && args.urls.len() > 1 {
        return Err(Failure::usage(
            "--checksum is for one URL: get the others apart",
        ));
    }
    if !args.ranges.is_empty() && args.urls.len() > 1 {
        return Err(Failure::usage(
            "--range is for one URL: get the others apart",
        ));
    }
    for path in &paths {
        check_destination(path).map_err(|error| Failure::failed(error.to_string()))?;
    }
    let mut interrupt = Interrupt::new()?;
    match Client::connect(&settings.control.socket).await {
        Ok(daemon) => transfer(&daemon, args, &paths, output, &mut interrupt).await,
        Err(ClientError::NoDaemon(_)) if !args.detach => {
            let embedded = Box::pin(Embedded::start(settings, output)).await?;
            let client = embedded.client().await?;
            let result = transfer(&client, args, &paths, output, &mut interrupt).await;
            embedded.stop().await;
            result
        }
        Err(error) => Err(error.into()),
    }
}

async fn transfer(
    client: &Client,
    args: &GetArgs,
    paths: &[PathBuf],
    output: &Output,
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    let started = Instant::now();
    let wanted = request(args, paths)?;
    let job: JobDocument = tokio::select! {
        made = client.post("/v1/jobs", &wanted) => made?,
        () = interrupt.wait() => return Err(Failure::failed(
            "interrupted before the daemon said that it has the job: see potluck job list",
        )),
    };
    if args.detach {
        return show_detached(&job, output);
    }
    let mut progress = Progress::new(output);
    let end = tokio::select! {
        end = finish(client, &job, &mut progress) => end,
        () = interrupt.wait() => {
            progress.clear();
            return Err(interrupted(client, &job).await);
        }
    };
    progress.clear();
    let job = match end {
        Ok(job) => job,
        Err(failure) => return Err(give_up(client, &job, failure).await),
    };
    if output.json {
        output.json(&job)?;
    }
    match job.state {
        JobState::Acknowledged if output.json || output.quiet => Ok(()),
        JobState::Acknowledged => output.line(&progress::summary(&job, started.elapsed())),
        JobState::Cancelled => Err(job_failure(&job)),
        // Nobody will come back for it. What is here already is kept for the next try.
        _ => Err(give_up(client, &job, job_failure(&job)).await),
    }
}

/// Cancels a job that nobody waits for any more; where that does not work, the message
/// names it.
async fn give_up(client: &Client, job: &JobDocument, failure: Failure) -> Failure {
    match act(client, job, "/cancel").await {
        Ok(_) => failure,
        Err(_) if failure.to_string().contains(&job.id) => failure,
        Err(_) => Failure::new(
            failure.exit(),
            format!(
                "{failure}; the job is left: see potluck job show {}",
                job.id
            ),
        ),
    }
}

async fn interrupted(client: &Client, job: &JobDocument) -> Failure {
    Failure::failed(match act(client, job, "/cancel").await {
        Ok(_) => "interrupted: the job is cancelled, no file is left".to_owned(),
        Err(error) => format!(
            "interrupted, but the job is not cancelled: {error}; see potluck job show {}",
            job.id
        ),
    })
}

/// Sees the job through. What comes back is over, or in error.
async fn finish(
    client: &Client,
    job: &JobDocument,
    progress: &mut Progress,
) -> Result<JobDocument, Failure> {
    let mut lines = client.lines(&path_of(job, "/watch")).await?;
    let (mut tries, mut best) = (1, 0);
    while let Some(job) = lines.next_document::<JobDocument>().await? {
        progress.show(&job);
        if job.bytes_transferred > best {
            (tries, best) = (1, job.bytes_transferred);
        }
        match job.state {
            JobState::Transferred => return Ok(complete(client, &job.id).await?),
            JobState::Acknowledged | JobState::Cancelled => return Ok(job),
            JobState::TransientError if tries < MAX_TRIES => {
                progress.note(&job);
                tokio::time::sleep(std::time::Duration::from_secs(1 << (tries - 1))).await;
                tries += 1;
                act(client, &job, "/resume").await?;
            }
            JobState::TransientError | JobState::Error => return Ok(job),
            _ => {}
        }
    }
    Err(Failure::failed(format!(
        "the daemon stopped; see potluck job show {} when it runs again",
        job.id
    )))
}

async fn act(client: &Client, job: &JobDocument, call: &str) -> Result<JobDocument, ClientError> {
    client.post(&path_of(job, call), &json!({})).await
}

fn request(args: &GetArgs, paths: &[PathBuf]) -> Result<serde_json::Value, Failure> {
    let priority = args.priority.unwrap_or(match args.detach {
        true => Priority::Normal,
        false => Priority::Foreground,
    });
    let mut files = Vec::new();
    for (url, path) in args.urls.iter().zip(paths) {
        let path = path
            .to_str()
            .ok_or_else(|| Failure::usage(format!("{}: the path is not UTF-8", path.display())))?;
        files.push(json!({
            "url": url,
            "path": path,
            "headers": args.headers,
            "secret_headers": args.secret_headers,
            "ranges": (!args.ranges.is_empty()).then_some(&args.ranges),
            "checksum": args.checksum,
        }));
    }
    let credentials = args.credentials_file.as_deref().map(credentials::read);
    let mut job = json!({
        "name": args.urls.first().map(|url| public_url(url)),
        "priority": priority,
        "use_peers": args.no_peers.then_some(false),
        "credentials": credentials.transpose()?,
        "start": true,
        "detached": args.detach,
        "files": files,
    });
    for (key, program) in [
        ("on_complete", &args.on_complete),
        ("on_error", &args.on_error),
    ] {
        if let Some(program) = program {
            job[key] = json!({ "program": program });
        }
    }
    for (key, value) in assignments(&args.properties)? {
        job[key] = value;
    }
    Ok(job)
}

fn show_detached(job: &JobDocument, output: &Output) -> Result<(), Failure> {
    if output.json {
        return output.json(job);
    }
    output.line(&format!("job {}: potluck job show {}", job.id, job.id))
}

/// How a job that failed ends the command.
pub(super) fn job_failure(job: &JobDocument) -> Failure {
    let url = job
        .files
        .iter()
        .find(|file| file.error.is_some())
        .or(job.files.first())
        .map_or("", |file| file.url.as_str());
    let message = match &job.error {
        Some(error) if error.message.contains(url) => error.message.clone(),
        Some(error) => format!("{url}: {}", error.message),
        None => format!("{url}: the job is {}", job.state),
    };
    Failure::new(Exit::JobError, message)
}

fn path_of(job: &JobDocument, call: &str) -> String {
    format!("/v1/jobs/{}{call}", job.id)
}

pub(super) fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or_else(|| format!("{text:?} has no colon: write 'Name: value'"))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// Ctrl-C, SIGTERM, or the end of the terminal.
struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Interrupt {
    fn new() -> Result<Self, Failure> {
        let failed = |error| Failure::failed(format!("cannot listen for signals: {error}"));
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            hang_up: signal(SignalKind::hangup()).map_err(failed)?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests;
