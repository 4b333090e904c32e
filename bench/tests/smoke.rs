//! The program as a user starts it: an origin, and load on it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ringway-bench");

/// An origin that ends with the test.
struct Origin {
    child: Child,
    url: String,
}

impl Origin {
    fn start() -> Origin {
        let mut child = Command::new(PROGRAM)
            .args(["origin", "--port", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the origin starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("stdout is piped");
        BufReader::new(out)
            .read_line(&mut line)
            .expect("the origin announces itself");
        let address = line
            .trim_end()
            .strip_prefix("listening on ")
            .expect("an address");
        Origin {
            url: format!("http://{address}"),
            child,
        }
    }

    fn load(&self, path: &str, arguments: &[&str]) -> serde_json::Value {
        let output = Command::new(PROGRAM)
            .args(["load", "--json", "--warmup", "100ms", "--duration", "300ms"])
            .arg(format!("{}{path}", self.url))
            .args(arguments)
            .output()
            .expect("the load generator starts");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).expect("one line of JSON")
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn assert_clean(report: &serde_json::Value) {
    assert!(
        report["requests"].as_u64().is_some_and(|n| n > 0),
        "{report}"
    );
    for count in ["non_2xx", "invalid", "reconnects"] {
        assert_eq!(report[count], 0, "{count} of {report}");
    }
    for kind in ["connect", "read", "write"] {
        assert_eq!(report["socket_errors"][kind], 0, "{kind} of {report}");
    }
}

#[test]
fn closed_loop() {
    let origin = Origin::start();
    assert_clean(&origin.load("/", &["--expect-bytes", "100", "--connections", "4"]));
    assert_clean(&origin.load("/", &["--expect-bytes", "100", "--pipeline", "8"]));
    assert_clean(&origin.load(
        "/bytes/1048576",
        &["--expect-bytes", "1048576", "--connections", "2"],
    ));
    assert_clean(&origin.load(
        "/bytes/1048576",
        &["--expect-bytes", "1048576", "--pipeline", "3", "-c", "1"],
    ));
    assert_clean(&origin.load("/", &["--method", "HEAD", "--expect-bytes", "0"]));
    assert_clean(&origin.load(
        "/",
        &[
            "--method",
            "POST",
            "--body-bytes",
            "100000",
            "--expect-bytes",
            "100",
        ],
    ));
}

#[test]
fn open_loop_offers_what_was_asked_for() {
    let origin = Origin::start();
    let report = origin.load(
        "/",
        &[
            "--rate",
            "500",
            "--arrivals",
            "uniform",
            "--connections",
            "8",
        ],
    );
    assert_clean(&report);
    assert_eq!(report["offered_rate"], 500.0);
    assert!(
        report["latency_us"]["p50"]
            .as_f64()
            .is_some_and(|us| us > 0.0),
        "{report}"
    );
}

#[test]
fn lengths_that_were_not_expected_are_counted() {
    let origin = Origin::start();
    let report = origin.load("/bytes/7", &["--expect-bytes", "8", "--connections", "1"]);
    assert!(
        report["invalid"].as_u64().is_some_and(|n| n > 0),
        "{report}"
    );
}

#[test]
fn connections_that_the_server_closes_are_opened_again() {
    let origin = Origin::start();
    let report = origin.load(
        "/",
        &["--header", "connection: close", "--connections", "2"],
    );
    assert!(
        report["reconnects"].as_u64().is_some_and(|n| n > 0),
        "{report}"
    );
    assert_eq!(report["non_2xx"], 0, "{report}");
    assert_eq!(report["socket_errors"]["read"], 0, "{report}");
}
