//! Logs of events that are no requests: hosts that are ejected or change their
//! health. They go the way that all lines go, through the writer thread.

use std::sync::Arc;

use ringway_config::context::Cx;

use super::buffer::{self, FlushCause, flush_local};
use super::destination::{Destination, Target};
use super::file;

/// A file of lines.
#[derive(Debug, Clone)]
pub struct EventLog(Arc<Destination>);

impl EventLog {
    /// Opens the file at `path`. What is wrong is reported where `cx` is.
    pub fn open(path: &str, cx: &mut Cx<'_>) -> Option<Self> {
        file::open(Target::of_path(path), cx).map(Self)
    }

    /// Writes a line, without its end, and hands it over at once: events are
    /// few, and whoever looks for one looks now. The thread has installed a
    /// [`LogHandle`](super::LogHandle).
    pub fn write(&self, line: &str) {
        buffer::append(&self.0, |out| {
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
        });
        flush_local(FlushCause::Request);
    }
}
