//! Jobs for people.

use potluck_plan::SwarmCounts;
use potluck_transfer::{ProxyChoice, Redirects};

use super::daemon::show_time;
use super::failure::Failure;
use super::output::Output;
use crate::config::show_size;
use crate::jobs::{ErrorDocument, Hook, JobDocument};

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
                job.files_total.to_string(),
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
    rows.extend(job.swarm.as_ref().map(|counts| ("swarm", swarm(counts))));
    rows.extend(settings(job));
    rows.extend(job.error.as_ref().map(|error| ("error", problem(error))));
    let width = rows.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    for (key, value) in rows {
        output.line(format!("{key:<width$} {value}").trim_end())?;
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

/// What was set for it, where it differs from what holds for all.
fn settings(job: &JobDocument) -> Vec<(&'static str, String)> {
    let set = &job.settings;
    let origin = &set.origin;
    let yes = |wanted: bool| wanted.then(|| "yes".to_owned());
    let proxy = match &origin.proxy {
        ProxyChoice::Environment => None,
        ProxyChoice::None => Some("none".to_owned()),
        ProxyChoice::Url(url) => Some(plain(url)),
    };
    let redirects = (origin.redirects != Redirects::default())
        .then(|| format!("{:?}", origin.redirects).to_lowercase());
    let hook = |hook: &Option<Hook>| {
        let hook = hook.as_ref()?;
        let words = std::iter::once(hook.program.display().to_string());
        let words: Vec<String> = words.chain(hook.arguments.iter().cloned()).collect();
        Some(plain(&words.join(" ")))
    };
    let mut fields: Vec<String> = set.headers.iter().map(|(name, _)| name.clone()).collect();
    fields.extend(
        set.secret_headers
            .iter()
            .map(|name| format!("{name} (secret)")),
    );
    let rows = [
        (
            "about",
            Some(plain(&job.description)).filter(|text| !text.is_empty()),
        ),
        ("in part", yes(job.partial)),
        (
            "peers",
            set.use_peers
                .map(|wanted| if wanted { "yes" } else { "no" }.to_owned()),
        ),
        ("retry delay", set.retry_delay.clone()),
        ("gives up after", set.no_progress_timeout.clone()),
        ("time limit", set.max_download_time.clone()),
        ("method", origin.method.clone()),
        ("user agent", origin.user_agent.as_deref().map(plain)),
        ("redirects", redirects),
        ("proxy", proxy),
        (
            "certificate",
            origin
                .client_certificate
                .as_ref()
                .map(|of| of.certificate_file.display().to_string()),
        ),
        (
            "fields",
            Some(plain(&fields.join(", "))).filter(|text| !text.is_empty()),
        ),
        (
            "credentials",
            set.credentials
                .map(|kind| format!("{kind:?}").to_lowercase()),
        ),
        ("same version", yes(set.same_version)),
        ("only logged in", yes(set.only_logged_in)),
        ("on complete", hook(&set.on_complete)),
        ("on error", hook(&set.on_error)),
    ];
    let is_set = |(key, value): (_, Option<String>)| Some((key, value?));
    rows.into_iter().filter_map(is_set).collect()
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
    if job.partial {
        let (here, all) = (job.files_transferred, job.files_total);
        text.push_str(&format!(" in part ({here} of {all} files)"));
    }
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
        (from.unpacked, "of that unpacked here"),
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

/// How files were fetched together with others.
pub(super) fn swarm(counts: &SwarmCounts) -> String {
    let many = |number: u64, one: &str, more: &str| match number {
        1 => format!("1 {one}"),
        number => format!("{number} {more}"),
    };
    let audited = format!(
        "{} audited ({})",
        many(counts.audited_pieces, "piece", "pieces"),
        show_size(counts.audited_bytes)
    );
    let parts = [
        (true, many(counts.members, "other member", "other members")),
        (
            counts.taken_over > 0,
            many(counts.taken_over, "claim taken over", "claims taken over"),
        ),
        (counts.audited_bytes > 0, audited),
        (
            counts.exposed > 0,
            many(counts.exposed, "liar exposed", "liars exposed"),
        ),
    ];
    let parts = parts.into_iter().filter(|(is_said, _)| *is_said);
    let parts: Vec<String> = parts.map(|(_, text)| text).collect();
    parts.join(", ")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swarm_says_what_it_did_and_no_more() {
        let mut counts = SwarmCounts {
            members: 1,
            ..SwarmCounts::default()
        };
        assert_eq!(swarm(&counts), "1 other member");
        counts.members = 7;
        counts.taken_over = 2;
        counts.audited_pieces = 1;
        counts.audited_bytes = 1 << 18;
        assert_eq!(
            swarm(&counts),
            "7 other members, 2 claims taken over, 1 piece audited (256 KiB)"
        );
        counts.exposed = 1;
        assert!(swarm(&counts).ends_with(", 1 liar exposed"));
    }
}
