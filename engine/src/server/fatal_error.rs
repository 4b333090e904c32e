//! What becomes of the process when a worker panics, which is always a mistake of ours:
//! it ends, as Envoy does at a fatal error, so that whoever watches it starts it again.
//! A process that went on would answer `/ready` and leave connections to nobody.

use std::panic;
use std::process;
use std::thread;

use crate::worker::THREAD_PREFIX;

/// Ends the process behind the message of a panic on a worker's thread. Panics of other
/// threads stay theirs.
pub fn install() {
    let told = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        told(panic);
        let thread = thread::current();
        if thread
            .name()
            .is_some_and(|name| name.starts_with(THREAD_PREFIX))
        {
            process::abort();
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Command, Output};

    use super::*;

    /// Names the thread that panics in the process that a test starts.
    const THREAD: &str = "RINGWAY_TEST_PANIC_OF";

    /// This test in a process of its own, where a thread with that name panics.
    fn panics(thread: &str) -> Output {
        let path = module_path!().split_once("::").map(|(_, path)| path);
        let name = format!("{}::a_worker_ends_the_process", path.unwrap_or_default());
        Command::new(std::env::current_exe().unwrap())
            .args([name.as_str(), "--exact", "--nocapture"])
            .env(THREAD, thread)
            .output()
            .unwrap()
    }

    #[test]
    fn a_worker_ends_the_process() {
        if let Ok(name) = std::env::var(THREAD) {
            install();
            let thread = thread::Builder::new().name(name);
            let ended = thread.spawn(|| panic!("a mistake of ours")).unwrap().join();
            assert!(ended.is_err());
            return;
        }
        let worker = panics(&format!("{THREAD_PREFIX}0"));
        let said = String::from_utf8_lossy(&worker.stderr);
        assert!(said.contains("a mistake of ours"), "{said}");
        assert_eq!(worker.status.signal(), Some(libc::SIGABRT), "{said}");
        assert!(panics("control").status.success());
    }
}
