//! The local end of a connection to a host, as the configuration wants it.

use std::io;
use std::net::{IpAddr, SocketAddr};

use ringway_config::socket_option::Stage;
use ringway_config::upstream_bind::Source;
use socket2::Socket;

use super::socket_options::{ON, RefusedOption, set_option, set_options};
use crate::reactor::set_socket_option;

/// Why a socket has no such end.
#[derive(Debug)]
pub enum SourceError {
    /// The kernel does not take an option.
    Option(RefusedOption),
    /// It does not give the address.
    Bind(SocketAddr, io::Error),
}

impl SourceError {
    /// What is told of it: nothing of an option, as in Envoy.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Option(_) => String::new(),
            Self::Bind(address, error) => {
                format!("failed to bind to {address}: {}", error_text(error))
            }
        }
    }
}

impl From<SourceError> for io::Error {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Option(refused) => refused.into(),
            SourceError::Bind(_, error) => error,
        }
    }
}

/// Gives a socket of this family its options and its address, which is `instead` if
/// there is one.
///
/// # Errors
/// The first thing that the kernel refuses.
pub fn bind(
    socket: &Socket,
    source: &Source,
    instead: Option<IpAddr>,
    ipv6: bool,
) -> Result<(), SourceError> {
    let set = |stage| {
        let set = set_options(socket, &source.options, stage, ipv6);
        set.map_err(SourceError::Option)
    };
    if source.freebind {
        // The option of IPv4 sockets holds for IPv6 ones, too.
        set_option(socket, libc::SOL_IP, libc::IP_FREEBIND, &ON).map_err(SourceError::Option)?;
    }
    set(Stage::BeforeBind)?;
    let instead = instead.map(|ip| SocketAddr::new(ip, 0));
    if let Some(address) = instead.or(source.address) {
        if address.port() == 0 {
            // The port is chosen when connecting: two connections to different
            // hosts may have the same. A kernel that cannot chooses it now.
            let _ = set_socket_option(socket, libc::SOL_IP, libc::IP_BIND_ADDRESS_NO_PORT, &ON);
        }
        let bound = socket.bind(&address.into());
        bound.map_err(|error| SourceError::Bind(address, error))?;
    }
    set(Stage::Bound)
}

/// The kernel's words for an error. The standard library adds its number, which Envoy
/// does not.
#[must_use]
pub fn error_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}
