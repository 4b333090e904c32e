//! Options of sockets that the configuration names.

use std::error::Error;
use std::{fmt, io};

use ringway_config::socket_option::{SocketOption, Stage};
use socket2::Socket;

use super::source::error_text;
use crate::reactor::set_socket_option;

/// An option that the kernel does not take, by its numbers: nobody knows them all by
/// name.
#[derive(Debug)]
pub struct RefusedOption {
    level: i32,
    name: i32,
    error: io::Error,
}

impl fmt::Display for RefusedOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { level, name, error } = self;
        let reason = error_text(error);
        write!(
            f,
            "the kernel refuses the socket option {name} of level {level}: {reason}"
        )
    }
}

impl Error for RefusedOption {}

impl From<RefusedOption> for io::Error {
    fn from(refused: RefusedOption) -> Self {
        Self::new(refused.error.kind(), refused)
    }
}

/// Sets one.
///
/// # Errors
/// When the kernel does not take it.
pub fn set_option(
    socket: &Socket,
    level: i32,
    name: i32,
    value: &[u8],
) -> Result<(), RefusedOption> {
    let set = set_socket_option(socket, level, name, value);
    set.map_err(|error| RefusedOption { level, name, error })
}

/// Sets those of `options` that are for a socket in this stage and of this
/// family.
///
/// # Errors
/// The first that the kernel does not take.
pub fn set_options(
    socket: &Socket,
    options: &[SocketOption],
    stage: Stage,
    ipv6: bool,
) -> Result<(), RefusedOption> {
    let is_meant = |option: &&SocketOption| {
        option.stage == stage && option.only_ipv6.is_none_or(|only| only == ipv6)
    };
    options
        .iter()
        .filter(is_meant)
        .try_for_each(|option| set_option(socket, option.level, option.name, &option.value))
}

/// The value of an option that is on.
pub const ON: [u8; 4] = 1i32.to_ne_bytes();
