//! Standard output: JSON for scripts, tables for people.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::args::Global;
use super::failure::Failure;

/// How a command talks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    pub(super) json: bool,
    pub(super) quiet: bool,
    /// Standard error, where progress goes, is a terminal.
    pub(super) live: bool,
}

impl Output {
    pub(super) fn new(global: &Global) -> Self {
        Self {
            json: global.json,
            quiet: global.quiet,
            live: io::stderr().is_terminal(),
        }
    }

    /// One JSON document.
    pub(super) fn json(&self, document: &impl Serialize) -> Result<(), Failure> {
        let mut text = serde_json::to_string_pretty(document).map_err(io::Error::from)?;
        text.push('\n');
        self.raw(text.as_bytes())
    }

    /// One JSON object on a line of its own.
    pub(super) fn json_line(&self, document: &impl Serialize) -> Result<(), Failure> {
        let mut text = serde_json::to_string(document).map_err(io::Error::from)?;
        text.push('\n');
        self.raw(text.as_bytes())
    }

    /// One line for people.
    pub(super) fn line(&self, text: &str) -> Result<(), Failure> {
        self.raw(format!("{text}\n").as_bytes())
    }

    /// Something nice to know, on standard error.
    pub(super) fn hint(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// Bytes as they are.
    pub(super) fn raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()?;
        Ok(())
    }

    /// Columns under headings; numbers are for the caller to write out.
    pub(super) fn table(&self, headings: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
        let widths: Vec<usize> = (0..headings.len())
            .map(|column| {
                let cells = rows.iter().map(|row| row[column].chars().count());
                cells.chain([headings[column].len()]).max().unwrap_or(0)
            })
            .collect();
        let headings: Vec<String> = headings.iter().map(|text| text.to_uppercase()).collect();
        let mut text = String::new();
        for row in std::iter::once(&headings).chain(rows) {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            text.push_str(cells.join("  ").trim_end());
            text.push('\n');
        }
        self.raw(text.as_bytes())
    }
}
