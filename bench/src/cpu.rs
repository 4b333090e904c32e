//! How much CPU and memory a process has taken, from `/proc`.

use std::fs;

use anyhow::Context;

/// CPU time of all the threads that the process has now, in nanoseconds.
///
/// The scheduler's own figure is used where the kernel offers it: at 10,000 requests/s for three
/// seconds the clock ticks of `/proc/PID/stat` (10 ms) would be wrong by several percent.
pub fn cpu_ns(pid: u32) -> anyhow::Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).with_context(|| gone(pid))? {
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else {
            return ticks_ns(pid);
        };
        sum += first_number(&text).with_context(|| format!("odd schedstat: {text}"))?;
    }
    if sum == 0 { ticks_ns(pid) } else { Ok(sum) }
}

/// The share of the process's CPU time that was spent outside the kernel, and the whole time, in
/// clock ticks.
pub fn user_and_total_ticks(pid: u32) -> anyhow::Result<(u64, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| gone(pid))?;
    let (user, system) = ticks(&stat).with_context(|| format!("odd stat: {stat}"))?;
    Ok((user, user + system))
}

/// Resident memory of a process in bytes.
pub fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| gone(pid))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib = line
        .and_then(first_number)
        .context("no VmRSS in /proc/PID/status")?;
    Ok(kib * 1024)
}

fn ticks_ns(pid: u32) -> anyhow::Result<u64> {
    let (_, total) = user_and_total_ticks(pid)?;
    Ok(total * (1_000_000_000 / TICKS_PER_SECOND))
}

/// Fields 14 and 15 (proc_pid_stat(5)); the name in field 2 may itself hold spaces and brackets.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn first_number(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

fn gone(pid: u32) -> String {
    format!("process {pid} is gone")
}

/// `USER_HZ`, which Linux has kept at 100 for its interfaces on every common architecture.
const TICKS_PER_SECOND: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_brackets_do_not_shift_the_fields() {
        let stat = "12 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1";
        assert_eq!(ticks(stat), Some((250, 50)));
        assert_eq!(ticks("12 (a) S"), None);
    }

    #[test]
    fn this_process_has_memory_and_its_clock_does_not_go_back() {
        let pid = std::process::id();
        let before = cpu_ns(pid).expect("own process");
        assert!(resident_bytes(pid).expect("own process") > 100_000);
        assert!(cpu_ns(pid).expect("own process") >= before);
    }
}
