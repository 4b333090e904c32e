//! What must hold whatever a client sends first: the pieces in which it
//! arrives make no difference, and no more is kept than may be.

use super::fault::{self, Verdict};
use super::fingerprint::{Ja4, ja3};
use super::{CLIENT_HELLO_BYTES_MAX, ClientHelloReader, Progress};

/// Reads `data` at once and byte by byte, and gives what it is.
///
/// # Panics
/// When something does not hold.
pub fn check(data: &[u8]) -> Progress {
    let mut at_once = ClientHelloReader::new(CLIENT_HELLO_BYTES_MAX);
    let whole = at_once.read(data);
    let verdict = fault::check(data);
    let mut in_pieces = ClientHelloReader::new(CLIENT_HELLO_BYTES_MAX);
    let mut last = Progress::Incomplete;
    for byte in data {
        if last != Progress::Incomplete {
            break;
        }
        last = in_pieces.read(std::slice::from_ref(byte));
    }
    assert_eq!(whole, last, "at once and byte by byte");
    assert!(in_pieces.message.len() <= CLIENT_HELLO_BYTES_MAX + 1);
    if let Progress::Complete(hello) = &whole {
        assert_eq!(verdict, Verdict::Sound);
        assert!(hello.protocols.iter().all(|name| !name.is_empty()));
        // A message that is read may have extensions that these make nothing of.
        let _ = (ja3(at_once.message()), Ja4::read(at_once.message()));
    }
    whole
}
