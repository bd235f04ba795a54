//! The demo's picture: where each node's bytes come from, as they come.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use potluck_plan::SwarmCounts;

/// Cells of a bar.
const WIDTH: usize = 40;
const MIB: f64 = 1024.0 * 1024.0;

/// One node in the picture. All numbers are bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    /// What the node is called.
    pub(crate) name: String,
    /// The size of the file.
    pub(crate) size: u64,
    /// What came from the origin.
    pub(crate) from_origin: u64,
    /// What came from peers.
    pub(crate) from_peers: u64,
    /// How it goes with the swarm.
    pub(crate) swarm: SwarmCounts,
    /// Whether the file is whole, checked and in its place.
    pub(crate) done: bool,
}

/// Draws the shares again and again: in place on a terminal, as lines elsewhere.
pub(crate) struct Picture {
    terminal: bool,
    lines: usize,
    last: Vec<Share>,
}

impl Picture {
    /// A picture on standard output.
    pub(crate) fn new() -> Self {
        Self {
            terminal: io::stdout().is_terminal(),
            lines: 0,
            last: Vec::new(),
        }
    }

    /// Says something that stays.
    ///
    /// # Errors
    /// When standard output is closed.
    pub(crate) fn say(&mut self, text: &str) -> io::Result<()> {
        self.lines = 0;
        writeln!(io::stdout(), "{text}")
    }

    /// Shows how things are now.
    ///
    /// # Errors
    /// When standard output is closed.
    pub(crate) fn draw(&mut self, shares: &[Share]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.terminal {
            let mut text = String::new();
            if self.lines > 0 {
                let _ = write!(text, "\x1b[{}A", self.lines);
            }
            for share in shares {
                let _ = writeln!(text, "\x1b[2K{}", line(share));
            }
            out.write_all(text.as_bytes())?;
            self.lines = shares.len();
        } else {
            for (place, share) in shares.iter().enumerate() {
                if self.last.get(place) != Some(share) {
                    writeln!(out, "{}", line(share))?;
                }
            }
            self.last = shares.to_vec();
        }
        out.flush()
    }

    /// Whether the picture is redrawn in place, so that drawing often is no noise.
    pub(crate) const fn is_live(&self) -> bool {
        self.terminal
    }
}

/// One line: `o` stands for bytes from the origin, `p` for bytes from peers.
fn line(share: &Share) -> String {
    let cells = |bytes: u64| {
        let cells = u128::from(bytes) * WIDTH as u128 / u128::from(share.size.max(1));
        usize::try_from(cells).unwrap_or(WIDTH).min(WIDTH)
    };
    let (origin, both) = (
        cells(share.from_origin),
        cells(share.from_origin + share.from_peers),
    );
    let bar: String = (0..WIDTH)
        .map(|cell| {
            if cell < origin {
                'o'
            } else if cell < both {
                'p'
            } else {
                '.'
            }
        })
        .collect();
    format!(
        "  {:<6} [{bar}] {:>5.1} MiB from the origin, {:>5.1} MiB from peers{}{}",
        share.name,
        mib(share.from_origin),
        mib(share.from_peers),
        besides(&share.swarm),
        if share.done { "  done" } else { "" },
    )
}

/// What there was besides, if anything: claims taken over, audits, liars.
fn besides(swarm: &SwarmCounts) -> String {
    let parts = [
        (swarm.taken_over, "taken over"),
        (swarm.audited_pieces, "audited"),
        (swarm.exposed, "exposed"),
    ];
    let parts = parts.iter().filter(|(number, _)| *number > 0);
    parts
        .map(|(number, what)| format!(", {number} {what}"))
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_both_sources() {
        let share = Share {
            name: "oslo".into(),
            size: 64 << 20,
            from_origin: 16 << 20,
            from_peers: 32 << 20,
            swarm: SwarmCounts::default(),
            done: false,
        };
        let bar = format!("{}{}{}", "o".repeat(10), "p".repeat(20), ".".repeat(10));
        assert_eq!(
            line(&share),
            format!("  oslo   [{bar}]  16.0 MiB from the origin,  32.0 MiB from peers")
        );
        let swarm = SwarmCounts {
            members: 3,
            taken_over: 2,
            audited_pieces: 1,
            ..SwarmCounts::default()
        };
        let busy = line(&Share {
            swarm,
            done: true,
            ..share.clone()
        });
        assert!(busy.ends_with("MiB from peers, 2 taken over, 1 audited  done"));
        assert!(line(&Share { size: 0, ..share }).contains("oslo"));
    }
}
