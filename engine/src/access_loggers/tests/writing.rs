//! Buffers, the queue, and files that rotate, block and fail.

use super::*;
use ringway_config::runtime::RuntimeValues;

#[test]
fn several_threads_and_loggers_share_a_file_and_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (writer, store) = writer(1_000);
    let logs = Arc::new(compiled(&[
        file_log(&path, "a %REQ(:path)%\n"),
        file_log(&path, "b %REQ(:path)%\n"),
    ]));
    assert!(Arc::ptr_eq(&logs[0].destination, &logs[1].destination));
    let threads: Vec<_> = (0..3)
        .map(|thread| {
            let logs = logs.clone();
            worker(&writer, &store, move || {
                for line in 0..500 {
                    for log in &*logs {
                        log_paths(log, std::iter::once(format!("/{thread}/{line}")));
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(writer.shutdown());
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 3_000);
    for thread in 0..3 {
        // The lines of one thread stay in order, both loggers together.
        let expected: Vec<_> = (0..500)
            .flat_map(|n| [format!("a /{thread}/{n}"), format!("b /{thread}/{n}")])
            .collect();
        let part = format!(" /{thread}/");
        let actual: Vec<_> = text.lines().filter(|line| line.contains(&part)).collect();
        assert_eq!(actual, expected);
    }
    assert_eq!(store.value("filesystem.write_buffered"), Some(3_000));
    assert_eq!(store.value("filesystem.write_total_buffered"), Some(0));
    assert_eq!(store.value("access_log.dropped_lines"), Some(0));
    assert!(store.value("filesystem.write_completed").unwrap() > 3);
}

#[test]
fn lines_wait_for_the_size_or_the_timer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (writer, store) = writer(64);
    let log = compiled(&[file_log(&path, "%REQ(:path)%\n")]);
    let seen = path.clone();
    worker(&writer, &store, move || {
        log_paths(&log[0], (0..5).map(|n| format!("/{n}")));
        assert_eq!(fs::read(&seen).unwrap(), b"", "nothing was handed over");
        flush_local(FlushCause::Timer);
        flush_local(FlushCause::Timer);
        while fs::read(&seen).unwrap() != b"/0\n/1\n/2\n/3\n/4\n" {
            std::thread::yield_now();
        }
        // 64 bytes are reached within the 22nd line.
        log_paths(&log[0], (0..22).map(|n| format!("/{}", n % 10)));
        while fs::read_to_string(&seen).unwrap().lines().count() != 27 {
            std::thread::yield_now();
        }
    })
    .join()
    .unwrap();
    assert!(writer.shutdown());
    assert_eq!(store.value("filesystem.flushed_by_timer"), Some(1));
}

#[test]
fn rotation_under_load_loses_no_line_and_keeps_the_old_ones_in_the_old_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (writer, store) = writer(512);
    let log = Arc::new(compiled(&[file_log(&path, "%REQ(:path)%\n")]));
    let rotated = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..2)
        .map(|thread| {
            let (log, rotated) = (log.clone(), rotated.clone());
            worker(&writer, &store, move || {
                let mut line = 0;
                // Until well after the rotation; where it falls is up to chance.
                let mut after = 0;
                while after < 200 {
                    let late = rotated.load(Ordering::SeqCst);
                    let mark = if late { "late" } else { "early" };
                    log_paths(&log[0], std::iter::once(format!("/{mark}/{thread}/{line}")));
                    line += 1;
                    after += u32::from(late);
                }
                line
            })
        })
        .collect();
    let old = directory.path().join("log.1");
    fs::rename(&path, &old).unwrap();
    writer.handle().reopen();
    rotated.store(true, Ordering::SeqCst);
    let lines: u64 = threads.into_iter().map(|t| t.join().unwrap()).sum();
    assert!(writer.shutdown());
    let old = fs::read_to_string(&old).unwrap();
    let new = fs::read_to_string(&path).unwrap();
    assert_eq!((old.lines().count() + new.lines().count()) as u64, lines);
    assert!(!old.contains("late"), "logged after the reopening");
    assert!(new.lines().filter(|line| line.contains("late")).count() == 400);
    assert_eq!(store.value("filesystem.reopen_failed"), Some(0));
}

#[test]
fn lines_buffered_before_a_reopening_go_to_the_old_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (writer, store) = writer(4096);
    let log = compiled(&[file_log(&path, "%REQ(:path)%\n")]);
    let (handle, moved, from) = (
        writer.handle(),
        directory.path().join("log.1"),
        path.clone(),
    );
    let to = moved.clone();
    worker(&writer, &store, move || {
        log_paths(&log[0], std::iter::once("/before".to_owned()));
        flush_local(FlushCause::Request);
        log_paths(&log[0], std::iter::once("/buffered".to_owned()));
        fs::rename(&from, &to).unwrap();
        handle.reopen();
        log_paths(&log[0], std::iter::once("/after".to_owned()));
    })
    .join()
    .unwrap();
    assert!(writer.shutdown());
    assert_eq!(fs::read_to_string(moved).unwrap(), "/before\n/buffered\n");
    assert_eq!(fs::read_to_string(path).unwrap(), "/after\n");
}

#[test]
fn a_failed_reopening_keeps_the_old_file() {
    let directory = tempfile::tempdir().unwrap();
    let inner = directory.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let (writer, store) = writer(16);
    let log = compiled(&[file_log(&inner.join("log"), "%REQ(:path)%\n")]);
    let (handle, moved) = (writer.handle(), directory.path().join("moved"));
    let to = moved.clone();
    worker(&writer, &store, move || {
        log_paths(&log[0], std::iter::once("/a".to_owned()));
        flush_local(FlushCause::Request);
        while fs::read(inner.join("log")).unwrap().is_empty() {
            std::thread::yield_now();
        }
        fs::rename(&inner, &to).unwrap();
        handle.reopen();
        log_paths(&log[0], std::iter::once("/b".to_owned()));
    })
    .join()
    .unwrap();
    assert!(writer.shutdown());
    assert_eq!(fs::read_to_string(moved.join("log")).unwrap(), "/a\n/b\n");
    assert_eq!(store.value("filesystem.reopen_failed"), Some(1));
}

#[test]
fn a_pipe_that_nobody_reads_drops_and_counts_and_stalls_nobody() {
    use std::io::Read as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    let made = std::process::Command::new("mkfifo")
        .arg(&pipe)
        .status()
        .unwrap();
    assert!(made.success());
    let file = directory.path().join("file");
    let (writer, store) = writer(64 * 1024);
    let format = format!("%REQ(:path)% {}\n", "x".repeat(1_000));
    let logs = compiled(&[file_log(&pipe, &format), file_log(&file, "%REQ(:path)%\n")]);
    // Opened before anything is written, read only at the end.
    let mut reader = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&pipe)
        .unwrap();
    const LINES: u64 = 30_000;
    let slowest = worker(&writer, &store, move || {
        let mut slowest = Duration::ZERO;
        for line in 0..LINES {
            let request = Finished::new(&format!("/{line}"), 200);
            let before = Instant::now();
            for log in &logs {
                log.log(&request.context(), &RuntimeValues::default());
            }
            slowest = slowest.max(before.elapsed());
        }
        slowest
    })
    .join()
    .unwrap();
    assert!(slowest < Duration::from_secs(20), "{slowest:?}");
    let reading = std::thread::spawn(move || {
        // What the pipe held, then what was kept back for it, until the writer
        // closes its end.
        let mut text = Vec::new();
        while reader.read_to_end(&mut text).is_err() {
            std::thread::sleep(Duration::from_millis(2));
        }
        text
    });
    assert!(writer.shutdown());
    let read = reading.join().unwrap();
    let dropped = store.value("access_log.dropped_lines").unwrap();
    assert!(dropped > 10_000, "{dropped}");
    let text = String::from_utf8(read).unwrap();
    assert_eq!(text.lines().count() as u64 + dropped, LINES);
    assert!(
        text.lines()
            .all(|line| line.ends_with("xxx") && line.len() > 1_000)
    );
    // The other destination lost nothing.
    assert_eq!(
        fs::read_to_string(&file).unwrap().lines().count() as u64,
        LINES
    );
    assert_eq!(store.value("filesystem.write_total_buffered"), Some(0));
}

#[test]
fn a_full_disk_drops_counts_and_goes_on() {
    let (writer, store) = writer(64);
    let log = compiled(&[file_log(Path::new("/dev/full"), "%REQ(:path)%\n")]);
    worker(&writer, &store, move || {
        log_paths(&log[0], (0..100).map(|n| format!("/{n}")));
    })
    .join()
    .unwrap();
    assert!(writer.shutdown());
    assert_eq!(store.value("access_log.dropped_lines"), Some(100));
    assert!(store.value("filesystem.write_failed").unwrap() >= 5);
    assert_eq!(store.value("filesystem.write_total_buffered"), Some(0));
}
