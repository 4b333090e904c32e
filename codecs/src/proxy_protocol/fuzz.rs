//! What must hold whatever a client sends first: the pieces in which it arrives
//! make no difference to what is taken, and what is read can be written again.

use super::{Accepted, Progress, decode, encode_v2};

/// Reads `data` at once and byte by byte, with each choice of what is accepted.
///
/// # Panics
/// When something does not hold.
pub fn check(data: &[u8]) {
    for choice in 0..8 {
        let accepted = Accepted {
            v1: choice & 1 != 0,
            v2: choice & 2 != 0,
            nothing: choice & 4 != 0,
        };
        let whole = decode(data, accepted);
        let mut lengths = 0..=data.len();
        let first =
            lengths.find(|length| decode(&data[..*length], accepted) != Progress::Incomplete);
        let in_pieces = first.map_or(Progress::Incomplete, |length| {
            decode(&data[..length], accepted)
        });
        match (whole, in_pieces) {
            // Why is another matter: a line may have ended before it was known
            // to be none.
            (Progress::Refused(_), Progress::Refused(_)) => {}
            (whole, in_pieces) => assert_eq!(whole, in_pieces, "at once and byte by byte"),
        }
        if let Progress::Complete(header) = whole {
            assert!(header.length <= data.len());
            let mut again = Vec::new();
            assert!(encode_v2(
                &mut again,
                header.endpoints.as_ref(),
                header.tlvs
            ));
            let all = Accepted {
                v1: true,
                v2: true,
                nothing: false,
            };
            let Progress::Complete(read) = decode(&again, all) else {
                panic!("what was read is not read again");
            };
            assert_eq!(read.length, again.len());
            assert_eq!((read.endpoints, read.tlvs), (header.endpoints, header.tlvs));
        }
    }
}
