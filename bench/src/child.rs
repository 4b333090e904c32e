//! Processes under measurement. Whatever happens to this one, they end.
//!
//! Three nets: dropping [`Running`] kills (return, error, panic), the kernel kills when the
//! thread that started them ends (`PR_SET_PDEATHSIG`: SIGKILL of this process, abort), and ctrl-c
//! goes through [`clean_up_on_interrupt`], as the temporary directory has to go too.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::{listener, os};

/// A process that is killed when this is dropped.
pub struct Running {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Running {
    /// Starts a program on one core. What it says goes to `NAME.log` in `dir`.
    ///
    /// Must be called on the main thread: the process is killed when the thread that called
    /// this ends.
    pub fn start(
        name: &str,
        mut command: Command,
        core: Option<usize>,
        dir: &Path,
    ) -> anyhow::Result<Running> {
        let log = dir.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        command
            .stdin(Stdio::null())
            .stderr(file.try_clone()?)
            .stdout(file);
        Running::spawn(name, command, core, log)
    }

    /// Starts another subcommand of this tool that announces its address, and returns both.
    pub fn start_tool(
        name: &str,
        arguments: &[&str],
        core: Option<usize>,
        dir: &Path,
    ) -> anyhow::Result<(Running, SocketAddr)> {
        let log = dir.join(format!("{name}.log"));
        let mut command = Command::new(this_program()?);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?);
        let mut running = Running::spawn(name, command, core, log)?;
        let out = running.child.stdout.take().context("stdout is piped")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        match line
            .trim_end()
            .strip_prefix(listener::ANNOUNCEMENT)
            .map(str::parse)
        {
            Some(Ok(address)) => Ok((running, address)),
            _ => bail!("{name} did not start: {line}{}", running.last_words()),
        }
    }

    fn spawn(
        name: &str,
        mut command: Command,
        core: Option<usize>,
        log: PathBuf,
    ) -> anyhow::Result<Running> {
        // A group of its own, so that a terminal's ctrl-c reaches this process only.
        command.process_group(0);
        os::pin_and_tie(&mut command, core);
        let child = command
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Running {
            child,
            name: name.to_owned(),
            log,
        })
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until a request to the address is answered with 200.
    pub fn wait_until_answering(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        self.wait_until(|| answers(address).unwrap_or(false))
    }

    /// Waits until connections to the address are taken.
    pub fn wait_until_listening(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        self.wait_until(|| TcpStream::connect_timeout(&address, ANSWER_TIMEOUT).is_ok())
    }

    fn wait_until(&mut self, is_ready: impl Fn() -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}:\n{}", self.name, self.last_words());
            }
            if is_ready() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{} does not answer:\n{}", self.name, self.last_words());
            }
            std::thread::sleep(START_POLL);
        }
    }

    /// The end of what the process has said.
    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that runs another subcommand of this tool.
pub fn this_tool(arguments: &[&str], core: Option<usize>) -> anyhow::Result<Command> {
    let mut command = Command::new(this_program()?);
    command.args(arguments).process_group(0);
    os::pin_and_tie(&mut command, core);
    Ok(command)
}

/// On ctrl-c removes `dir` and exits, whereupon the kernel kills the processes that were started.
pub fn clean_up_on_interrupt(dir: PathBuf) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("interrupt".into())
        .spawn(move || {
            if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
                // What is left of a directory that cannot be removed is not worth a message now.
                let _ = std::fs::remove_dir_all(dir);
                std::process::exit(EXIT_INTERRUPTED);
            }
        })?;
    Ok(())
}

fn this_program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("finding this program's own path")
}

fn answers(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_TIMEOUT)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(
        format!("GET / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut start = [0; 12];
    stream.read_exact(&mut start)?;
    Ok(start == *b"HTTP/1.1 200")
}

/// Envoy takes about a second to start on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Pause between two looks at a process that is starting.
const START_POLL: Duration = Duration::from_millis(20);

/// How long one answer may take while a process is starting.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Lines of a failed program's output that are shown.
const LAST_LINES: usize = 12;

/// What a shell reports for a program ended by ctrl-c.
const EXIT_INTERRUPTED: i32 = 130;
