//! A flame graph of a running process: `perf record`, `perf script`, and inferno for the drawing.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use inferno::collapse::Collapse;
use inferno::collapse::perf::Folder;

use crate::duration;

/// Record a flame graph of a running process into an SVG.
///
/// Stacks are walked by frame pointers, with which this workspace is built. perf must be
/// installed and allowed (root, or kernel.perf_event_paranoid at most 1).
#[derive(clap::Args)]
pub struct Options {
    /// Process to look at
    #[arg(long)]
    pid: u32,
    /// How long to look
    #[arg(long, default_value = "5", value_parser = duration::parse)]
    seconds: Duration,
    /// Samples a second; not a round number, so that periodic work is not met in step
    #[arg(long, default_value_t = 997)]
    frequency: u32,
    /// Where to write the SVG
    #[arg(long, short, default_value = "flamegraph.svg")]
    out: PathBuf,
}

/// Records and draws.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("ringway-perf-").tempdir()?;
    let (data, folded) = (dir.path().join("perf.data"), dir.path().join("folded"));
    let (pid, frequency) = (options.pid.to_string(), options.frequency.to_string());
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
    let name = name.with_context(|| format!("there is no process {pid}"))?;

    // `sleep` sets the length: perf stops with it.
    let status = Command::new("perf")
        .args([
            "record",
            "--quiet",
            "-F",
            &frequency,
            "-g",
            "--call-graph",
            "fp",
            "-p",
            &pid,
            "-o",
        ])
        .arg(&data)
        .args(["--", "sleep", &options.seconds.as_secs_f64().to_string()])
        .status()
        .context("running perf (Debian: linux-perf)")?;
    ensure!(status.success(), "perf record ended with {status}");

    let mut script = Command::new("perf")
        .args(["script", "--no-inline", "-i"])
        .arg(&data)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("running perf script")?;
    let stacks = BufReader::new(script.stdout.take().context("stdout is piped")?);
    let collapsed = Folder::default().collapse(stacks, BufWriter::new(File::create(&folded)?));
    let status = script.wait()?;
    ensure!(status.success(), "perf script ended with {status}");
    collapsed.context("folding the stacks")?;
    ensure!(
        folded.metadata()?.len() > 0,
        "no samples: was process {pid} busy?"
    );

    let mut style = inferno::flamegraph::Options::default();
    style.title = format!(
        "{}: {} s at {frequency} Hz",
        name.trim_end(),
        options.seconds.as_secs_f64()
    );
    let out = BufWriter::new(
        File::create(&options.out).with_context(|| options.out.display().to_string())?,
    );
    inferno::flamegraph::from_files(&mut style, &[folded], out).context("drawing")?;
    println!("{}", options.out.display());
    Ok(())
}
