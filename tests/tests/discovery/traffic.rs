//! Requests that run while hosts change.

use ringway_tests::message::{self, Kind, Message};
use ringway_tests::patience;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// Clients that send one request after the other until they are stopped.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    statuses: Arc<Mutex<BTreeMap<u16, usize>>>,
    clients: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// Four clients of this address.
    pub fn start(address: SocketAddr) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let statuses = Arc::<Mutex<BTreeMap<u16, usize>>>::default();
        let client = |_| {
            let (stop, statuses) = (Arc::clone(&stop), Arc::clone(&statuses));
            thread::spawn(move || {
                let mut stream = TcpStream::connect(address).expect("a connection");
                while !stop.load(SeqCst) {
                    let status = ask(&mut stream).status();
                    let mut statuses = statuses.lock().unwrap_or_else(PoisonError::into_inner);
                    *statuses.entry(status).or_default() += 1;
                }
            })
        };
        let clients = (0..4).map(client).collect();
        Self {
            stop,
            statuses,
            clients,
        }
    }

    /// The number of answers by status.
    pub fn stop(self) -> BTreeMap<u16, usize> {
        self.stop.store(true, SeqCst);
        for client in self.clients {
            client.join().expect("a client's requests were answered");
        }
        let statuses = self.statuses.lock().unwrap_or_else(PoisonError::into_inner);
        statuses.clone()
    }
}

/// One request on a connection that stays open, and its answer.
pub fn ask(stream: &mut TcpStream) -> Message {
    ask_with(stream, "")
}

/// [`ask`], with more header lines.
pub fn ask_with(stream: &mut TcpStream, headers: &str) -> Message {
    let request = format!("GET / HTTP/1.1\r\nhost: a\r\n{headers}\r\n");
    stream
        .write_all(request.as_bytes())
        .expect("the proxy reads");
    let mut received = Vec::new();
    loop {
        let kind = Kind::Response { to_head: false };
        if let Some((answer, _)) = message::read(&received, kind, false)
            && answer.complete
        {
            return answer;
        }
        let mut piece = [0; 4096];
        let size = patience::read(&mut *stream, &mut piece).expect("the proxy answers");
        assert!(size > 0, "the proxy closed after {received:?}");
        received.extend_from_slice(&piece[..size]);
    }
}
