//! Where the programs under test are.
//!
//! Ringway is always there: it is built when it is missing. Anything else may
//! be absent on a developer's machine, and then the test that wants it says so
//! and passes, unless `RINGWAY_REQUIRE_PEERS=1` makes absence a failure (CI).

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The two ways in which Ringway talks to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// `--io-driver io_uring`
    IoUring,
    /// `--io-driver epoll`
    Epoll,
}

impl Driver {
    /// The flag's value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Driver::IoUring => "io_uring",
            Driver::Epoll => "epoll",
        }
    }
}

/// The drivers that this kernel allows; says aloud which one is missing.
///
/// # Panics
/// When io_uring is not allowed and `RINGWAY_REQUIRE_PEERS=1`.
#[must_use]
pub fn drivers() -> Vec<Driver> {
    if io_uring_works() {
        return vec![Driver::IoUring, Driver::Epoll];
    }
    absent("the io_uring driver", "io_uring in this kernel");
    vec![Driver::Epoll]
}

/// Whether the kernel has io_uring and this process may use it: container
/// runtimes' seccomp profiles often forbid it.
fn io_uring_works() -> bool {
    let mut parameters = [0_u8; 120];
    // SAFETY: `io_uring_setup` writes `struct io_uring_params`, 120 bytes that
    // must be zero before, into a buffer of that size that we own.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, parameters.as_mut_ptr()) };
    if fd < 0 {
        return false;
    }
    // SAFETY: the call above gave us this descriptor; nobody else knows it.
    unsafe { libc::close(fd as i32) };
    true
}

/// The `ringway` binary: `RINGWAY_BIN`, or the one beside this test's own
/// executable, which is built when it is missing.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn ringway() -> PathBuf {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(find_ringway).clone()
}

fn find_ringway() -> PathBuf {
    if let Some(path) = std::env::var_os("RINGWAY_BIN") {
        return path.into();
    }
    // target/PROFILE/deps/TEST-HASH is this executable.
    let own = std::env::current_exe().expect("the test knows its own path");
    let profile = own.parent().and_then(Path::parent).expect("cargo's layout");
    let binary = profile.join("ringway");
    if !binary.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "-p", "ringway", "--bin", "ringway"]);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        let status = build
            .current_dir(workspace())
            .status()
            .expect("cargo can be run");
        assert!(status.success(), "ringway does not build");
    }
    binary
}

/// The folder of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.parent()
        .expect("tests/ is in the workspace")
        .to_path_buf()
}

/// The real Envoy: `RINGWAY_ENVOY`, `.peers/bin/envoy`, or from `PATH`.
/// `None`, said aloud, when there is none.
///
/// # Panics
/// When there is none and `RINGWAY_REQUIRE_PEERS=1`.
#[must_use]
pub fn envoy(test: &str) -> Option<PathBuf> {
    let found = std::env::var_os("RINGWAY_ENVOY")
        .map(PathBuf::from)
        .or_else(|| Some(workspace().join(".peers/bin/envoy")).filter(|path| path.exists()))
        .or_else(|| on_path("envoy"));
    if found.is_none() {
        absent(test, "envoy");
    }
    found
}

/// An optional program from `PATH`. `None`, said aloud, when there is none.
///
/// # Panics
/// When there is none and `RINGWAY_REQUIRE_PEERS=1`.
#[must_use]
pub fn optional(test: &str, program: &str) -> Option<PathBuf> {
    let found = on_path(program);
    if found.is_none() {
        absent(test, program);
    }
    found
}

/// A Python that has `module`: that of `.peers`, or from `PATH`. `None`, said
/// aloud, when there is none.
///
/// # Panics
/// When there is none and `RINGWAY_REQUIRE_PEERS=1`.
#[must_use]
pub fn python_with(test: &str, module: &str) -> Option<PathBuf> {
    let own = Some(workspace().join(".peers/bin/python3"));
    let found = [own, on_path("python3")]
        .into_iter()
        .flatten()
        .find(|python| {
            let import = Command::new(python)
                .args(["-c", &format!("import {module}")])
                .stderr(Stdio::null())
                .status();
            import.is_ok_and(|status| status.success())
        });
    if found.is_none() {
        absent(test, &format!("python3 with {module}"));
    }
    found
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// What `program --mode validate` says about a configuration that it refuses;
/// `None` when it accepts it.
///
/// # Panics
/// When the program cannot be run.
#[must_use]
pub fn refusal(program: &Path, configuration: &str) -> Option<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("bootstrap.yaml");
    let text = configuration.replace("{DIR}", &folder.path().to_string_lossy());
    std::fs::write(&file, text).expect("the configuration can be written");
    let output = Command::new(program)
        .args(["--mode", "validate", "-c"])
        .arg(&file)
        .output()
        .expect("the program can be run");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success()).then_some(said)
}

fn absent(test: &str, what: &str) {
    assert!(
        std::env::var_os("RINGWAY_REQUIRE_PEERS").is_none_or(|value| value != "1"),
        "{test}: {what} not found, and RINGWAY_REQUIRE_PEERS=1"
    );
    say(&format!("skipped: {test} ({what} not found)"));
}

/// Prints a line that the test runner does not hide when the test passes.
pub fn say(line: &str) {
    // A closed standard error is no reason to fail.
    let _ = writeln!(std::io::stderr(), "{line}");
}
