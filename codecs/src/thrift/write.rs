//! Writing a call.

use super::{
    BINARY_VERSION, CALL, COMPACT_ID, COMPACT_VERSION, HEADER_BINARY, HEADER_COMPACT, HEADER_MAGIC,
    Protocol, Transport,
};

/// Appends a call of `method` without arguments.
pub fn write_call(transport: Transport, protocol: Protocol, method: &[u8], out: &mut Vec<u8>) {
    let message = call(protocol, method);
    let mut framed = Vec::new();
    match transport {
        Transport::Unframed => {
            out.extend_from_slice(&message);
            return;
        }
        Transport::Framed => {}
        Transport::Header => {
            framed.extend_from_slice(&HEADER_MAGIC.to_be_bytes());
            // Flags, the number of the message, and the words of what follows.
            framed.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
            let protocol = match protocol {
                Protocol::Compact => HEADER_COMPACT,
                Protocol::Binary | Protocol::LaxBinary => HEADER_BINARY,
            };
            // No transforms, no headers.
            framed.extend_from_slice(&[protocol, 0, 0, 0]);
        }
    }
    framed.extend_from_slice(&message);
    out.extend_from_slice(&(framed.len() as u32).to_be_bytes());
    out.extend_from_slice(&framed);
}

fn call(protocol: Protocol, method: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let length = (method.len() as u32).to_be_bytes();
    match protocol {
        Protocol::Binary => {
            out.extend_from_slice(&BINARY_VERSION.to_be_bytes());
            out.extend_from_slice(&[0, CALL]);
            out.extend_from_slice(&length);
            out.extend_from_slice(method);
            out.extend_from_slice(&NUMBER);
        }
        Protocol::LaxBinary => {
            out.extend_from_slice(&length);
            out.extend_from_slice(method);
            out.push(CALL);
            out.extend_from_slice(&NUMBER);
        }
        Protocol::Compact => {
            out.extend_from_slice(&[COMPACT_ID, COMPACT_VERSION | CALL << 5, 0]);
            write_varint(method.len(), &mut out);
            out.extend_from_slice(method);
        }
    }
    // Envoy ends the arguments twice. Hosts read on to the first end.
    out.extend_from_slice(&[0, 0]);
    out
}

/// Each answer is awaited before the next call, so calls need no numbers.
const NUMBER: [u8; 4] = [0; 4];

fn write_varint(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
