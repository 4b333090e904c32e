//! The clocks of a run: how long it took, and whose CPU it cost.

use super::report::WatchedCpu;
use crate::cpu;
use crate::os::now_ns;

/// Reads the clocks at the start and at the end of what is measured.
pub struct Meter {
    pid: Option<u32>,
    /// When the measured part began, on the monotonic clock, in nanoseconds.
    pub from: u64,
    own: u64,
    watched: Option<(u64, (u64, u64))>,
}

impl Meter {
    /// One that also watches the process with this id.
    pub fn new(pid: Option<u32>) -> Self {
        Self {
            pid,
            from: 0,
            own: 0,
            watched: None,
        }
    }

    /// Begins the measured part.
    pub fn start(&mut self) -> anyhow::Result<()> {
        self.own = cpu::cpu_ns(std::process::id())?;
        self.watched = self.watch()?;
        self.from = now_ns();
        Ok(())
    }

    /// Its length in seconds, the CPU of the watched process, and this one's in seconds.
    pub fn stop(&self) -> anyhow::Result<(f64, Option<WatchedCpu>, f64)> {
        let seconds = (now_ns() - self.from) as f64 / 1e9;
        let watched = match (self.watched, self.watch()?) {
            (Some((before, (user_before, all_before))), Some((after, (user, all)))) => {
                Some(WatchedCpu {
                    seconds: after.saturating_sub(before) as f64 / 1e9,
                    user_share: (user - user_before) as f64 / (all - all_before).max(1) as f64,
                })
            }
            _ => None,
        };
        let own = cpu::cpu_ns(std::process::id())? - self.own;
        Ok((seconds, watched, own as f64 / 1e9))
    }

    fn watch(&self) -> anyhow::Result<Option<(u64, (u64, u64))>> {
        let Some(pid) = self.pid else { return Ok(None) };
        Ok(Some((cpu::cpu_ns(pid)?, cpu::user_and_total_ticks(pid)?)))
    }
}
