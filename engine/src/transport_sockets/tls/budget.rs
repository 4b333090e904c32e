//! How many handshakes a worker makes in one turn of its loop: a storm of them must
//! not keep the requests of open connections waiting.

use std::cell::Cell;
use std::time::Duration;

use crate::reactor;

/// A turn that has lasted this long begins no further handshake, and always one. A
/// signature by a P-256 key takes 20 µs, one by an RSA key of 2,048 bits half a
/// millisecond.
const TURN_MAX: Duration = Duration::from_millis(1);

thread_local! {
    /// The turn in which a handshake went on last.
    static LAST: Cell<u64> = const { Cell::new(0) };
}

/// Waits until this turn has time for a step of a handshake.
pub(super) async fn turn() {
    loop {
        let now = reactor::turn();
        if LAST.replace(now) != now || reactor::time_in_turn() < TURN_MAX {
            return;
        }
        reactor::yield_now().await;
    }
}
