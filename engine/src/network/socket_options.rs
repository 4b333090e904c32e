//! Options of sockets that the configuration names.

use std::io;

use ringway_config::socket_option::{SocketOption, Stage};
use socket2::Socket;

use crate::reactor::set_socket_option;

/// Sets those of `options` that are for a socket in this stage and of this
/// family.
///
/// # Errors
/// The kernel's, for the first that it does not take.
pub fn set_options(
    socket: &Socket,
    options: &[SocketOption],
    stage: Stage,
    ipv6: bool,
) -> io::Result<()> {
    let is_meant = |option: &&SocketOption| {
        option.stage == stage && option.only_ipv6.is_none_or(|only| only == ipv6)
    };
    options
        .iter()
        .filter(is_meant)
        .try_for_each(|option| set_socket_option(socket, option.level, option.name, &option.value))
}

/// The value of an option that is on.
pub const ON: [u8; 4] = 1i32.to_ne_bytes();
