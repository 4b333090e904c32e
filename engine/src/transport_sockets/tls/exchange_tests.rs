//! Handshakes whose bytes somebody changes on the way: whatever comes, either side goes
//! on or fails, and nothing panics. What is checked of each is the fuzz target's.

use super::fuzz::{Ended, handshake};

#[test]
fn handshakes_that_nobody_changes_succeed() {
    for options in 0..32 {
        for piece in [0, 1, 100] {
            assert_eq!(handshake(&[options, piece]), Ended::Agreed, "{options}");
        }
    }
}

/// What the fuzz target has found.
#[test]
fn who_sends_this_is_turned_away_and_told() {
    let found: [&[u8]; 4] = [
        // A message that is longer than any, behind the first of TLS 1.2 and before it.
        &[0, 0, 8, 6, 0, 0xff],
        &[16, 0, 0, 6, 0, 0xff],
        // A record of another kind within a message.
        &[0xbd, 0, 0x40, 0xcc],
        // Signatures that our key does not make.
        &[0, 4, 0x40, 0x30, 0x40],
    ];
    for input in found {
        assert_eq!(handshake(input), Ended::Failed, "{input:?}");
    }
}

#[test]
fn nothing_that_comes_is_more_than_an_error() {
    let mut rng = fastrand::Rng::with_seed(7);
    // By side and version.
    for options in [0, 1, 16, 17] {
        let mut ended = [0; 3];
        for round in 0..600 {
            let mut input = vec![options | rng.u8(..16) & !1, [0, 1, 7, 200][round % 4]];
            // Mostly one change, of a flight that there is.
            let change = [rng.u8(..8) | rng.u8(..2) << 3, rng.u8(..), rng.u8(..8)];
            input.extend(change);
            input.extend((0..rng.usize(..12)).map(|_| rng.u8(..)));
            ended[handshake(&input) as usize] += 1;
        }
        // Every end is met.
        assert!(
            ended.iter().all(|&count| count > 20),
            "{options}: {ended:?}"
        );
    }
}
