//! The cache and its contents for people.

use crate::cli::daemon::show_time;
use crate::cli::failure::Failure;
use crate::cli::job_view::plain;
use crate::cli::output::Output;
use crate::config::show_size;
use crate::contents::{CacheDocument, ContentDocument, PartialDocument};

/// Contents, a line each.
pub(super) fn content_rows(contents: &[ContentDocument], output: &Output) -> Result<(), Failure> {
    let row = |content: &ContentDocument| {
        let url = content.urls.last().map(|url| plain(url));
        vec![
            content.content_id.clone(),
            show_size(content.size),
            show_time(&content.accessed),
            state(content),
            url.unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = contents.iter().map(row).collect();
    output.table(&["content", "size", "last used", "state", "url"], &rows)
}

/// Unfinished contents, a line each.
pub(super) fn partial_rows(partials: &[PartialDocument], output: &Output) -> Result<(), Failure> {
    let row = |partial: &PartialDocument| {
        vec![
            partial.name.clone(),
            show_size(partial.bytes_held),
            partial.size.map_or_else(|| "?".to_owned(), show_size),
            show_size(partial.bytes_on_disk),
            show_time(&partial.modified),
            if partial.in_use { "in use" } else { "" }.to_owned(),
        ]
    };
    let rows: Vec<_> = partials.iter().map(row).collect();
    let headings = ["unfinished", "held", "of", "on disk", "written", "state"];
    output.table(&headings, &rows)
}

/// Everything about one content.
pub(super) fn show(content: &ContentDocument, output: &Output) -> Result<(), Failure> {
    if output.json {
        return output.json(content);
    }
    let mut rows = vec![
        ("content", content.content_id.clone()),
        ("size", size(content.size)),
        ("state", state(content)),
        ("added", show_time(&content.added)),
        ("last used", show_time(&content.accessed)),
    ];
    let digests = content.digests.iter();
    rows.extend(digests.map(|digest| ("digest", digest.clone())));
    rows.extend(content.urls.iter().map(|url| ("url", plain(url))));
    lines(&rows, output)
}

/// The cache as a whole.
pub(super) fn show_cache(cache: &CacheDocument, output: &Output) -> Result<(), Failure> {
    if output.json {
        return output.json(cache);
    }
    let files = |count: u64, bytes: u64| format!("{count}, {}", size(bytes));
    let days = cache.max_age_seconds / 86_400;
    let rows = [
        ("contents", files(cache.contents, cache.bytes)),
        ("limit", size(cache.max_size)),
        ("max age", format!("{days} days since the last use")),
        ("pinned", files(cache.pinned, cache.pinned_bytes)),
        ("unfinished", files(cache.partials, cache.partial_bytes)),
        ("for jobs", size(cache.uncached_bytes)),
        ("set aside", files(cache.aside, cache.aside_bytes)),
    ];
    lines(&rows, output)
}

fn lines(rows: &[(&str, String)], output: &Output) -> Result<(), Failure> {
    for (key, value) in rows {
        output.line(&format!("{key:<10} {value}"))?;
    }
    Ok(())
}

fn size(bytes: u64) -> String {
    format!("{} ({bytes} bytes)", show_size(bytes))
}

fn state(content: &ContentDocument) -> String {
    let words = [
        (content.validated, "validated"),
        (!content.validated, "not validated"),
        (content.pinned, "pinned"),
        (content.in_use, "in use"),
    ];
    let words = words.iter().filter(|(is, _)| *is).map(|(_, word)| *word);
    words.collect::<Vec<_>>().join(", ")
}
