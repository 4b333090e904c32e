//! What a connection costs while nothing happens on it.

use super::*;

/// The size of what a function gives, without calling it.
fn bytes_of<A, B, C, F>(_: fn(A, B, C) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn a_connections_task_is_small() {
    // Whatever a future of it keeps is there for each of thousands that wait.
    let task = bytes_of(serve);
    assert!(task <= 1_450, "{task} bytes");
}
