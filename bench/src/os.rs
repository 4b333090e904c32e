//! The few system calls that the standard library lacks. All of the tool's `unsafe` is here and
//! in [`crate::epoll`].

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Context;

/// Pins the calling thread to one core.
pub fn pin(core: usize) -> anyhow::Result<()> {
    anyhow::ensure!(
        core_affinity::set_for_current(core_affinity::CoreId { id: core }),
        "cannot pin to core {core}: is it online and in this process's CPU mask?"
    );
    Ok(())
}

/// Raises the soft limit of open files to at least `wanted` where that is allowed, and returns
/// the limit that is in force afterwards.
pub fn raise_open_files(wanted: u64) -> anyhow::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a live, writable struct of the type that the call fills in.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })
        .context("reading RLIMIT_NOFILE")?;
    if limit.rlim_cur >= wanted {
        return Ok(limit.rlim_cur);
    }
    // A privileged process may lift its hard limit too; any other one settles for that limit.
    for hard in [wanted.max(limit.rlim_max), limit.rlim_max] {
        let raised = libc::rlimit {
            rlim_cur: hard,
            rlim_max: hard,
        };
        // SAFETY: the pointer is to a live struct that the call only reads.
        if check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) }).is_ok() {
            return Ok(hard);
        }
    }
    Ok(limit.rlim_cur)
}

/// Lets timers of this thread fire on time instead of up to 50 µs late, which is the kernel's
/// default slack and would be counted as latency of the server.
pub fn precise_timers() {
    // SAFETY: this option takes its argument by value and touches no memory of ours.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_usize, 0, 0, 0) };
}

/// Lets everybody else on the core run first: this thread and those that it starts.
pub fn give_way() -> anyhow::Result<()> {
    const LEAST: libc::c_int = 19;
    // SAFETY: this call takes its arguments by value and touches no memory of ours.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, LEAST) })
        .context("asking for the least priority")?;
    Ok(())
}

/// Makes the command's process start on `core` and be killed when the thread that started it
/// ends, however it ends.
pub fn pin_and_tie(command: &mut Command, core: Option<usize>) {
    let parent = std::process::id();
    let prepare = move || {
        // SAFETY: this option takes its argument by value and touches no memory of ours.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) })?;
        if std::os::unix::process::parent_id() != parent {
            // The parent died before the signal was asked for, so nobody would ever send it.
            return Err(io::Error::from(io::ErrorKind::Interrupted));
        }
        match core {
            Some(core) if !core_affinity::set_for_current(core_affinity::CoreId { id: core }) => {
                Err(io::Error::last_os_error())
            }
            _ => Ok(()),
        }
    };
    // SAFETY: between fork and exec only system calls are made: nothing is allocated and no lock
    // is taken, so it does not matter what the parent's other threads held at the fork.
    unsafe { command.pre_exec(prepare) };
}

/// Nanoseconds on the monotonic clock, which is the one that [`crate::epoll`] sleeps on.
pub fn now_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live, writable struct; this clock cannot fail on Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// Turns the -1 of a system call into its error.
pub fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
