//! `potluck events`

use clap::Args;
use serde_json::Value;

use super::args::Global;
use super::config::load;
use super::daemon::{self, show_time};
use super::failure::Failure;
use super::job_view::plain;
use super::output::Output;
use crate::client::escaped;
use crate::config::Settings;
use crate::events::{Event, EventLog};

/// `potluck events`
#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// Go on with what happens from now on.
    #[arg(short, long, env = "POTLUCK_FOLLOW", value_parser = clap::builder::FalseyValueParser::new(), hide_env_values = true)]
    follow: bool,
    /// Only of this job: its id or the beginning of it.
    #[arg(long, env = "POTLUCK_JOB", hide_env_values = true)]
    job: Option<String>,
}

pub(super) async fn run(
    global: &Global,
    args: &EventsArgs,
    output: &Output,
) -> Result<(), Failure> {
    let settings = load(global)?.settings;
    let client = if args.follow {
        daemon::client(&settings).await?
    } else {
        match daemon::client_if_any(&settings).await? {
            Some(client) => client,
            None => return past(&settings, args, output),
        }
    };
    let job = args
        .job
        .as_deref()
        .map(|job| format!("&job={}", escaped(job)));
    let path = format!(
        "/v1/events?follow={}{}",
        args.follow,
        job.unwrap_or_default()
    );
    let mut lines = client.lines(&path).await?;
    if output.json {
        while let Some(line) = lines.next().await? {
            output.raw(&[&line[..], b"\n"].concat())?;
        }
    } else {
        while let Some(event) = lines.next_document().await? {
            output.line(&line(&event))?;
        }
    }
    Ok(())
}

/// What the files say while no daemon writes them.
fn past(settings: &Settings, args: &EventsArgs, output: &Output) -> Result<(), Failure> {
    let dir = settings.data_dir.join("events");
    let failed = |error: std::io::Error| {
        Failure::failed(format!(
            "cannot read the events in {}: {error}",
            dir.display()
        ))
    };
    if !dir.try_exists().map_err(failed)? {
        return Ok(());
    }
    let (log, writer) = EventLog::open(&dir).map_err(failed)?;
    let wanted = |event: &Event| match (&args.job, &event.job) {
        (Some(wanted), Some(job)) => job.starts_with(wanted.as_str()),
        (Some(_), None) => false,
        (None, _) => true,
    };
    log.stop();
    writer.join();
    let mut reader = log.reader(0).map_err(failed)?;
    loop {
        let events = reader.read().map_err(failed)?;
        if events.is_empty() {
            return Ok(());
        }
        for event in events.iter().filter(|event| wanted(event)) {
            match output.json {
                true => output.json_line(event)?,
                false => output.line(&line(event))?,
            }
        }
    }
}

fn line(event: &Event) -> String {
    let mut text = format!("{}  {}", show_time(&event.time), event.kind);
    if let Some(job) = &event.job {
        text.push_str("  job=");
        text.push_str(job);
    }
    for (key, value) in &event.fields {
        let value = match value {
            Value::String(value) => value.clone(),
            other => other.to_string(),
        };
        text.push_str(&format!("  {key}={}", plain(&value)));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let event: Event = serde_json::from_value(json!({
            "time": "2026-11-21T06:45:10.001Z", "id": 3, "kind": "transfer_stopped", "job": "ab12",
            "fields": { "bytes_total": 7, "url": "http://x/\n" },
        }))
        .unwrap();
        let expected = "2026-11-21 06:45:10Z  transfer_stopped  job=ab12  bytes_total=7  url=http://x/\u{fffd}";
        assert_eq!(line(&event), expected);
    }
}
