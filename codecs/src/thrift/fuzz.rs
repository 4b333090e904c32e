//! What holds of any bytes that a host sends.

use super::{Protocol, Transport, read_reply};

/// Reads `data` as an answer in every way: nothing panics, and what is known of
/// an answer does not change when more of it comes.
pub fn check(data: &[u8]) {
    for transport in [Transport::Framed, Transport::Unframed, Transport::Header] {
        for protocol in [Protocol::Binary, Protocol::LaxBinary, Protocol::Compact] {
            let mut known = None;
            for end in 0..=data.len().min(CUT_BYTES_MAX) {
                let found = read_reply(transport, protocol, &data[..end]);
                match known {
                    Some(known) => assert_eq!(found, known, "{transport:?} {protocol:?} at {end}"),
                    None if found != Ok(None) => known = Some(found),
                    None => {}
                }
            }
            let _ = read_reply(transport, protocol, data);
        }
    }
}

/// As much as is cut at each byte.
const CUT_BYTES_MAX: usize = 256;
