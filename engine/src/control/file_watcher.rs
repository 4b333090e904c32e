//! Tells when files are replaced, by inotify.
//!
//! Only what is moved into place counts, as in Envoy: a file that is written
//! where it lies is half a file for a while.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringway_config::config_source::PathSource;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::worker::shared::Locked;

/// Watches any number of files with one descriptor. A clone watches with the same
/// one, also while that runs.
#[derive(Clone)]
pub struct FileWatcher {
    inotify: Arc<OwnedFd>,
    watches: Arc<Locked<Vec<Watch>>>,
}

struct Watch {
    /// The kernel's number for the directory.
    directory: i32,
    /// The file in it that is meant; without one, all are.
    name: Option<Box<[u8]>>,
    moved: Arc<Notify>,
}

/// What somebody is told who watches a file. Without it, nobody does.
pub struct Moves(Arc<Notify>);

impl Moves {
    /// Waits until the file has been replaced since this was called last.
    pub async fn next(&self) {
        self.0.notified().await;
    }
}

impl FileWatcher {
    /// A watcher of nothing.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            inotify: Arc::new(inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?),
            watches: Arc::default(),
        })
    }

    /// Watches the file of a source, or the directory that it names instead.
    pub fn watch(&self, source: &PathSource) -> io::Result<Moves> {
        match &source.watched_directory {
            Some(directory) => self.add(directory, None),
            None => {
                let (directory, name) = split(&source.path);
                self.add(&directory, name)
            }
        }
    }

    /// Watches whatever is moved into a directory.
    pub fn watch_directory(&self, directory: &Path) -> io::Result<Moves> {
        self.add(directory, None)
    }

    fn add(&self, directory: &Path, name: Option<Box<[u8]>>) -> io::Result<Moves> {
        let directory =
            inotify::add_watch(&self.inotify, directory.as_os_str(), WatchFlags::MOVED_TO)?;
        let moved = Arc::<Notify>::default();
        self.watches.with(|watches| {
            watches.push(Watch {
                directory,
                name,
                moved: Arc::clone(&moved),
            });
            self.forget_unwatched(watches);
        });
        Ok(Moves(moved))
    }

    /// Lets the directories go that nobody watches any more.
    fn forget_unwatched(&self, watches: &mut Vec<Watch>) {
        let (left, gone): (Vec<_>, Vec<_>) = std::mem::take(watches)
            .into_iter()
            .partition(|watch| Arc::strong_count(&watch.moved) > 1);
        *watches = left;
        let mut gone: Vec<_> = gone.iter().map(|watch| watch.directory).collect();
        gone.sort_unstable();
        gone.dedup();
        gone.retain(|gone| watches.iter().all(|watch| watch.directory != *gone));
        for directory in gone {
            // The kernel has let one go that was removed.
            let _ = inotify::remove_watch(&self.inotify, directory);
        }
    }

    /// Watches for as long as the process runs.
    pub async fn run(self) -> io::Result<()> {
        #[expect(
            deprecated,
            reason = "what the unsafe one asks of its caller is what an OwnedFd is"
        )]
        let inotify = AsyncFd::new(self.inotify)?;
        let mut buffer = [MaybeUninit::uninit(); EVENTS_BYTES];
        loop {
            let mut ready = inotify.readable().await?;
            let mut reader = Reader::new(inotify.get_ref(), &mut buffer);
            loop {
                match reader.next() {
                    Ok(event) => {
                        let missed = event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                        let name = event.file_name().map(std::ffi::CStr::to_bytes);
                        self.watches.with(|watches| {
                            let told = watches.iter().filter(|watch| {
                                missed || (watch.directory == event.wd() && watch.is_of(name))
                            });
                            told.for_each(|watch| watch.moved.notify_one());
                        });
                    }
                    Err(Errno::INTR) => {}
                    Err(Errno::WOULDBLOCK) => break,
                    Err(error) => return Err(error.into()),
                }
            }
            ready.clear_ready();
        }
    }
}

/// Room for some tens of events at a time; one with the longest name fits.
const EVENTS_BYTES: usize = 4096;

impl Watch {
    fn is_of(&self, name: Option<&[u8]>) -> bool {
        self.name.as_deref().is_none_or(|own| Some(own) == name)
    }
}

/// The directory that a file is in, and its name there.
fn split(path: &Path) -> (PathBuf, Option<Box<[u8]>>) {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().map(OsStr::as_bytes);
    (directory.to_owned(), name.map(Into::into))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Duration;

    fn watched(path: &Path, directory: Option<&Path>) -> PathSource {
        PathSource {
            path: path.to_owned(),
            watched_directory: directory.map(ToOwned::to_owned),
        }
    }

    async fn told(moves: &Moves) -> bool {
        let patience = Duration::from_millis(500);
        tokio::time::timeout(patience, moves.next()).await.is_ok()
    }

    #[tokio::test]
    async fn what_is_moved_into_place_is_told_of() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let watcher = FileWatcher::new().unwrap();
        let one = watcher.watch(&watched(&at("one"), None)).unwrap();
        let other = watcher.watch(&watched(&at("other"), None)).unwrap();
        let all = (watcher.watch(&watched(&at("one"), Some(place.path())))).unwrap();
        tokio::spawn(watcher.run());

        fs::write(at("new"), "text").unwrap();
        fs::rename(at("new"), at("one")).unwrap();
        assert!(told(&one).await);
        assert!(told(&all).await);
        assert!(!told(&other).await, "another file");

        fs::write(at("one"), "text").unwrap();
        assert!(!told(&one).await, "written in place");

        fs::write(at("new"), "text").unwrap();
        fs::rename(at("new"), at("other")).unwrap();
        assert!(told(&other).await);
        assert!(told(&all).await);
        assert!(!told(&one).await, "another file");
    }

    /// Who is busy meanwhile is told once, not never.
    #[tokio::test]
    async fn what_is_moved_while_nobody_waits_is_told_of_later() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let watcher = FileWatcher::new().unwrap();
        let moves = watcher.watch(&watched(&at("one"), None)).unwrap();
        tokio::spawn(watcher.run());
        for _ in 0..3 {
            fs::write(at("new"), "text").unwrap();
            fs::rename(at("new"), at("one")).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(told(&moves).await);
        assert!(!told(&moves).await);
    }

    #[tokio::test]
    async fn what_nobody_watches_is_let_go() {
        let place = tempfile::tempdir().unwrap();
        let (one, other) = (place.path().join("1"), place.path().join("2"));
        fs::create_dir(&one).unwrap();
        fs::create_dir(&other).unwrap();
        let watcher = FileWatcher::new().unwrap();
        tokio::spawn(watcher.clone().run());
        let first = watcher.watch_directory(&one).unwrap();
        let second = watcher.watch_directory(&one).unwrap();
        drop(first);
        let third = watcher.watch_directory(&other).unwrap();
        assert_eq!(watcher.watches.with(|watches| watches.len()), 2);
        fs::write(place.path().join("new"), "text").unwrap();
        fs::rename(place.path().join("new"), one.join("new")).unwrap();
        assert!(
            told(&second).await,
            "another one of the same directory is left"
        );
        drop(second);
        let _again = watcher.watch_directory(&other).unwrap();
        assert_eq!(watcher.watches.with(|watches| watches.len()), 2);
        fs::rename(one.join("new"), other.join("new")).unwrap();
        assert!(told(&third).await);
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        let watcher = FileWatcher::new().unwrap();
        let nowhere = Path::new("/there/is/no/such");
        assert!(watcher.watch(&watched(nowhere, None)).is_err());
    }
}
