//! Many connections, and too few descriptors for them.
//!
//! `RLIMIT_NOFILE` belongs to the process, so these tests run in a process of their own: the test
//! binary started again for one test.

use std::fs::File;
use std::io::Write;
use std::net::TcpStream;
use std::process::Command;

use super::super::*;
use super::{listen, on_both_drivers, settled};

/// Set for the process that a test starts.
const INSIDE: &str = "REACTOR_TEST_PROCESS";

/// Runs the test `name` in a process of its own. Returns whether this is that process.
fn in_own_process(name: &str) -> bool {
    if std::env::var(INSIDE).as_deref() == Ok(name) {
        return true;
    }
    let name_in_binary = format!("{}::{name}", module_path!().split_once("::").unwrap().1);
    let output = Command::new(std::env::current_exe().unwrap())
        .args([name_in_binary.as_str(), "--exact", "--nocapture"])
        .env(INSIDE, name)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    eprintln!("{text}");
    assert!(output.status.success(), "{name} failed in its own process");
    assert!(text.contains("1 passed"), "{name_in_binary} was not found");
    false
}

/// Sets the limit of descriptors, as high as `wanted` if allowed. Returns what it is now.
fn limit_descriptors(wanted: u64) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: plain system calls on a local that outlives them.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        // The superuser may raise the hard limit too.
        let raised = libc::rlimit {
            rlim_cur: wanted,
            rlim_max: wanted.max(limit.rlim_max),
        };
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) == 0 {
            return wanted;
        }
        limit.rlim_cur = wanted.min(limit.rlim_max);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
    limit.rlim_cur
}

#[test]
fn ten_thousand_connections() {
    if !in_own_process("ten_thousand_connections") {
        return;
    }
    const WANTED: u64 = 10_000;
    // Both ends are here, and the process has a few descriptors of its own.
    let connections = ((limit_descriptors(2 * WANTED + 200) - 100) / 2).min(WANTED);
    if connections < WANTED {
        eprintln!("REDUCED to {connections} connections by RLIMIT_NOFILE");
    }
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let listener = listen();
            let address = listener.local_addr().unwrap();
            let mut clients = Vec::new();
            let mut servers = Vec::new();
            for _ in 0..connections {
                clients.push(super::connect(&address.into()).await.unwrap());
                servers.push(listener.accept().await.unwrap());
            }
            assert_eq!(metrics().open_sockets, 2 * connections);
            assert_eq!(
                metrics().free_buffers,
                512,
                "an idle connection owns no buffer"
            );
            // All of them speak in the same turn, which is more than there are buffers.
            for (client, server) in clients.iter().zip(servers) {
                client.write(b"ping");
                spawn(async move {
                    while let Ok(Some(chunk)) = server.recv().await {
                        server.write_chunk(chunk);
                    }
                });
            }
            for client in &clients {
                assert_eq!(&client.recv().await.unwrap().unwrap()[..], b"ping");
            }
            drop(clients);
            settled(|| metrics().open_sockets == 0 && metrics().tasks == 0).await;
        });
    });
}

#[test]
fn running_out_of_descriptors_pauses_accepting() {
    if !in_own_process("running_out_of_descriptors_pauses_accepting") {
        return;
    }
    // Before the listener: io_uring looks at the limit when the accept is started.
    limit_descriptors(64);
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let listener = listen();
            let address = listener.local_addr().unwrap();
            let mut fillers = Vec::new();
            while let Ok(file) = File::open("/dev/null") {
                fillers.push(file);
            }
            fillers.pop();
            let client = TcpStream::connect(address).unwrap();

            let turns = metrics().turns;
            for _ in 0..3 {
                let error = listener.accept().await.unwrap_err();
                assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            }
            let turns = metrics().turns - turns;
            assert!(turns < 100, "{turns} turns for three errors: spinning");

            fillers.pop();
            let server = loop {
                match listener.accept().await {
                    Ok(server) => break server,
                    Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EMFILE)),
                }
            };
            (&client).write_all(b"hello").unwrap();
            assert_eq!(&server.recv().await.unwrap().unwrap()[..], b"hello");
        });
    });
}
