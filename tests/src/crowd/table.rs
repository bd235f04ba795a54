//! Outcomes as a table for people.

use std::fmt;
use std::time::Duration;

use super::Outcome;

const MIB: f64 = (1 << 20) as f64;

/// Two tables, of what came of it and of what it took. One row for each system and crowd;
/// each cell is the median of the runs, and the least and the most where they differ.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    hosts: String,
    system: String,
    outcomes: Vec<Outcome>,
    failed: usize,
}

impl Table {
    /// Adds a run, or that it failed, to the row of these hosts and this system.
    pub fn add(&mut self, hosts: &str, system: &str, outcome: Option<Outcome>) {
        let at = self
            .rows
            .iter()
            .position(|row| row.hosts == hosts && row.system == system);
        let at = at.unwrap_or_else(|| {
            self.rows.push(Row {
                hosts: hosts.to_owned(),
                system: system.to_owned(),
                outcomes: Vec::new(),
                failed: 0,
            });
            self.rows.len() - 1
        });
        match outcome {
            Some(outcome) => self.rows[at].outcomes.push(outcome),
            None => self.rows[at].failed += 1,
        }
    }
}

impl Row {
    fn figures(&self) -> [String; FIGURES.len()] {
        let runs = match self.failed {
            0 => self.outcomes.len().to_string(),
            failed => format!("{}, {failed} failed", self.outcomes.len()),
        };
        [
            self.hosts.clone(),
            self.system.clone(),
            runs,
            self.cell(3, |outcome| Some(outcome.copies)),
            self.cell(3, |outcome| Some(outcome.body_copies)),
            self.seconds(|outcome| Some(outcome.last())),
            self.seconds(|outcome| Some(outcome.median())),
            self.seconds(|outcome| Some(outcome.bound)),
            self.cell(2, |outcome| Some(outcome.times_bound())),
            self.seconds(|outcome| outcome.apart.last().copied()),
        ]
    }

    fn price(&self) -> [String; PRICE.len()] {
        [
            self.hosts.clone(),
            self.system.clone(),
            self.cell(2, |outcome| Some(outcome.cpu_per_gib)),
            self.cell(0, |outcome| Some(outcome.memory? as f64 / MIB)),
            self.from(|sources| sources.peers),
            self.from(|sources| sources.origin),
            self.from(|sources| sources.discarded),
        ]
    }

    fn cell(&self, digits: usize, of: impl Fn(&Outcome) -> Option<f64>) -> String {
        let mut values: Vec<f64> = self.outcomes.iter().filter_map(of).collect();
        values.sort_by(f64::total_cmp);
        let Some((least, most)) = values.first().zip(values.last()) else {
            return "–".to_owned();
        };
        let middle = format!("{:.digits$}", values[values.len() / 2]);
        let (least, most) = (format!("{least:.digits$}"), format!("{most:.digits$}"));
        if least == most {
            middle
        } else {
            format!("{middle} ({least}..{most})")
        }
    }

    fn seconds(&self, of: impl Fn(&Outcome) -> Option<Duration>) -> String {
        self.cell(1, |outcome| Some(of(outcome)?.as_secs_f64()))
    }

    fn from(&self, of: impl Fn(&super::Sources) -> u64) -> String {
        self.cell(0, |outcome| Some(of(&outcome.sources?) as f64 / MIB))
    }
}

const FIGURES: [&str; 10] = [
    "hosts",
    "system",
    "runs",
    "copies on the wire",
    "copies in the log",
    "last finish, s",
    "median finish, s",
    "bound, s",
    "last / bound",
    "apart, s",
];
const PRICE: [&str; 7] = [
    "hosts",
    "system",
    "cpu s/GiB",
    "peak MiB",
    "MiB from peers",
    "from the origin",
    "discarded",
];

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        head(f, &FIGURES)?;
        for row in &self.rows {
            writeln!(f, "| {} |", row.figures().join(" | "))?;
        }
        writeln!(f)?;
        head(f, &PRICE)?;
        for row in &self.rows {
            writeln!(f, "| {} |", row.price().join(" | "))?;
        }
        Ok(())
    }
}

fn head(f: &mut fmt::Formatter<'_>, columns: &[&str]) -> fmt::Result {
    let numbers = "---:|".repeat(columns.len() - 2);
    writeln!(f, "| {} |\n|---:|---|{numbers}", columns.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(copies: f64) -> Outcome {
        Outcome {
            copies,
            body_copies: copies,
            body_bytes: 0,
            finishes: vec![Duration::from_secs(7), Duration::from_secs(14)],
            apart: Vec::new(),
            bound: Duration::from_secs(7),
            cpu_per_gib: 1.5,
            memory: None,
            sources: None,
        }
    }

    #[test]
    fn a_row_has_the_median_and_the_spread() {
        let mut table = Table::default();
        for copies in [1.5, 1.0, 1.25] {
            table.add("8", "x", Some(outcome(copies)));
        }
        table.add("8", "x", None);
        let text = table.to_string();
        let rows: Vec<&str> = text.lines().collect();
        let figures = "| 8 | x | 3, 1 failed | 1.250 (1.000..1.500) | 1.250 (1.000..1.500) | \
            14.0 | 7.0 | 7.0 | 2.00 | – |";
        assert_eq!(rows[2], figures);
        assert_eq!(rows[6], "| 8 | x | 1.50 | – | – | – | – |");
    }
}
