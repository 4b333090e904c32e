//! Parts of bodies, as h2 takes and gives them: none of them is copied.
//!
//! What is sent is a [`Chunk`] as it was received on the other side, which h2
//! holds until the frame is written. What was received comes as `Bytes` and is
//! made a chunk.

use bytes::{Buf, Bytes};

use crate::reactor::Chunk;

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        self
    }

    fn advance(&mut self, n: usize) {
        Chunk::advance(self, n);
    }
}

/// A part to be sent. h2 may hold it for as long as its peer takes nothing, so
/// it is copied where receive buffers are scarce.
#[must_use]
pub fn to_send(mut part: Chunk) -> Chunk {
    part.detach_if_scarce();
    part
}

/// A part that was received.
#[must_use]
pub fn received(part: Bytes) -> Chunk {
    Chunk::from(part)
}
