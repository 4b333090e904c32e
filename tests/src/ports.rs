//! Ports of which a test knows who answers there: nobody, and nobody else gets them.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

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
        while let Ok(stream) = TcpStream::connect_timeout(&at, Duration::from_millis(50)) {
            queued.push(stream);
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

fn address(socket: &Socket) -> SocketAddr {
    let address = socket.local_addr().expect("a bound socket");
    address.as_socket().expect("an IP address")
}
