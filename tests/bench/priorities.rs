//! Draws how four jobs of different priorities share a line: MiB per second of each over
//! time, as they crossed the links of their origins. Prints the picture that is
//! `docs/jobs.svg`; not run by `tests/bench/run`, as it measures nothing.
//!
//!     cargo bench -p potluck-tests --bench priorities > docs/jobs.svg

use std::fmt::Write as _;

use anyhow::Result;
use potluck_tests::{CONTESTANTS, Contest, Lab};

/// Seconds that one point of a curve stands for.
const STEP: f64 = 0.25;
const MIB: f64 = (1 << 20) as f64;
/// Measures of the picture, in pixels.
const WIDTH: f64 = 760.0;
const LEFT: f64 = 96.0;
const TOP: f64 = 12.0;
const ROW: f64 = 72.0;
/// The top of a row, in MiB per second.
const FULL: f64 = 6.0;
const COLOURS: [&str; 4] = ["#4477aa", "#228833", "#ccbb44", "#ee6677"];

fn main() -> Result<()> {
    let lab = Lab::with_namespaces()?;
    let seen = Contest::run(&lab)?;
    print!("{}", draw(&seen)?);
    Ok(())
}

fn draw(seen: &Contest) -> Result<String> {
    let end = seen.samples.last().map_or(1.0, |(at, _)| at.as_secs_f64());
    let x = |seconds: f64| LEFT + (WIDTH - LEFT - 12.0) * seconds / end;
    let height = TOP + ROW * 4.0 + 40.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (job, name) in CONTESTANTS.iter().enumerate() {
        let base = TOP + ROW * (job as f64 + 1.0) - 8.0;
        let y = |rate: f64| base - (ROW - 16.0) * (rate / FULL).min(1.0);
        let mut points = format!("{:.1},{base:.1}", x(0.0));
        let mut at = 0.0;
        while at < end {
            let rate = (bytes(seen, job, at + STEP) - bytes(seen, job, at)) / STEP / MIB;
            write!(points, " {:.1},{:.1}", x(at), y(rate))?;
            at += STEP;
            write!(points, " {:.1},{:.1}", x(at.min(end)), y(rate))?;
        }
        write!(points, " {:.1},{base:.1}", x(end))?;
        let colour = COLOURS[job];
        writeln!(
            svg,
            "<polygon points=\"{points}\" fill=\"{colour}\" fill-opacity=\"0.6\"/>\n\
             <line x1=\"{LEFT}\" y1=\"{base}\" x2=\"{:.1}\" y2=\"{base}\" stroke=\"#888\"/>\n\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>\n\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#888\">4 MiB/s</text>\n\
             <line x1=\"{}\" y1=\"{:.1}\" x2=\"{LEFT}\" y2=\"{:.1}\" stroke=\"#888\"/>",
            x(end),
            LEFT - 8.0,
            base - 2.0,
            LEFT - 8.0,
            y(4.0) + 4.0,
            LEFT - 4.0,
            y(4.0),
            y(4.0)
        )?;
        for (what, sample) in [("made", seen.made[job]), ("in its place", seen.over[job])] {
            let at = x(seen.samples[sample].0.as_secs_f64());
            let anchor = if what == "made" { "start" } else { "end" };
            writeln!(
                svg,
                "<line x1=\"{at:.1}\" y1=\"{base}\" x2=\"{at:.1}\" y2=\"{:.1}\" stroke=\"black\" \
                 stroke-dasharray=\"2 2\"/>\n<text x=\"{at:.1}\" y=\"{:.1}\" font-size=\"9\" \
                 text-anchor=\"{anchor}\">{what}</text>",
                base - ROW + 20.0,
                base - ROW + 18.0
            )?;
        }
    }
    let bottom = TOP + ROW * 4.0 + 8.0;
    for second in (0..=end as u32).step_by(2) {
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{bottom}\" text-anchor=\"middle\">{second} s</text>",
            x(f64::from(second))
        )?;
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

/// Bytes that a job had got by then; between two samples, by the straight line.
fn bytes(seen: &Contest, job: usize, seconds: f64) -> f64 {
    let mut before = (0.0, 0.0);
    for (at, sent) in &seen.samples {
        let after = (at.as_secs_f64(), sent[job] as f64);
        if after.0 >= seconds {
            let part = (seconds - before.0) / (after.0 - before.0).max(1e-9);
            return before.1 + (after.1 - before.1) * part;
        }
        before = after;
    }
    before.1
}
