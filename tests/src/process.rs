//! A proxy under test: started with a file, ready when it says so, ended with
//! its owner.

use crate::admin::Admin;
use crate::programs::{self, Driver};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Long enough for a debug build on a busy machine.
const START_MAX: Duration = Duration::from_secs(60);

/// Envoy lists all its extensions first; the reason comes last.
const LAST_WORDS_BYTES: usize = 3000;

/// Which program.
#[derive(Clone, Debug)]
pub enum Program {
    /// Ours, on one of its drivers.
    Ringway(Driver),
    /// The real Envoy, at this path.
    Envoy(PathBuf),
}

/// Envoy, if it is there, and then Ringway on each driver that works here.
/// `test` is the name of the test, for the message where it is not.
pub fn all_programs(test: &str) -> Vec<Program> {
    let envoy = programs::envoy(test).map(Program::Envoy);
    let ours = programs::drivers().into_iter().map(Program::Ringway);
    envoy.into_iter().chain(ours).collect()
}

/// [`all_programs`] of a test that compares: none where there is no Envoy.
pub fn compared_programs(test: &str) -> Option<Vec<Program>> {
    let all = all_programs(test);
    matches!(all.first(), Some(Program::Envoy(_))).then_some(all)
}

/// Runs a test on each driver that works here.
pub fn each_driver(test: impl Fn(&Program)) {
    for driver in programs::drivers() {
        test(&Program::Ringway(driver));
    }
}

impl Program {
    /// For messages.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Program::Ringway(driver) => format!("ringway on {}", driver.name()),
            Program::Envoy(_) => "envoy".to_owned(),
        }
    }

    /// The command with what every test wants: access logs flushed at once.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = match self {
            Program::Ringway(driver) => {
                let mut command = Command::new(programs::ringway());
                command.args(["--io-driver", driver.name()]);
                // So that the resident size is what is used, not what huge pages it
                // lies in.
                command.env("MIMALLOC_ALLOW_THP", "0");
                command
            }
            Program::Envoy(path) => {
                let mut command = Command::new(path);
                command.arg("--disable-hot-restart");
                command
            }
        };
        command.args(["--file-flush-interval-msec", "20"]);
        command
    }
}

/// A running proxy.
pub struct Process {
    child: Child,
    name: String,
    folder: TempDir,
    admin: Option<Admin>,
}

/// The name of the configuration file in a process's folder.
pub const CONFIGURATION: &str = "bootstrap.yaml";

impl Process {
    /// Starts `program` with `configuration` and waits until it is ready.
    /// `{DIR}` in the text becomes the process's own folder. The configuration
    /// must have an admin server on port 0. There is one worker, so that pools
    /// and round robin are predictable.
    ///
    /// # Panics
    /// When it does not become ready; with what it wrote.
    #[must_use]
    pub fn start(program: &Program, configuration: &str) -> Process {
        Process::start_with(program, configuration, &["--concurrency", "1"])
    }

    /// [`Process::start`] with other flags.
    ///
    /// # Panics
    /// When it does not become ready; with what it wrote.
    #[must_use]
    pub fn start_with(program: &Program, configuration: &str, flags: &[&str]) -> Process {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join(CONFIGURATION);
        let text = configuration.replace("{DIR}", &folder.path().to_string_lossy());
        std::fs::write(&file, text).expect("the configuration can be written");
        let admin_file = folder.path().join("admin-address");
        let mut command = program.command();
        command.arg("-c").arg(&file);
        command.arg("--admin-address-path").arg(&admin_file);
        command.args(flags);
        let child = spawn(&mut command, folder.path());
        let mut process = Process {
            child,
            name: program.name(),
            folder,
            admin: None,
        };
        process.await_ready(&admin_file);
        process
    }

    fn await_ready(&mut self, admin_file: &Path) {
        let deadline = Instant::now() + START_MAX;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be asked") {
                panic!("{} ended with {status}:\n{}", self.name, self.last_words());
            }
            if self.admin.is_none() {
                let address = std::fs::read_to_string(admin_file).unwrap_or_default();
                self.admin = address.trim().parse().ok().map(Admin::new);
            }
            if let Some(admin) = &self.admin
                && admin
                    .try_get("/ready")
                    .is_ok_and(|answer| answer.status() == 200)
            {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{} is not ready after {START_MAX:?}:\n{}",
                self.name,
                self.last_words()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its admin server.
    ///
    /// # Panics
    /// Never after [`Process::start`].
    #[must_use]
    pub fn admin(&self) -> &Admin {
        self.admin
            .as_ref()
            .expect("a started process has an admin address")
    }

    /// Where the listener `name` really listens.
    ///
    /// # Panics
    /// When there is no such listener.
    #[must_use]
    pub fn listener(&self, name: &str) -> SocketAddr {
        let listeners = self.admin().get("/listeners").text();
        listeners
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix("::")?.parse().ok())
            .unwrap_or_else(|| panic!("no listener {name} in:\n{listeners}"))
    }

    /// Its own folder: `{DIR}` of the configuration.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// "ringway on epoll", "envoy".
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard error.
    #[must_use]
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }

    /// The last of what it has written to standard error: why it ended.
    fn last_words(&self) -> String {
        let text = self.stderr();
        let start = text.len().saturating_sub(LAST_WORDS_BYTES);
        text.get(start..).unwrap_or(&text).to_owned()
    }

    /// What it has written to standard output.
    #[must_use]
    pub fn stdout(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stdout")).unwrap_or_default()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        // SAFETY: plain system call; the child has not been waited for, so the
        // pid is its own.
        unsafe { libc::kill(pid, signal) };
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it has not ended after `max`.
    pub fn wait(&mut self, max: Duration) -> ExitStatus {
        let deadline = Instant::now() + max;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be asked") {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "{} has not ended after {max:?}:\n{}",
                self.name,
                self.stderr()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// When the child cannot be asked.
    pub fn is_running(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("the child can be asked")
            .is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a command whose output goes to files in `folder` and that ends when
/// this thread does.
fn spawn(command: &mut Command, folder: &Path) -> Child {
    let file =
        |name: &str| std::fs::File::create(folder.join(name)).expect("an output file can be made");
    end_with_parent(command);
    command
        .stdin(Stdio::null())
        .stdout(file("stdout"))
        .stderr(file("stderr"))
        .current_dir(folder)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// A test that is killed must leave no proxy behind.
pub fn end_with_parent(command: &mut Command) {
    // SAFETY: only an async-signal-safe system call between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
}
