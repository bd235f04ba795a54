//! How a download goes, for people.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::job_view;
use crate::cli::output::Output;
use crate::config::show_size;
use crate::jobs::JobDocument;

/// How often a plain line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// A bar on a terminal, a line now and then elsewhere.
pub(super) enum Progress {
    Bar(ProgressBar),
    Lines { last: Instant },
    Silent,
}

impl Progress {
    pub(super) fn new(output: &Output) -> Self {
        if output.quiet {
            Self::Silent
        } else if output.live {
            let bar = ProgressBar::no_length();
            let template = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(200));
            Self::Bar(bar)
        } else if output.json {
            Self::Silent
        } else {
            Self::Lines {
                last: Instant::now(),
            }
        }
    }

    pub(super) fn show(&mut self, job: &JobDocument) {
        match self {
            Self::Silent => {}
            Self::Bar(bar) => {
                if job.bytes_total > 0 {
                    bar.set_length(job.bytes_total);
                }
                bar.set_position(job.bytes_transferred);
                bar.set_message(sources(job));
            }
            Self::Lines { last } => {
                if last.elapsed() >= LINE_EVERY {
                    *last = Instant::now();
                    eprintln!(
                        "{} of {}: {}",
                        show_size(job.bytes_transferred),
                        show_size(job.bytes_total),
                        sources(job)
                    );
                }
            }
        }
    }

    /// Says that it stumbled and is tried again.
    pub(super) fn note(&mut self, job: &JobDocument) {
        let Some(error) = &job.error else { return };
        let text = format!("{}; trying again", error.message);
        match self {
            Self::Silent => {}
            Self::Bar(bar) => bar.println(text),
            Self::Lines { .. } => eprintln!("{text}"),
        }
    }

    pub(super) fn clear(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// The last line: how much, how long, from where.
pub(super) fn summary(job: &JobDocument, took: Duration) -> String {
    let what = match job.files.as_slice() {
        [file] => file.path.clone(),
        files => format!("{} files", files.len()),
    };
    let seconds = took.as_secs_f64();
    let rate = if seconds > 0.0 {
        (job.bytes_total as f64 / seconds) as u64
    } else {
        job.bytes_total
    };
    let swarm = job.swarm.as_ref().map_or_else(String::new, |counts| {
        format!("; with {}", job_view::swarm(counts))
    });
    format!(
        "{what}: {} in {seconds:.1} s, {}/s: {}{swarm}",
        show_size(job.bytes_total),
        show_size(rate),
        sources(job)
    )
}

fn sources(job: &JobDocument) -> String {
    let from = job.accounting;
    format!(
        "{} from peers, {} from the origin, {} from the cache",
        show_size(from.peers),
        show_size(from.origin),
        show_size(from.cache)
    )
}
