//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const STEP: Duration = Duration::from_millis(10);

/// Asks again and again until there is an answer, for `limit` at most. `what`
/// completes the sentence "waited in vain for …".
pub fn until<T>(
    limit: Duration,
    what: &str,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if start.elapsed() >= limit {
            bail!("waited in vain for {what}, {limit:?}");
        }
        std::thread::sleep(STEP);
    }
}

/// As [`until`], for something that is so or is not.
pub fn poll(limit: Duration, what: &str, mut ask: impl FnMut() -> Result<bool>) -> Result<()> {
    until(limit, what, || Ok(ask()?.then_some(())))
}
