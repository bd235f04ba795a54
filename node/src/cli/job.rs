//! `potluck job`

mod adding;
mod listing;
mod setting;

use clap::{Subcommand, ValueEnum};
use potluck_plan::Priority;
use serde_json::{Map, json};

use super::args::Global;
use super::config::load;
use super::daemon;
use super::failure::Failure;
use super::job_view;
use super::output::Output;
use crate::client::{Client, escaped};
use crate::hand_over::HandOverError;
use crate::jobs::JobDocument;
use adding::AddArgs;
pub(super) use adding::range;
use listing::ListArgs;
pub(super) use setting::assignments;

/// `potluck job`. JOB is an id or the beginning of one.
#[derive(Debug, Subcommand)]
pub(super) enum JobCommand {
    /// List jobs.
    List(ListArgs),
    /// Show a job with its files.
    Show {
        /// The job.
        job: String,
    },
    /// Make a job; it is suspended until `job resume`.
    Create {
        /// What to call it.
        #[arg(long, default_value = "", env = "POTLUCK_NAME", hide_env_values = true)]
        name: String,
        /// What it does.
        #[arg(long = "type", default_value = "download", value_parser = ["download"], env = "POTLUCK_TYPE", hide_env_values = true)]
        kind: String,
        /// How urgent it is: foreground, high, normal or low.
        #[arg(
            long,
            default_value = "normal",
            env = "POTLUCK_PRIORITY",
            hide_env_values = true
        )]
        priority: Priority,
        /// Take nothing from peers.
        #[arg(long, env = "POTLUCK_NO_PEERS", value_parser = clap::builder::FalseyValueParser::new(), hide_env_values = true)]
        no_peers: bool,
        /// Set a property at once, as `job set` does; may be given several times.
        #[arg(
            long = "property",
            value_name = "KEY=VALUE",
            env = "POTLUCK_PROPERTY",
            hide_env_values = true
        )]
        properties: Vec<String>,
    },
    /// Add files to a job.
    Add(AddArgs),
    /// Let a job run.
    Resume {
        /// The job.
        job: String,
    },
    /// Stop a job for now.
    Suspend {
        /// The job.
        job: String,
    },
    /// Give a job up. Its files are not put in their places.
    Cancel {
        /// The job.
        job: String,
    },
    /// Put the finished files in their places and end the job.
    Complete {
        /// The job.
        job: String,
    },
    /// Change a property of a job.
    Set {
        /// The job.
        job: String,
        /// Which.
        key: String,
        /// To what. Lists, hooks and certificates have several.
        #[arg(allow_hyphen_values = true)]
        value: Vec<String>,
    },
    /// Say whether a finished file is what it should be. A bad one is fetched again from the
    /// origin alone where any of it came from elsewhere; else the job is in error.
    Validate {
        /// The job.
        job: String,
        /// Which file: the first is 0.
        file: usize,
        /// What it is.
        verdict: Verdict,
    },
    /// Make a job root's. Credentials, certificates, header fields and hooks go.
    Takeover {
        /// The job.
        job: String,
    },
    /// Follow a job until it is over.
    Watch {
        /// The job.
        job: String,
    },
}

/// What an application says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Verdict {
    /// It is what it should be.
    Good,
    /// It is not.
    Bad,
}

pub(super) async fn run(
    global: &Global,
    command: &JobCommand,
    output: &Output,
) -> Result<(), Failure> {
    let settings = load(global)?.settings;
    let client = daemon::client(&settings).await?;
    Box::pin(carry_out(&client, command, output)).await
}

async fn carry_out(client: &Client, command: &JobCommand, output: &Output) -> Result<(), Failure> {
    match command {
        JobCommand::List(args) => return listing::list(client, args, output).await,
        JobCommand::Show { job } => {
            let job: JobDocument = client.get(&path(job, "")).await?;
            return job_view::show(&job, output);
        }
        JobCommand::Create {
            name,
            kind,
            priority,
            no_peers,
            properties,
        } => {
            let mut wanted = Map::from_iter([
                ("name".to_owned(), json!(name)),
                ("type".to_owned(), json!(kind)),
                ("priority".to_owned(), json!(priority)),
            ]);
            if *no_peers {
                wanted.insert("use_peers".to_owned(), json!(false));
            }
            wanted.extend(assignments(properties)?);
            let job: JobDocument = client.post("/v1/jobs", &wanted).await?;
            job_view::show(&job, output)?;
            if !output.json {
                output.hint(&format!("next: potluck job add {} URL", job.id));
            }
        }
        JobCommand::Add(args) => {
            let wanted = json!({ "files": adding::files(args)? });
            let job: JobDocument = client.post(&path(&args.job, "/files"), &wanted).await?;
            job_view::brief(&job, output)?;
        }
        JobCommand::Resume { job } => step(client, job, "/resume", output).await?,
        JobCommand::Suspend { job } => step(client, job, "/suspend", output).await?,
        JobCommand::Cancel { job } => step(client, job, "/cancel", output).await?,
        JobCommand::Complete { job } => {
            let job = complete(client, job).await?;
            job_view::brief(&job, output)?;
        }
        JobCommand::Set { job, key, value } => {
            let wanted = setting::properties(key, value)?;
            let job: JobDocument = client.patch(&path(job, ""), &wanted).await?;
            job_view::brief(&job, output)?;
        }
        JobCommand::Validate { job, file, verdict } => {
            let wanted = json!({ "good": *verdict == Verdict::Good });
            let path = path(job, &format!("/files/{file}/validate"));
            let job: JobDocument = client.post(&path, &wanted).await?;
            job_view::brief(&job, output)?;
        }
        JobCommand::Takeover { job } => step(client, job, "/takeover", output).await?,
        JobCommand::Watch { job } => watch(client, job, output).await?,
    }
    Ok(())
}

async fn step(client: &Client, job: &str, what: &str, output: &Output) -> Result<(), Failure> {
    let job: JobDocument = client.post(&path(job, what), &json!({})).await?;
    job_view::brief(&job, output)
}

/// Sees the files into their places.
pub(super) async fn complete(client: &Client, job: &str) -> Result<JobDocument, Failure> {
    // Dropped half way it leaves no temporary files behind.
    tokio::select! {
        done = crate::hand_over::complete(client, job) => Ok(done?),
        _ = tokio::signal::ctrl_c() => {
            let message = format!("interrupted: potluck job complete {job} begins again");
            Err(Failure::failed(message))
        }
    }
}

async fn watch(client: &Client, job: &str, output: &Output) -> Result<(), Failure> {
    let mut lines = client.lines(&path(job, "/watch")).await?;
    if output.json {
        while let Some(line) = lines.next().await? {
            output.raw(&[&line[..], b"\n"].concat())?;
        }
        return Ok(());
    }
    let mut last = String::new();
    while let Some(job) = lines.next_document::<JobDocument>().await? {
        let now = job_view::progress(&job);
        // Not everything that changes is shown.
        if now != last {
            output.line(&now)?;
        }
        last = now;
    }
    Ok(())
}

fn path(job: &str, rest: &str) -> String {
    format!("/v1/jobs/{}{rest}", escaped(job))
}

impl From<HandOverError> for Failure {
    fn from(error: HandOverError) -> Self {
        match error {
            HandOverError::Client(error) => error.into(),
            other => Self::failed(other.to_string()),
        }
    }
}
