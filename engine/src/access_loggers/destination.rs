//! Where log lines go. Loggers that name the same file share one destination,
//! so that their lines are written in order and the file is opened once.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// What a destination is in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    File(PathBuf),
    Stdout,
    Stderr,
}

impl Target {
    /// The target of a path. The names of the standard streams mean the
    /// streams: opened as files they fail when they are sockets, as under
    /// systemd.
    pub fn of_path(path: &str) -> Target {
        match path {
            "/dev/stdout" => Target::Stdout,
            "/dev/stderr" => Target::Stderr,
            _ => Target::File(path.into()),
        }
    }

    /// Whether `file` is not what the target names any more: it was renamed or
    /// removed since it was opened.
    pub fn has_moved(&self, file: &File) -> bool {
        let Target::File(path) = self else {
            return false;
        };
        let id = |metadata: Metadata| (metadata.dev(), metadata.ino());
        match (path.metadata().map(id), file.metadata().map(id)) {
            (Ok(named), Ok(opened)) => named != opened,
            _ => true,
        }
    }

    /// Opens the target for appending. Nothing here blocks, and writing to
    /// what was opened blocks only where the system knows no other way.
    pub fn open(&self) -> io::Result<File> {
        match self {
            Target::File(path) => open_file(path),
            Target::Stdout => open_stream(io::stdout().as_fd(), "/proc/self/fd/1"),
            Target::Stderr => open_stream(io::stderr().as_fd(), "/proc/self/fd/2"),
        }
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.custom_flags(libc::O_NONBLOCK);
    if path.metadata().is_ok_and(|m| m.file_type().is_fifo()) {
        // A FIFO opened for writing alone waits for a reader, or fails.
        return options.read(true).write(true).open(path);
    }
    options.append(true).create(true).mode(0o644).open(path)
}

/// A standard stream. A pipe or terminal is opened anew, because making the
/// inherited description non-blocking would do so for everyone who shares it.
fn open_stream(stream: std::os::fd::BorrowedFd<'_>, name: &str) -> io::Result<File> {
    let shared = File::from(stream.try_clone_to_owned()?);
    let kind = shared.metadata()?.file_type();
    if kind.is_fifo() || kind.is_char_device() {
        let own = OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(name);
        if let Ok(own) = own {
            return Ok(own);
        }
    }
    Ok(shared)
}

/// A file that loggers write to.
#[derive(Debug)]
pub(super) struct Destination {
    /// Unique in the process.
    pub id: u64,
    pub target: Target,
    /// Opened when the configuration was compiled; the writer takes it.
    opened: Mutex<Option<File>>,
}

impl Destination {
    /// The destination for `target`: the one in use, or a new one, opened.
    pub fn get(target: Target) -> io::Result<Arc<Destination>> {
        let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
        registry.in_use.retain(|weak| weak.strong_count() > 0);
        let existing = registry
            .in_use
            .iter()
            .filter_map(Weak::upgrade)
            .find(|destination| destination.target == target);
        if let Some(destination) = existing {
            return Ok(destination);
        }
        let opened = target.open()?;
        registry.next_id += 1;
        let destination = Arc::new(Destination {
            id: registry.next_id,
            target,
            opened: Mutex::new(Some(opened)),
        });
        registry.in_use.push(Arc::downgrade(&destination));
        Ok(destination)
    }

    /// The file as it was opened, or a new one if that was taken.
    pub fn take_file(&self) -> io::Result<File> {
        let opened = self
            .opened
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match opened {
            Some(file) => Ok(file),
            None => self.target.open(),
        }
    }
}

/// The destinations in use, all listeners and configurations together. Only
/// the control plane locks it, when it compiles a configuration.
static REGISTRY: Mutex<Registry> = Mutex::new(Registry {
    in_use: Vec::new(),
    next_id: 0,
});

struct Registry {
    in_use: Vec<Weak<Destination>>,
    next_id: u64,
}
