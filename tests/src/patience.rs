//! Reading with a time limit on a machine that may stand still for a moment.

use std::io::{self, ErrorKind, Read};

/// [`Read::read`], which goes on when the process was stopped and continued meanwhile:
/// the kernel breaks off what has a time limit.
///
/// # Errors
/// Those of the reader, but `Interrupted`.
pub fn read(mut from: impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}
