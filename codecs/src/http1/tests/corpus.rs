//! Replays what fuzzers have found interesting.

use super::super::fuzz::{self, Event};
use std::path::Path;

/// The inputs of one pack: each is a little-endian 32-bit length and as many
/// bytes.
fn unpack(name: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let pack = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut rest = &pack[..];
    let mut inputs = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (input, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        inputs.push(input.to_vec());
        rest = after;
    }
    assert!(rest.is_empty(), "{name} is cut off");
    inputs
}

/// Reads raw inputs with several sets of options; counts accepted heads and
/// errors.
fn replay_raw(name: &str) -> (usize, usize, usize) {
    let inputs = unpack(name);
    let mut heads = 0;
    let mut errors = 0;
    for (seed, input) in inputs.iter().enumerate() {
        for options in [0, 0b0101_0011, 0b1010_1100] {
            let events = fuzz::check(&fuzz::request_side(options), input, seed as u64);
            let is_head = |e: &&Event| matches!(e, Event::Request(..));
            heads += events.iter().filter(is_head).count();
            errors += usize::from(matches!(events.last(), Some(Event::Error(_))));
        }
        fuzz::check(&fuzz::response_side(seed as u8), input, seed as u64);
        let body = [&[seed as u8, seed as u8], &input[..]].concat();
        fuzz::http1_body(&body);
    }
    (inputs.len(), heads, errors)
}

#[test]
fn h2o() {
    let (inputs, heads, errors) = replay_raw("h2o.pack");
    assert!(
        inputs > 1000 && heads > 500 && errors > 1000,
        "{inputs} {heads} {errors}"
    );
}

#[test]
fn llhttp() {
    let (inputs, heads, errors) = replay_raw("llhttp.pack");
    assert!(
        inputs > 100 && heads > 30 && errors > 100,
        "{inputs} {heads} {errors}"
    );
}

#[test]
fn what_our_own_targets_found() {
    replay_found("found-http1_request.pack", fuzz::http1_request);
    replay_found("found-http1_response.pack", fuzz::http1_response);
    replay_found("found-http1_body.pack", fuzz::http1_body);
}

fn replay_found(pack: &str, target: fn(&[u8])) {
    let inputs = unpack(pack);
    assert!(inputs.len() > 100, "{pack}: {}", inputs.len());
    inputs.iter().for_each(|input| target(input));
}
