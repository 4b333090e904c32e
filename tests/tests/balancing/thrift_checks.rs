//! Hosts that speak Thrift (`envoy.health_checkers.thrift`): what they are sent and
//! what their answers say of them, beside the real Envoy.

use ringway_tests::bootstrap::{bootstrap, cluster};
use ringway_tests::comparison::as_in_envoy;
use ringway_tests::process::{Process, Program};
use ringway_tests::programs;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const HEALTHY: &str = "healthy";
const FAILED: &str = "/failed_active_hc";
const TIMED_OUT: &str = "/failed_active_hc/active_hc_timeout";

struct Case {
    transport: &'static str,
    protocol: &'static str,
    /// In hexadecimal digits.
    answer: &'static str,
    flags: &'static str,
}

const fn case(
    transport: &'static str,
    protocol: &'static str,
    answer: &'static str,
    flags: &'static str,
) -> Case {
    Case {
        transport,
        protocol,
        answer,
        flags,
    }
}

const F: &str = "FRAMED";
const U: &str = "UNFRAMED";
const H: &str = "HEADER";
const B: &str = "BINARY";
const L: &str = "LAX_BINARY";
const C: &str = "COMPACT";

const CASES: &[Case] = &[
    case(
        F,
        B,
        "00000011 80010002 00000004 70696e67 00000000 00",
        HEALTHY,
    ),
    // Another number and another name; more in the frame; another frame.
    case(
        F,
        B,
        "00000011 80010002 00000004 706f6e67 00000009 00",
        HEALTHY,
    ),
    case(
        F,
        B,
        "00000013 80010002 00000004 70696e67 00000000 00 7878",
        HEALTHY,
    ),
    case(
        F,
        B,
        "0000001a 80010002 00000004 70696e67 00000000 0b0000 00000002 6f6b 00",
        HEALTHY,
    ),
    // Exceptions, and what is no answer.
    case(
        F,
        B,
        "00000015 80010002 00000004 70696e67 00000000 0c0001 00 00",
        FAILED,
    ),
    case(
        F,
        B,
        "00000021 80010003 00000004 70696e67 00000000 0b0001 00000002 6e6f 080002 00000001 00",
        FAILED,
    ),
    case(
        F,
        B,
        "00000011 80010001 00000004 70696e67 00000000 00",
        FAILED,
    ),
    case(
        F,
        B,
        "00000011 80010004 00000004 70696e67 00000000 00",
        FAILED,
    ),
    case(
        F,
        B,
        "00000011 80010002 00000004 70696e67 00000000",
        TIMED_OUT,
    ),
    case(F, L, "0000000e 00000004 70696e67 02 00000000 00", HEALTHY),
    case(F, C, "00000009 824100 04 70696e67 00", HEALTHY),
    case(F, C, "0000000e 824100 04 70696e67 0800 02 6f6b 00", HEALTHY),
    case(F, C, "0000000a 824100 04 70696e67 1c 00", FAILED),
    case(
        F,
        C,
        "0000000f 826100 04 70696e67 18 02 6e6f 15 02 00",
        FAILED,
    ),
    case(
        H,
        B,
        "0000001f 0fff0000 00000000 0001 00000000 80010002 00000004 70696e67 00000000 00",
        HEALTHY,
    ),
    case(
        H,
        B,
        "0000002f 0fff0000 00000000 0001 00000000 80010003 00000004 70696e67 00000000 0b0001 00000002 6e6f 080002 00000001 00",
        FAILED,
    ),
    case(
        H,
        C,
        "00000017 0fff0000 00000000 0001 02000000 824100 04 70696e67 00",
        HEALTHY,
    ),
    // What is sent where nothing may come back.
    case(U, B, "", TIMED_OUT),
    case(U, L, "", TIMED_OUT),
    case(U, C, "", TIMED_OUT),
];

/// Answers at which Envoy 1.40 ends itself.
const FATAL_IN_ENVOY: &[Case] = &[
    case(U, B, "80010002 00000004 70696e67 00000000 00", HEALTHY),
    case(U, L, "00000004 70696e67 02 00000000 00", HEALTHY),
    case(U, C, "826100 04 70696e67 00", FAILED),
    case(F, B, "ffffffff", FAILED),
    case(
        F,
        B,
        "00000011 80010009 00000004 70696e67 00000000 00",
        FAILED,
    ),
    case(F, B, "485454502f312e3120343030204261640d0a", FAILED),
    case(
        H,
        B,
        "00000011 80010002 00000004 70696e67 00000000 00",
        FAILED,
    ),
];

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits: Vec<u8> = (hexadecimal.chars())
        .filter_map(|digit| digit.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] * 16 + pair[1])
        .collect()
}

/// The calls that a host gets, and the connections that they come on.
type Calls = Arc<Mutex<Vec<(usize, Vec<u8>)>>>;

/// A host that gives the same answer to all calls.
fn host(answer: Vec<u8>) -> (u16, Calls) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let calls = Calls::default();
    let noted = Arc::clone(&calls);
    std::thread::spawn(move || {
        for (number, connection) in listener.incoming().enumerate() {
            let Ok(connection) = connection else { return };
            let (noted, answer) = (Arc::clone(&noted), answer.clone());
            std::thread::spawn(move || answer_calls(connection, number, &answer, &noted));
        }
    });
    (port, calls)
}

fn answer_calls(mut connection: TcpStream, number: usize, answer: &[u8], calls: &Calls) {
    let mut call = [0; 1024];
    // A call is small: it comes in one piece.
    while let Ok(length @ 1..) = connection.read(&mut call) {
        let mut calls = calls.lock().expect("nobody panics with it");
        calls.push((number, call[..length].to_vec()));
        drop(calls);
        if connection.write_all(answer).is_err() {
            return;
        }
    }
}

/// Of each case: its host's flags, what it was sent, and whether the second call
/// came on the same connection.
fn play(program: &Program, cases: &[Case]) -> Vec<(String, Vec<u8>, bool)> {
    let mut clusters = String::new();
    let mut hosts = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let (port, calls) = host(bytes(case.answer));
        let check = format!(
            "health_checks: [ {{ timeout: 3s, interval: 0.1s, no_traffic_interval: 0.1s, \
             unhealthy_threshold: 1, healthy_threshold: 1, custom_health_check: {{ \
             name: envoy.health_checkers.thrift, typed_config: {{ \"@type\": \
             type.googleapis.com/envoy.extensions.health_checkers.thrift.v3.Thrift, \
             method_name: ping, transport: {}, protocol: {} }} }} }} ]",
            case.transport, case.protocol
        );
        let _ = write!(clusters, "{}", cluster(&format!("c{number}"), port, &check));
        hosts.push(calls);
    }
    let process = Process::start(program, &bootstrap(&[], &clusters));
    let deadline = Instant::now() + Duration::from_secs(30);
    let seen = |(number, calls): (usize, &Calls)| loop {
        let made = calls.lock().expect("nobody panics with it").clone();
        if let [(first, call), (second, _), ..] = &*made {
            return (flags_of(&process, number), call.clone(), first == second);
        }
        assert!(Instant::now() < deadline, "c{number} is not called twice");
        std::thread::sleep(Duration::from_millis(10));
    };
    hosts.iter().enumerate().map(seen).collect()
}

fn flags_of(process: &Process, number: usize) -> String {
    let text = process.admin().get("/clusters").text();
    let prefix = format!("c{number}::127.0.0.1:");
    let mut lines = text.lines().filter(|line| line.starts_with(&prefix));
    let line = lines.find_map(|line| line.split_once("::health_flags::"));
    line.map_or_else(String::new, |(_, flags)| flags.to_owned())
}

#[test]
fn thrift_hosts_are_asked_as_envoy_asks_them() {
    let test = "thrift_hosts_are_asked_as_envoy_asks_them";
    let Some(seen) = as_in_envoy(test, |program| play(program, CASES)) else {
        return;
    };
    for (case, (flags, _, is_same)) in CASES.iter().zip(seen) {
        assert_eq!(flags, case.flags, "{}", case.answer);
        assert_eq!(is_same, case.flags != TIMED_OUT, "{}", case.answer);
    }
}

#[test]
fn answers_that_end_envoy_only_fail_their_host() {
    for program in programs::drivers().into_iter().map(Program::Ringway) {
        let seen = play(&program, FATAL_IN_ENVOY);
        for (case, (flags, _, is_same)) in FATAL_IN_ENVOY.iter().zip(seen) {
            assert_eq!(flags, case.flags, "{}", case.answer);
            assert!(!is_same, "{}", case.answer);
        }
    }
}
