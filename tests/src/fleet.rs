//! The hosts of a cluster: servers that can be killed, revived, slowed down or
//! made to fail, while they count what they get.
//!
//! Host `i` listens on a free port of 127.0.0.1 and answers every request with
//! its number, as the body and in the header `x-host`.

use crate::patience;
use std::collections::HashMap;
use std::io::{self, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use crate::ports::Reserved;

/// What a host does with a request.
#[derive(Clone, Debug, Default)]
pub enum Manner {
    /// It answers 200.
    #[default]
    Answer,
    /// It answers after a time.
    Slow(Duration),
    /// It answers with this status.
    Status(u16),
    /// It answers with these bytes.
    Bytes(Vec<u8>),
    /// It reads the request and never answers.
    Hang,
    /// It resets the connection instead of answering.
    Reset,
    /// It answers and closes the connection without saying so before.
    AnswerAndClose,
}

/// Some servers.
pub struct Fleet {
    hosts: Vec<Host>,
}

struct Host {
    address: SocketAddr,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
    /// Its port, while it is dead.
    reserved: Option<Reserved>,
}

#[derive(Default)]
struct State {
    manner: Mutex<Manner>,
    /// Connections that are served now, by their number.
    open: Mutex<HashMap<usize, TcpStream>>,
    listener: Mutex<Option<TcpListener>>,
    stopping: AtomicBool,
    requests: AtomicUsize,
    connections: AtomicUsize,
}

impl Fleet {
    /// Starts `count` hosts.
    ///
    /// # Panics
    /// When there are no free ports.
    #[must_use]
    pub fn start(count: usize) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let host = |number| Host::start(number, bind(any).expect("a free port"));
        Self {
            hosts: (0..count).map(host).collect(),
        }
    }

    /// Starts `count` hosts that have one port and differ in their addresses,
    /// as the hosts behind a name do: host `i` is 127.0.0.`i + 2`.
    ///
    /// # Panics
    /// When no port is free on all of the addresses.
    #[must_use]
    pub fn start_on_one_port(count: u8) -> Self {
        let at = |host: u8, port| bind(SocketAddr::from(([127, 0, 0, host + 2], port)));
        let listeners = (0..100).find_map(|_| {
            let first = at(0, 0).expect("a free port");
            let port = first.local_addr().expect("an address").port();
            let rest = (1..count).map(|host| at(host, port));
            std::iter::once(Ok(first))
                .chain(rest)
                .collect::<io::Result<Vec<_>>>()
                .ok()
        });
        let listeners = listeners
            .expect("a port that is free on all addresses")
            .into_iter();
        Self {
            hosts: listeners
                .enumerate()
                .map(|(number, listener)| Host::start(number, listener))
                .collect(),
        }
    }

    /// Where a host listens, or did.
    #[must_use]
    pub fn address(&self, host: usize) -> SocketAddr {
        self.hosts[host].address
    }

    /// The port of each host.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        self.hosts.iter().map(|host| host.address.port()).collect()
    }

    /// Requests that a host has read.
    #[must_use]
    pub fn requests(&self, host: usize) -> usize {
        self.hosts[host].state.requests.load(SeqCst)
    }

    /// Connections that a host has accepted.
    #[must_use]
    pub fn connections(&self, host: usize) -> usize {
        self.hosts[host].state.connections.load(SeqCst)
    }

    /// From now on a host does this with requests.
    pub fn set(&self, host: usize, manner: Manner) {
        *lock(&self.hosts[host].state.manner) = manner;
    }

    /// Kills a host: its connections are reset, new ones refused.
    pub fn kill(&mut self, host: usize) {
        let host = &mut self.hosts[host];
        host.kill();
        host.reserved = Some(Reserved::after(host.address));
    }

    /// Starts a host that was killed, on the same port.
    pub fn revive(&mut self, host: usize) {
        let reserved = self.hosts[host].reserved.take();
        let listener = reserved.expect("it was killed").listen();
        self.hosts[host].listen(host, listener);
    }
}

impl Host {
    fn start(number: usize, listener: TcpListener) -> Self {
        let mut host = Self {
            address: listener.local_addr().expect("an address"),
            state: Arc::default(),
            accepting: None,
            reserved: None,
        };
        host.listen(number, listener);
        host
    }

    fn listen(&mut self, number: usize, listener: TcpListener) {
        *lock(&self.state.listener) = Some(listener.try_clone().expect("a second handle"));
        self.state.stopping.store(false, SeqCst);
        let state = Arc::clone(&self.state);
        self.accepting = Some(thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if state.stopping.load(SeqCst) {
                    return;
                }
                let connection = state.connections.fetch_add(1, SeqCst);
                if let Ok(handle) = stream.try_clone() {
                    lock(&state.open).insert(connection, handle);
                }
                let state = Arc::clone(&state);
                thread::spawn(move || {
                    serve(stream, number, &state);
                    lock(&state.open).remove(&connection);
                });
            }
        }));
    }

    fn kill(&mut self) {
        self.state.stopping.store(true, SeqCst);
        if let Some(listener) = lock(&self.state.listener).take() {
            // Wakes the accepting thread, which then ends.
            let _ = SockRef::from(&listener).shutdown(Shutdown::Both);
        }
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for stream in lock(&self.state.open).values() {
            reset(stream);
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends a connection with a reset, whoever else holds it: dissolving it does
/// so at once, where closing needs the last handle.
fn reset(stream: &TcpStream) {
    let nowhere = libc::sockaddr {
        sa_family: libc::AF_UNSPEC as libc::sa_family_t,
        sa_data: [0; 14],
    };
    let size = size_of::<libc::sockaddr>() as libc::socklen_t;
    // SAFETY: a plain system call on a descriptor that lives, with an address
    // of the size that is said. A connection that is gone already is as good.
    let _ = unsafe { libc::connect(stream.as_raw_fd(), &raw const nowhere, size) };
}

fn serve(mut stream: TcpStream, number: usize, state: &State) {
    let _ = stream.set_nodelay(true);
    let mut received = Vec::new();
    loop {
        while !received.windows(4).any(|end| end == b"\r\n\r\n") {
            let mut piece = [0; 4096];
            match patience::read(&mut stream, &mut piece) {
                Ok(0) | Err(_) => return,
                Ok(size) => received.extend_from_slice(&piece[..size]),
            }
        }
        let end = received.windows(4).position(|end| end == b"\r\n\r\n");
        received.drain(..end.map_or(0, |end| end + 4));
        state.requests.fetch_add(1, SeqCst);
        let manner = lock(&state.manner).clone();
        let answer = |status: u16| {
            let body = number.to_string();
            format!(
                "HTTP/1.1 {status} As Asked\r\nx-host: {number}\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        let sent = match manner {
            Manner::Answer => stream.write_all(answer(200).as_bytes()),
            Manner::Slow(time) => {
                thread::sleep(time);
                stream.write_all(answer(200).as_bytes())
            }
            Manner::Status(status) => stream.write_all(answer(status).as_bytes()),
            Manner::Bytes(bytes) => stream.write_all(&bytes),
            Manner::Hang => Ok(()),
            Manner::Reset => return reset(&stream),
            Manner::AnswerAndClose => {
                // In one segment: nobody can take the connection in between.
                let _ = SockRef::from(&stream).set_tcp_cork(true);
                let _ = stream.write_all(answer(200).as_bytes());
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(address: SocketAddr) -> Result<String, std::io::Error> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
        let mut answer = [0; 512];
        let size = patience::read(&mut stream, &mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..size]).into_owned())
    }

    #[test]
    fn hosts_tell_who_they_are_die_and_live_again() {
        let mut fleet = Fleet::start(2);
        assert!(ask(fleet.address(1)).unwrap().contains("x-host: 1\r\n"));
        fleet.set(1, Manner::Status(503));
        assert!(ask(fleet.address(1)).unwrap().starts_with("HTTP/1.1 503 "));
        assert_eq!((fleet.requests(0), fleet.requests(1)), (0, 2));
        fleet.set(0, Manner::Reset);
        let error = ask(fleet.address(0)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        fleet.set(0, Manner::Answer);
        fleet.kill(1);
        assert!(ask(fleet.address(1)).is_err());
        assert!(ask(fleet.address(0)).unwrap().contains("x-host: 0\r\n"));
        fleet.revive(1);
        assert!(ask(fleet.address(1)).unwrap().starts_with("HTTP/1.1 503 "));
    }
}
