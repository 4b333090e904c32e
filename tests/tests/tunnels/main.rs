//! Tunnels with clients that people use: a WebSocket library on both ends, and
//! curl through CONNECT.

use ringway_tests::bootstrap::{Listener, bootstrap, cluster};
use ringway_tests::origin::Origin;
use ringway_tests::process::{Process, Program, end_with_parent};
use ringway_tests::programs::{self, drivers};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

const WEBSOCKET: Listener = Listener {
    name: "websocket",
    manager: "upgrade_configs: [{ upgrade_type: websocket }]",
    hosts: ringway_tests::bootstrap::EVERYTHING_TO_ORIGIN,
};

const PROXY: Listener = Listener {
    name: "proxy",
    manager: "",
    hosts: "
- name: all
  domains: [\"*\"]
  routes:
  - match: { connect_matcher: {} }
    route:
      cluster: origin
      upgrade_configs: [{ upgrade_type: CONNECT, connect_config: {} }]
",
};

#[test]
fn websockets_of_a_library_go_through() {
    let Some(python) = programs::python_with("websockets_of_a_library_go_through", "websockets")
    else {
        return;
    };
    let script = programs::workspace().join("tests/tests/tunnels/websocket.py");
    for driver in drivers() {
        let mut command = Command::new(&python);
        command
            .arg(&script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        end_with_parent(&mut command);
        let mut peer = command.spawn().expect("python runs");
        let mut lines = BufReader::new(peer.stdout.take().expect("a pipe")).lines();
        let mut next = || lines.next().and_then(Result::ok).unwrap_or_default();
        let port: u16 = next().parse().expect("the server's port");
        let configuration = bootstrap(&[WEBSOCKET], &cluster("origin", port, ""));
        let process = Process::start(&Program::Ringway(driver), &configuration);
        let own = process.listener("websocket").port();
        let input = peer.stdin.as_mut().expect("a pipe");
        writeln!(input, "{own}").expect("the script reads it");
        assert_eq!(next(), "ok", "on {}", driver.name());
        assert!(peer.wait().expect("it was started").success());
        let (stats, _) = process
            .admin()
            .await_stats(std::time::Duration::from_secs(5), |stats| {
                stats.get("http.websocket.downstream_cx_upgrades_active") == Some(&0)
            });
        assert_eq!(stats["http.websocket.downstream_cx_upgrades_active"], 0);
        assert_eq!(stats["http.websocket.downstream_cx_upgrades_total"], 51);
        assert_eq!(stats["cluster.origin.upstream_cx_active"], 0);
    }
}

#[test]
fn curl_connects_through() {
    let Some(curl) = programs::optional("curl_connects_through", "curl") else {
        return;
    };
    for driver in drivers() {
        let origin = Origin::start();
        let port = origin.address().port();
        let configuration = bootstrap(&[PROXY], &cluster("origin", port, ""));
        let process = Process::start(&Program::Ringway(driver), &configuration);
        let proxy = format!("http://{}", process.listener("proxy"));
        let answered = Command::new(&curl)
            .args(["--silent", "--show-error", "--max-time", "20"])
            .args(["--proxytunnel", "--proxy", &proxy, "--noproxy", ""])
            // Two requests on one tunnel.
            .args(["http://origin.test/a", "http://origin.test/b"])
            .output()
            .expect("curl runs");
        assert!(answered.status.success(), "{answered:?}");
        assert_eq!(answered.stdout, b"ok\nok\n", "on {}", driver.name());
        let lines: Vec<_> = origin
            .seen()
            .into_iter()
            .map(|seen| (seen.connection, seen.request.first_line))
            .collect();
        let expected = ["GET /a HTTP/1.1", "GET /b HTTP/1.1"].map(|line| (0, line.to_owned()));
        assert_eq!(lines, expected);
    }
}
