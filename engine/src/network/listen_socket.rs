//! Listening sockets: one per worker and address, sharing the port.
//!
//! All sockets of an address are bound on the control plane, before the
//! configuration is published, so that a port in use is a configuration error
//! and never half a listener. SO_REUSEPORT makes the kernel spread incoming
//! connections over the workers.

use std::io;
use std::os::unix::fs::PermissionsExt as _;

use ringway_config::core::{Address, TcpKeepalive};
use ringway_config::listener::Sockets;
use ringway_config::socket_option::{SocketOption, Stage};
use socket2::{Domain, Protocol, Socket, Type};

use super::address::to_sock_addr;
use super::socket_options::{ON, set_option, set_options};

/// What a listener asks of its sockets.
#[derive(Debug, Clone, Copy)]
pub struct ListenOptions<'a> {
    /// Length of the accept queue; the kernel caps it at `somaxconn`.
    pub backlog: i32,
    /// Whether several sockets share the port, one per worker.
    pub reuse_port: bool,
    /// TCP keep-alive of accepted connections, which inherit it.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Whether an IPv6 socket takes IPv4 connections too (`ipv4_compat`).
    pub ipv4_compat: bool,
    /// What the listener asks of all its sockets.
    pub sockets: &'a Sockets,
    /// Further options.
    pub options: &'a [SocketOption],
}

/// Binds `count` listening sockets to one address and returns them with the
/// address that was bound (port 0 is replaced by what the kernel chose).
///
/// Unix sockets and listeners without `reuse_port` have one socket that all
/// workers accept from: the same descriptor, duplicated.
///
/// # Errors
/// The kernel's, with the address left to the caller to name; of an option that it
/// refuses, a [`RefusedOption`](super::socket_options::RefusedOption).
pub fn bind(
    address: &Address,
    options: ListenOptions<'_>,
    count: usize,
) -> io::Result<(Vec<Socket>, Address)> {
    refuse_shared_port(address, options)?;
    let first = bind_one(address, options)?;
    let bound = match address {
        Address::Socket(_) => Address::Socket(
            first
                .local_addr()?
                .as_socket()
                .ok_or_else(|| io::Error::other("the bound address is not an IP address"))?,
        ),
        Address::Pipe { .. } => address.clone(),
    };
    let mut sockets = Vec::with_capacity(count);
    for _ in 1..count {
        sockets.push(match (&bound, options.reuse_port) {
            (Address::Socket(_), true) => bind_one(&bound, options)?,
            _ => first.try_clone()?,
        });
    }
    sockets.insert(0, first);
    Ok((sockets, bound))
}

/// SO_REUSEPORT would let another process of ours share the port in silence, a
/// forgotten one with an old configuration for example. A socket without it
/// finds out.
fn refuse_shared_port(address: &Address, options: ListenOptions<'_>) -> io::Result<()> {
    match address {
        Address::Socket(ip) if options.reuse_port && ip.port() != 0 => {
            let alone = ListenOptions {
                reuse_port: false,
                ..options
            };
            bind_one(address, alone).map(drop)
        }
        _ => Ok(()),
    }
}

/// The kernel's form of configured keep-alive probes.
#[must_use]
pub fn kernel_keepalive(keepalive: &TcpKeepalive) -> socket2::TcpKeepalive {
    let mut options = socket2::TcpKeepalive::new();
    if let Some(time) = keepalive.time {
        options = options.with_time(time);
    }
    if let Some(interval) = keepalive.interval {
        options = options.with_interval(interval);
    }
    if let Some(probes) = keepalive.probes {
        options = options.with_retries(probes);
    }
    options
}

fn bind_one(address: &Address, options: ListenOptions<'_>) -> io::Result<Socket> {
    let kernel = to_sock_addr(address)?;
    match address {
        Address::Socket(ip) => {
            let domain = Domain::for_address(*ip);
            let protocol = match options.sockets.multipath {
                true => Protocol::from(libc::IPPROTO_MPTCP),
                false => Protocol::TCP,
            };
            let socket = Socket::new(domain, Type::STREAM, Some(protocol))?;
            // Without this, the TIME_WAIT sockets of the process before us
            // would keep the port for a minute.
            socket.set_reuse_address(true)?;
            if options.reuse_port {
                socket.set_reuse_port(true)?;
            }
            if ip.is_ipv6() {
                socket.set_only_v6(!options.ipv4_compat)?;
            }
            if let Some(keepalive) = &options.tcp_keepalive {
                socket.set_tcp_keepalive(&kernel_keepalive(keepalive))?;
            }
            set_kinds(&socket, options.sockets, ip.is_ipv6())?;
            let set = |stage| set_options(&socket, options.options, stage, ip.is_ipv6());
            set(Stage::BeforeBind)?;
            socket.bind(&kernel)?;
            set(Stage::Bound)?;
            socket.listen(options.backlog)?;
            if let Some(length) = options.sockets.fast_open_queue {
                let length = (length as i32).to_ne_bytes();
                set_option(&socket, libc::SOL_TCP, libc::TCP_FASTOPEN, &length)?;
            }
            set(Stage::Listening)?;
            Ok(socket)
        }
        Address::Pipe { path, mode } => {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            // A socket file that nobody listens on is what a killed process
            // leaves behind; one that answers is somebody else's.
            if path.exists() && std::os::unix::net::UnixStream::connect(path).is_err() {
                std::fs::remove_file(path)?;
            }
            socket.bind(&kernel)?;
            if *mode != 0 {
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(*mode))?;
            }
            socket.listen(options.backlog)?;
            Ok(socket)
        }
    }
}

/// Makes a socket transparent, or binds it before its address is there.
fn set_kinds(socket: &Socket, sockets: &Sockets, ipv6: bool) -> io::Result<()> {
    let (level, transparent) = match ipv6 {
        true => (libc::SOL_IPV6, libc::IPV6_TRANSPARENT),
        false => (libc::SOL_IP, libc::IP_TRANSPARENT),
    };
    if sockets.transparent {
        set_option(socket, level, transparent, &ON)?;
    }
    if sockets.freebind {
        // The option of IPv4 sockets holds for IPv6 ones, too.
        set_option(socket, libc::SOL_IP, libc::IP_FREEBIND, &ON)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::LazyLock;

    static SOCKETS: LazyLock<Sockets> = LazyLock::new(Sockets::default);

    static OPTIONS: LazyLock<ListenOptions<'_>> = LazyLock::new(|| ListenOptions {
        backlog: 128,
        reuse_port: true,
        tcp_keepalive: None,
        ipv4_compat: false,
        sockets: &SOCKETS,
        options: &[],
    });

    fn loopback() -> Address {
        Address::Socket("127.0.0.1:0".parse().expect("an address"))
    }

    #[test]
    fn every_worker_gets_a_socket_on_the_same_port() {
        let (sockets, bound) = bind(&loopback(), *OPTIONS, 3).expect("port 0 is free");
        let Address::Socket(bound) = bound else {
            panic!("not an IP address: {bound:?}");
        };
        assert_ne!(bound.port(), 0);
        assert_eq!(sockets.len(), 3);
        for socket in &sockets {
            let local = socket.local_addr().expect("bound").as_socket();
            assert_eq!(local, Some(bound));
        }
    }

    #[test]
    fn sockets_may_have_an_address_that_is_not_ours() {
        // RFC 5737: nobody has it.
        let address = Address::Socket("192.0.2.1:0".parse().expect("an address"));
        let error = bind(&address, *OPTIONS, 1).expect_err("it is nobody's");
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
        let sockets = Sockets {
            freebind: true,
            fast_open_queue: Some(7),
            ..Sockets::default()
        };
        let options = ListenOptions {
            sockets: &sockets,
            ..*OPTIONS
        };
        bind(&address, options, 2).expect("it need not be there yet");
        let sockets = Sockets {
            transparent: true,
            ..Sockets::default()
        };
        let options = ListenOptions {
            sockets: &sockets,
            ..*OPTIONS
        };
        match bind(&address, options, 1) {
            Ok(_) => {}
            // It is for privileged processes.
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
        }
    }

    #[test]
    fn options_are_set_at_their_time_and_for_their_family() {
        let option = |stage, only_ipv6| SocketOption {
            level: libc::SOL_SOCKET,
            // No such option.
            name: 0x7fff,
            value: [0; 4].into(),
            stage,
            only_ipv6,
        };
        for stage in [Stage::BeforeBind, Stage::Bound, Stage::Listening] {
            for (only_ipv6, fails) in [(None, true), (Some(false), true), (Some(true), false)] {
                let unknown = [option(stage, only_ipv6)];
                let options = ListenOptions {
                    options: &unknown,
                    ..*OPTIONS
                };
                let refused = bind(&loopback(), options, 1).err();
                let refused = refused.map(|error| error.to_string());
                let told = "the kernel refuses the socket option 32767 of level 1: \
                            Protocol not available";
                assert_eq!(refused.as_deref(), fails.then_some(told));
            }
        }
    }

    #[test]
    fn a_port_in_use_is_an_error() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = Address::Socket(taken.local_addr().expect("bound"));
        let error = bind(&address, *OPTIONS, 2).expect_err("the port is taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_port_of_another_process_of_ours_is_an_error() {
        let (_theirs, bound) = bind(&loopback(), *OPTIONS, 2).expect("port 0 is free");
        let error = bind(&bound, *OPTIONS, 2).expect_err("they listen");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_stale_unix_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let address = Address::Pipe {
            path: folder.path().join("l.sock"),
            mode: 0o600,
        };
        let (sockets, _) = bind(&address, *OPTIONS, 2).expect("the path is free");
        assert_eq!(sockets.len(), 2);
        let error = bind(&address, *OPTIONS, 1).expect_err("somebody listens");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(sockets);
        bind(&address, *OPTIONS, 1).expect("nobody listens any more");
    }
}
