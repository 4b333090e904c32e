//! Addresses as the configuration writes them, and as the kernel wants them.

use std::ffi::OsStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::ffi::OsStrExt as _;

use ringway_config::core::Address;
use socket2::SockAddr;

/// The kernel's form of a configured address.
///
/// # Errors
/// A Unix path that does not fit `sockaddr_un`.
pub fn to_sock_addr(address: &Address) -> io::Result<SockAddr> {
    match address {
        Address::Socket(address) => Ok(SockAddr::from(*address)),
        Address::Pipe { path, .. } => match path.as_os_str().as_bytes() {
            // The kernel's abstract names begin with a zero.
            [b'@', name @ ..] => SockAddr::unix(OsStr::from_bytes(&[&[0], name].concat())),
            _ => SockAddr::unix(path),
        },
    }
}

/// The address that stands for connections without an IP peer (Unix sockets),
/// so that logs and `x-forwarded-for` have a value of the usual shape.
pub const NO_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The machine's first non-loopback IPv4 address, or the loopback address on a
/// machine without one.
///
/// Envoy writes this address to `x-forwarded-for` for a peer on 127.0.0.1. The
/// routing table knows it: connecting a datagram socket picks the source
/// address for a destination and sends nothing.
#[must_use]
pub fn local_address() -> IpAddr {
    // 192.0.2.1 is reserved for documentation (RFC 5737): no packet is sent.
    let probe = || -> io::Result<IpAddr> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        Ok(socket.local_addr()?.ip())
    };
    match probe() {
        Ok(address) if !address.is_unspecified() => address,
        _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn socket_and_pipe_addresses_reach_the_kernel_form() {
        let tcp = Address::Socket("[::1]:80".parse().expect("an address"));
        let kernel = to_sock_addr(&tcp).expect("always fits");
        assert_eq!(
            kernel.as_socket(),
            Some("[::1]:80".parse().expect("an address"))
        );

        let pipe = Address::Pipe {
            path: PathBuf::from("/tmp/ringway.sock"),
            mode: 0,
        };
        assert!(to_sock_addr(&pipe).expect("fits").is_unix());

        let hidden = Address::Pipe {
            path: PathBuf::from("@ringway"),
            mode: 0,
        };
        let hidden = to_sock_addr(&hidden).expect("fits");
        assert_eq!(hidden.as_abstract_namespace(), Some(&b"ringway"[..]));

        let too_long = Address::Pipe {
            path: PathBuf::from("x".repeat(200)),
            mode: 0,
        };
        assert!(to_sock_addr(&too_long).is_err());
    }

    #[test]
    fn the_local_address_is_specified() {
        assert!(!local_address().is_unspecified());
    }
}
