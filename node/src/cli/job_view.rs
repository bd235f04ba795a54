//! Jobs for people.

use super::daemon::show_time;
use super::failure::Failure;
use super::output::Output;
use crate::config::show_size;
use crate::jobs::{ErrorDocument, JobDocument};

/// All of them, a line each.
pub(super) fn list(jobs: &[JobDocument], output: &Output) -> Result<(), Failure> {
    if output.json {
        return output.json(&jobs);
    }
    let rows: Vec<Vec<String>> = jobs
        .iter()
        .map(|job| {
            vec![
                job.id.clone(),
                job.state.to_string(),
                job.priority.to_string(),
                show_size(job.bytes_transferred),
                show_size(job.bytes_total),
                show_size(job.accounting.peers),
                job.files.len().to_string(),
                plain(&job.name),
            ]
        })
        .collect();
    let headings = [
        "id",
        "state",
        "priority",
        "done",
        "of",
        "from peers",
        "files",
        "name",
    ];
    output.table(&headings, &rows)
}

/// Everything about one.
pub(super) fn show(job: &JobDocument, output: &Output) -> Result<(), Failure> {
    if output.json {
        return output.json(job);
    }
    let mut rows = vec![
        ("id", job.id.clone()),
        ("name", plain(&job.name)),
        ("state", job.state.to_string()),
        ("priority", job.priority.to_string()),
        ("owner", job.owner.clone()),
        ("created", show_time(&job.created)),
        ("bytes", bytes(job)),
    ];
    rows.extend(job.error.as_ref().map(|error| ("error", problem(error))));
    for (key, value) in rows {
        output.line(format!("{key:<9} {value}").trim_end())?;
    }
    if job.files.is_empty() {
        return Ok(());
    }
    output.line("")?;
    let files: Vec<Vec<String>> = job
        .files
        .iter()
        .map(|file| {
            let error = file.error.as_ref().map(problem).unwrap_or_default();
            vec![
                show_size(file.bytes_transferred),
                show_size(file.bytes_total),
                plain(&file.path),
                plain(&file.url),
                error,
            ]
        })
        .collect();
    output.table(&["done", "of", "path", "url", ""], &files)
}

/// What became of one.
pub(super) fn brief(job: &JobDocument, output: &Output) -> Result<(), Failure> {
    if output.json {
        return output.json(job);
    }
    output.line(&progress(job))
}

/// Where one stands, in a line.
pub(super) fn progress(job: &JobDocument) -> String {
    let mut text = format!("{} {}", job.id, job.state);
    if job.bytes_total > 0 || job.bytes_transferred > 0 {
        text.push_str(", ");
        text.push_str(&bytes(job));
    }
    if let Some(error) = &job.error {
        text.push_str(": ");
        text.push_str(&problem(error));
    }
    text
}

fn bytes(job: &JobDocument) -> String {
    let from = &job.accounting;
    let mut text = format!(
        "{} of {}",
        show_size(job.bytes_transferred),
        show_size(job.bytes_total)
    );
    let parts = [
        (from.peers, "from peers"),
        (from.origin, "from the origin"),
        (from.cache, "from the cache"),
        (from.discarded, "discarded"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(bytes, _)| *bytes > 0)
        .map(|(bytes, what)| format!("{} {what}", show_size(*bytes)))
        .collect();
    if !parts.is_empty() {
        text.push_str(" (");
        text.push_str(&parts.join(", "));
        text.push(')');
    }
    text
}

fn problem(error: &ErrorDocument) -> String {
    match &error.retry_at {
        Some(at) => format!("{}; tried again {}", plain(&error.message), show_time(at)),
        None => plain(&error.message),
    }
}

/// Text that others wrote, without what would move the cursor.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
