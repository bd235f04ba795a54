//! `potluck job list`

use clap::Args;
use clap::builder::FalseyValueParser;
use potluck_plan::{JobState, Priority};

use crate::cli::failure::Failure;
use crate::cli::job_view;
use crate::cli::output::Output;
use crate::client::{Client, escaped};
use crate::jobs::JobDocument;

/// Jobs that are asked for at once.
const PAGE: usize = 500;

/// `potluck job list`
#[derive(Debug, Args)]
pub(in crate::cli) struct ListArgs {
    /// Those that are over as well.
    #[arg(long, env = "POTLUCK_ALL", value_parser = FalseyValueParser::new(), hide_env_values = true)]
    all: bool,
    /// Only in these states, with commas between them; also such as are over.
    #[arg(long, value_delimiter = ',', value_parser = state, env = "POTLUCK_STATE", hide_env_values = true)]
    state: Vec<JobState>,
    /// Only of this user: a number, or uid:NUMBER.
    #[arg(long, value_name = "UID", value_parser = owner, env = "POTLUCK_OWNER", hide_env_values = true)]
    owner: Option<u32>,
    /// Only with such a name: * is any text, ? any character.
    #[arg(
        long,
        value_name = "PATTERN",
        env = "POTLUCK_NAME",
        hide_env_values = true
    )]
    name: Option<String>,
    /// Only of this level.
    #[arg(long, env = "POTLUCK_PRIORITY", hide_env_values = true)]
    priority: Option<Priority>,
    /// So many at most.
    #[arg(long, value_name = "N", env = "POTLUCK_LIMIT", hide_env_values = true)]
    limit: Option<usize>,
    /// Only those that come after this job.
    #[arg(
        long,
        value_name = "JOB",
        env = "POTLUCK_AFTER",
        hide_env_values = true
    )]
    after: Option<String>,
}

pub(super) async fn list(client: &Client, args: &ListArgs, output: &Output) -> Result<(), Failure> {
    let limit = args.limit.unwrap_or(usize::MAX);
    let mut jobs: Vec<JobDocument> = Vec::new();
    let mut next = Some(path(args, !output.json));
    while let Some(path) = next.filter(|_| jobs.len() < limit) {
        let page;
        (page, next) = client.page(&path).await?;
        jobs.extend(page);
    }
    jobs.truncate(limit);
    job_view::list(&jobs, output)
}

fn path(args: &ListArgs, brief: bool) -> String {
    let limit = args.limit.map_or(PAGE, |limit| limit.min(PAGE));
    let mut path = format!("/v1/jobs?all={}&limit={limit}&brief={brief}", args.all);
    let states: Vec<String> = args.state.iter().map(ToString::to_string).collect();
    let conditions = [
        ("state", (!states.is_empty()).then(|| states.join(","))),
        ("owner", args.owner.map(|owner| owner.to_string())),
        ("name", args.name.clone()),
        (
            "priority",
            args.priority.map(|priority| priority.to_string()),
        ),
        ("after", args.after.clone()),
    ];
    for (key, value) in conditions {
        if let Some(value) = value {
            path.push_str(&format!("&{key}={}", escaped(&value)));
        }
    }
    path
}

fn state(text: &str) -> Result<JobState, String> {
    serde_json::from_value(text.into())
        .map_err(|_| "choose suspended, queued, connecting, transferring, transient_error, error, transferred, acknowledged or cancelled".to_owned())
}

fn owner(text: &str) -> Result<u32, String> {
    let number = text.strip_prefix("uid:").unwrap_or(text);
    number
        .parse()
        .map_err(|_| "write the number of a user, such as 1000".to_owned())
}
