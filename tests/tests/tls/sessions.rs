//! Sessions that clients take up again.

use std::collections::BTreeMap;

use ringway_tests::process::each_driver;
use ringway_tests::programs;

use super::files::Files;
use super::{ask_by_openssl, back, moved};

/// Sessions are taken up again, with tickets and without.
#[test]
fn sessions_are_taken_up_again() {
    let files = Files::new();
    let Some(openssl) = programs::optional("sessions_are_taken_up_again", "openssl") else {
        return;
    };
    let connect =
        |address, arguments: &[&str]| ask_by_openssl(&openssl, &files, address, arguments);
    each_driver(|program| {
        let process = back(program, &files);
        let address = process.listener("any");
        for flags in [&["-tls1_2"][..], &["-tls1_2", "-no_ticket"], &["-tls1_3"]] {
            let before = moved(&process);
            let first = connect(address, &[flags, &["-sess_out", "session"]].concat());
            assert!(first.contains("\nNew, "), "{flags:?}: {first}");
            let second = connect(address, &[flags, &["-sess_in", "session"]].concat());
            assert!(second.contains("\nReused, "), "{flags:?}: {second}");
            let reused = |stats: &BTreeMap<String, u64>| {
                let count = stats.get("listener.any.ssl.session_reused");
                count.copied().unwrap_or(0)
            };
            assert_eq!(reused(&moved(&process)), reused(&before) + 1, "{flags:?}");
        }
    });
}
