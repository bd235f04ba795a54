//! What a running program costs the machine, as its kernel counted it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// Taken from `/proc` at one moment; two of them tell what was spent in between.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Time on a processor, all threads together.
    pub cpu: Duration,
    /// Times a thread woke up and ran, all threads together.
    pub wakeups: u64,
    /// Resident memory in bytes, now.
    pub resident: u64,
}

impl Cost {
    /// What process `pid` has cost so far. Threads that have ended count for the
    /// processor, not for the wake-ups.
    pub fn of(pid: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name in brackets may hold anything; what follows it does not.
        let rest = stat.rsplit_once(')').context("a name in brackets")?.1;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number =
            |index: usize| -> Result<u64> { Ok(fields.get(index).context("stat")?.parse()?) };
        let ticks = number(11)? + number(12)?;
        let per_second = rustix::param::clock_ticks_per_second();
        let mut wakeups = 0;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let Ok(status) = fs::read_to_string(task?.path().join("status")) else {
                continue;
            };
            wakeups += field(&status, "voluntary_ctxt_switches:").unwrap_or(0);
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let resident = field(&status, "VmRSS:").context("VmRSS")? * 1024;
        Ok(Self {
            cpu: Duration::from_secs_f64(ticks as f64 / per_second as f64),
            wakeups,
            resident,
        })
    }

    /// What was spent since `earlier`; the memory is today's.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            wakeups: self.wakeups.saturating_sub(earlier.wakeups),
            resident: self.resident,
        }
    }
}

/// Processor time of the children of this process that have ended.
pub fn children_cpu() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let rest = stat.rsplit_once(')').context("a name in brackets")?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| -> Result<u64> { Ok(fields.get(index).context("stat")?.parse()?) };
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_secs_f64(
        (number(13)? + number(14)?) as f64 / per_second as f64,
    ))
}

/// Most memory in bytes that process `pid` had at once, since it began or since
/// [`forget_peak`].
pub fn peak_memory(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(field(&status, "VmHWM:").context("VmHWM")? * 1024)
}

/// Lets the peak of a process begin anew with what it has now.
pub fn forget_peak(pid: u32) -> Result<()> {
    // What `5` means to this file: proc_pid_clear_refs(5).
    fs::write(format!("/proc/{pid}/clear_refs"), "5").context("forgetting a peak")
}

fn field(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}
