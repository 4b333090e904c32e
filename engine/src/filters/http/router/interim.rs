//! Interim responses: 1xx heads that are followed by another one.

use super::failure::Failure;

/// Interim responses that are read before a host is taken to send them for
/// ever. Real ones send one or two.
const RESPONSES_MAX: u32 = 64;

/// Whether another response follows one with this status.
pub(in crate::filters) fn is_interim(status: u16) -> bool {
    (100..200).contains(&status) && status != 101
}

/// Whether an interim response means something: as in Envoy, one with another
/// status is passed over as if the host had not sent it.
pub(super) fn is_known(status: u16) -> bool {
    matches!(status, 100 | 102 | 103 | 104)
}

/// The interim responses to one request.
#[derive(Debug, Default)]
pub(in crate::filters) struct Interims(u32);

impl Interims {
    /// Counts one more, and fails when they are too many.
    pub(in crate::filters) fn note(&mut self) -> Result<(), Failure> {
        self.0 += 1;
        match self.0 > RESPONSES_MAX {
            true => Err(Failure::UpstreamProtocol),
            false => Ok(()),
        }
    }
}
