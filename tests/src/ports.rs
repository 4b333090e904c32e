//! Ports of which a test knows who answers there: nobody, and nobody else gets them.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;

use socket2::{Domain, Socket, Type};

/// A port of which this is the only owner: connections to it are refused, and the kernel
/// gives it to nobody else, as it does with one that was just closed. A program that
/// shares ports (`SO_REUSEPORT`) can be told to listen there.
#[derive(Debug)]
pub struct Reserved(Socket);

impl Reserved {
    /// A port that was free.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn new() -> Reserved {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_reuse_port(true).expect("an option");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).expect("a free port");
        Reserved(socket)
    }

    /// The address of somebody who has just gone.
    ///
    /// # Panics
    /// When somebody else has it.
    #[must_use]
    pub fn after(gone: SocketAddr) -> Reserved {
        let socket = Socket::new(Domain::for_address(gone), Type::STREAM, None).expect("a socket");
        // Connections of the one before may still have it.
        socket.set_reuse_address(true).expect("an option");
        socket.bind(&gone.into()).expect("the address of before");
        Reserved(socket)
    }

    /// Where that is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        address(&self.0)
    }

    /// The same, without the IP address.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address().port()
    }

    /// From now on somebody listens there.
    ///
    /// # Panics
    /// When the kernel does not let it.
    #[must_use]
    pub fn listen(self) -> TcpListener {
        self.0.listen(1024).expect("a bound socket");
        self.0.into()
    }
}

impl Default for Reserved {
    fn default() -> Reserved {
        Reserved::new()
    }
}

/// A port where connections are neither made nor refused: somebody listens, and the
/// queue is full.
#[derive(Debug)]
pub struct Stuck {
    listener: Socket,
    _queued: Vec<TcpStream>,
}

impl Stuck {
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn new() -> Stuck {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        listener.bind(&any.into()).expect("a free port");
        listener.listen(0).expect("a bound socket");
        let at = address(&listener);
        let mut queued = Vec::new();
        while !is_full(&listener) {
            queued.push(TcpStream::connect(at).expect("a queue with room"));
        }
        Stuck {
            listener,
            _queued: queued,
        }
    }

    /// Where that is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        address(&self.listener)
    }

    /// The same, without the IP address.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address().port()
    }
}

impl Default for Stuck {
    fn default() -> Stuck {
        Stuck::new()
    }
}

/// Whether the queue of a listening socket takes no connection any more.
fn is_full(socket: &Socket) -> bool {
    // SAFETY: the structure is plain numbers, for which zeros are valid.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut size = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: a plain system call on a descriptor that lives, with a structure of the
    // size that is said.
    let asked = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut size,
        )
    };
    assert_eq!(asked, 0, "the kernel tells about its sockets");
    // Of a listening socket these are the length of its queue and its limit.
    info.tcpi_unacked > info.tcpi_sacked
}

fn address(socket: &Socket) -> SocketAddr {
    let address = socket.local_addr().expect("a bound socket");
    address.as_socket().expect("an IP address")
}
