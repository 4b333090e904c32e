//! Many connections at once, while the server comes and goes.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ringway_tests::process::{Program, each_driver};

use crate::files::Files;
use crate::listener::asks;
use crate::scene::{Scene, connect, read};
use crate::script::python;

/// Clients at once.
const CLIENTS: usize = 200;

/// How often the server is started again.
const RESTARTS: usize = 3;

#[test]
fn no_connection_is_forgotten_while_the_server_restarts() {
    let test = "no_connection_is_forgotten_while_the_server_restarts";
    let Some(python) = python(test) else {
        return;
    };
    let files = Files::new();
    let listeners = [asks("allowed", "ok"), asks("denied", "deny")];
    each_driver(|program: &Program| {
        let flags = ["--concurrency", "2"];
        let mut scene = Scene::start(program, &python, &files, &listeners, &flags);
        let addresses = [0, 1].map(|i: usize| scene.process.listener(&listeners[i].name));
        let done = AtomicBool::new(false);
        let [allowed, closed] = [(); 2].map(|()| AtomicU64::new(0));
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (done, allowed, closed) = (&done, &allowed, &closed);
                let address = addresses[client % 2];
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        let mut stream = connect(address);
                        stream.write_all(b"hello").expect("it is sent");
                        let counter = match read(&stream, 5).as_str() {
                            "\"hello\"" => allowed,
                            "\"\", then the end" | "\"\", then an error" => closed,
                            other => panic!("{other}"),
                        };
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let mut last = (0, 0);
            for _ in 0..RESTARTS {
                // Some are let through and some are closed between two restarts.
                let now = loop {
                    let now = (
                        allowed.load(Ordering::Relaxed),
                        closed.load(Ordering::Relaxed),
                    );
                    if now.0 > last.0 && now.1 > last.1 {
                        break now;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                };
                last = now;
                scene.stop_server();
                scene.restart_server();
            }
            done.store(true, Ordering::Relaxed);
        });
        let stats = scene.still_stats();
        let of = |name: &str| -> u64 {
            let each = listeners.iter().map(|listener| {
                let name = format!("ext_authz.{}.{name}", listener.name);
                stats.get(&name).copied().unwrap_or(0)
            });
            each.sum()
        };
        let [allowed, closed] = [allowed, closed].map(AtomicU64::into_inner);
        assert_eq!(of("active"), 0);
        assert_eq!(of("total"), allowed + closed);
        assert_eq!(of("ok"), allowed);
        assert_eq!(of("denied") + of("error"), closed);
        assert_eq!(of("cx_closed"), closed);
        assert!(of("denied") > 0 && of("ok") > 0);
        scene.stop_server();
    });
}
