//! `potluck job`

use std::path::{Path, PathBuf};

use clap::Subcommand;
use potluck_plan::Priority;
use serde_json::{Value, json};

use super::args::Global;
use super::config::load;
use super::daemon;
use super::failure::Failure;
use super::get::{header, name_of};
use super::job_view;
use super::output::Output;
use crate::client::{Client, escaped};
use crate::hand_over::HandOverError;
use crate::jobs::JobDocument;

/// `potluck job`. JOB is an id or the beginning of one.
#[derive(Debug, Subcommand)]
pub(super) enum JobCommand {
    /// List jobs.
    List {
        /// Those that are over as well.
        #[arg(long, env = "POTLUCK_ALL", value_parser = clap::builder::FalseyValueParser::new(), hide_env_values = true)]
        all: bool,
    },
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
    },
    /// Add a file to a job.
    Add {
        /// The job.
        job: String,
        /// Where the file comes from.
        url: String,
        /// Where it goes: a file or a directory; without it this directory.
        path: Option<PathBuf>,
        /// What the whole must have, as sha256:HEX.
        #[arg(
            long,
            value_name = "ALG:HEX",
            env = "POTLUCK_CHECKSUM",
            hide_env_values = true
        )]
        checksum: Option<String>,
        /// A header field for the origin; may be given several times.
        #[arg(long = "header", value_name = "K: V", value_parser = header, env = "POTLUCK_HEADER", hide_env_values = true)]
        headers: Vec<(String, String)>,
    },
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
        /// Which: name, priority or use_peers.
        key: String,
        /// To what.
        value: String,
    },
    /// Follow a job until it is over.
    Watch {
        /// The job.
        job: String,
    },
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
        JobCommand::List { all } => {
            let jobs: Vec<JobDocument> = client.get(&format!("/v1/jobs?all={all}")).await?;
            return job_view::list(&jobs, output);
        }
        JobCommand::Show { job } => {
            let job: JobDocument = client.get(&path(job, "")).await?;
            return job_view::show(&job, output);
        }
        JobCommand::Create {
            name,
            kind,
            priority,
            no_peers,
        } => {
            let use_peers = no_peers.then_some(false);
            let wanted =
                json!({ "name": name, "type": kind, "priority": priority, "use_peers": use_peers });
            let job: JobDocument = client.post("/v1/jobs", &wanted).await?;
            job_view::show(&job, output)?;
            if !output.json {
                output.hint(&format!("next: potluck job add {} URL", job.id));
            }
        }
        JobCommand::Add {
            job,
            url,
            path: to,
            checksum,
            headers,
        } => {
            let to = destination(url, to.as_deref())?;
            let file = json!({ "url": url, "path": to, "headers": headers, "checksum": checksum });
            let wanted = json!({ "files": [file] });
            let job: JobDocument = client.post(&path(job, "/files"), &wanted).await?;
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
            let job: JobDocument = client.patch(&path(job, ""), &change(key, value)?).await?;
            job_view::brief(&job, output)?;
        }
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

fn change(key: &str, value: &str) -> Result<Value, Failure> {
    let wrong = |expected: String| Failure::usage(format!("{key} {value}: {expected}"));
    match key {
        "name" => Ok(json!({ "name": value })),
        "priority" => value
            .parse::<Priority>()
            .map(|priority| json!({ "priority": priority }))
            .map_err(|error| wrong(error.to_string())),
        "use_peers" => match value {
            "true" | "1" => Ok(json!({ "use_peers": true })),
            "false" | "0" => Ok(json!({ "use_peers": false })),
            _ => Err(wrong("choose true or false".to_owned())),
        },
        _ => Err(Failure::usage(format!(
            "a job has no {key} to set: choose name, priority or use_peers"
        ))),
    }
}

/// Where the file of a URL goes: a full path. A directory, or nothing said, takes the
/// last part of the URL as the name.
pub(super) fn destination(url: &str, to: Option<&Path>) -> Result<PathBuf, Failure> {
    let to = to.unwrap_or(Path::new("."));
    let full = std::path::absolute(to)
        .map_err(|error| Failure::usage(format!("{}: {error}", to.display())))?;
    let says_directory = to.as_os_str().as_encoded_bytes().ends_with(b"/");
    if !says_directory && !full.is_dir() {
        return Ok(full);
    }
    let name = name_of(url)
        .map_err(|_| Failure::usage(format!("{url}: the URL names no file: say its PATH")))?;
    Ok(full.join(name))
}

impl From<HandOverError> for Failure {
    fn from(error: HandOverError) -> Self {
        match error {
            HandOverError::Client(error) => error.into(),
            other => Self::failed(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_path_is_named_by_its_url() {
        let dir = tempfile::tempdir().unwrap();
        let into = |url: &str| destination(url, Some(dir.path())).ok();
        let url = "https://x.test/a/b%20c.iso?d=e/f#g";
        assert_eq!(into(url), Some(dir.path().join("b c.iso")));
        for nameless in [
            "https://x.test/",
            "https://x.test/%2e%2e",
            "https://x.test/a%2Fb",
            "x",
        ] {
            assert_eq!(into(nameless), None, "{nameless}");
        }
        let file = dir.path().join("named");
        assert_eq!(destination(url, Some(&file)).unwrap(), file);
        let missing = dir.path().join("missing/");
        let inside = dir.path().join("missing/b c.iso");
        assert_eq!(destination(url, Some(&missing)).unwrap(), inside);
        assert!(destination(url, None).unwrap().is_absolute());
    }

    #[test]
    fn only_what_can_be_set_is_sent() {
        assert_eq!(change("name", "x").unwrap(), json!({ "name": "x" }));
        assert_eq!(
            change("priority", "low").unwrap(),
            json!({ "priority": "low" })
        );
        assert_eq!(
            change("use_peers", "0").unwrap(),
            json!({ "use_peers": false })
        );
        for (key, value) in [
            ("priority", "urgent"),
            ("use_peers", "maybe"),
            ("owner", "me"),
        ] {
            assert!(change(key, value).is_err(), "{key}");
        }
    }
}
