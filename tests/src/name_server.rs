//! A name server on 127.0.0.1, over UDP and TCP, whose table the test changes
//! while it runs. What a UDP answer does not hold is truncated, so that long
//! answers are asked for again over TCP (RFC 1035 section 4.2).

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// What is said of a name.
#[derive(Clone, Debug)]
pub enum Reply {
    /// It has these addresses, for so many seconds.
    Addresses(Vec<IpAddr>, u32),
    /// It is another name for this one.
    Alias(&'static str),
    /// An error of this number: 2 is SERVFAIL, 3 NXDOMAIN, 5 REFUSED.
    Error(u8),
    /// Nothing at all.
    Silence,
    /// These bytes behind the number of the question.
    Garbage(Vec<u8>),
}

/// A question that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name, in lower case and without the last dot.
    pub name: String,
    /// 1 asks for IPv4 addresses, 28 for IPv6.
    pub kind: u16,
    /// It came over TCP.
    pub over_tcp: bool,
    /// When it came.
    pub at: Instant,
}

/// A running name server. It lives as long as the process.
pub struct NameServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    table: HashMap<String, Reply>,
    /// What is said instead to those who ask for IPv6 addresses.
    v6: HashMap<String, Reply>,
    asked: Vec<Question>,
}

impl NameServer {
    /// Starts one that knows no names.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn start() -> NameServer {
        let (tcp, udp) = sockets();
        let address = tcp.local_addr().expect("an address");
        let state: Arc<Mutex<State>> = Arc::default();
        let for_tcp = Arc::clone(&state);
        thread::spawn(move || {
            while let Ok((stream, _)) = tcp.accept() {
                let state = Arc::clone(&for_tcp);
                // A peer that goes away in between has its answer.
                thread::spawn(move || drop(serve_stream(stream, &state)));
            }
        });
        let for_udp = Arc::clone(&state);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((size, peer)) = udp.recv_from(&mut buffer) {
                if let Some(answer) = answer(&buffer[..size], false, &for_udp) {
                    drop(udp.send_to(&answer, peer));
                }
            }
        });
        NameServer { address, state }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this is said of `name`.
    pub fn set(&self, name: &str, reply: Reply) {
        let mut state = lock(&self.state);
        state.v6.remove(name);
        state.table.insert(name.to_owned(), reply);
    }

    /// The same, but to those who ask for IPv6 addresses this is said.
    pub fn set_with_v6(&self, name: &str, reply: Reply, of_v6: Reply) {
        let mut state = lock(&self.state);
        state.v6.insert(name.to_owned(), of_v6);
        state.table.insert(name.to_owned(), reply);
    }

    /// `name` has these addresses for an hour.
    ///
    /// # Panics
    /// When one of them is none.
    pub fn set_addresses(&self, name: &str, addresses: &[&str]) {
        let parsed = addresses.iter().map(|ip| ip.parse().expect("an address"));
        self.set(name, Reply::Addresses(parsed.collect(), 3600));
    }

    /// What has been asked.
    #[must_use]
    pub fn asked(&self) -> Vec<Question> {
        lock(&self.state).asked.clone()
    }

    /// The field `typed_dns_resolver_config` of a cluster that asks this server
    /// and waits for a second.
    #[must_use]
    pub fn resolver(&self) -> String {
        self.resolver_within(1)
    }

    /// The same, and it waits for so many seconds.
    #[must_use]
    pub fn resolver_within(&self, seconds: u32) -> String {
        format!(
            "typed_dns_resolver_config: {{ name: envoy.network.dns_resolver.cares, \
             typed_config: {{ \"@type\": type.googleapis.com/\
             envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig, \
             resolvers: [ {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} ], \
             query_timeout_seconds: {seconds}, query_tries: 1 }} }}",
            self.address.port()
        )
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Two sockets on one port.
fn sockets() -> (TcpListener, UdpSocket) {
    for _ in 0..100 {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = tcp.local_addr().expect("an address");
        if let Ok(udp) = UdpSocket::bind(address) {
            return (tcp, udp);
        }
    }
    panic!("no port is free for both UDP and TCP");
}

fn serve_stream(mut stream: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut question)?;
        if let Some(answer) = answer(&question, true, state) {
            let length = u16::try_from(answer.len()).expect("an answer below 64 KiB");
            stream.write_all(&[&length.to_be_bytes()[..], &answer].concat())?;
        }
    }
}

const HEADER_BYTES: usize = 12;
const UDP_BYTES_MAX: usize = 1232;
/// A message has at most 64 KiB: about 4,000 IPv4 addresses. Others are left
/// out.
const RECORDS_BYTES_MAX: usize = 65_000;

fn answer(question: &[u8], over_tcp: bool, state: &Mutex<State>) -> Option<Vec<u8>> {
    let (name, end) = name_of(question)?;
    let kind = u16::from_be_bytes([*question.get(end)?, *question.get(end + 1)?]);
    let mut state = lock(state);
    state.asked.push(Question {
        name: name.clone(),
        kind,
        over_tcp,
        at: Instant::now(),
    });
    let section = &question[HEADER_BYTES..end + 4];
    let (mut owner, mut records, mut count) = (vec![0xc0, HEADER_BYTES as u8], Vec::new(), 0);
    let of_kind = match kind {
        AAAA => state.v6.get(&name),
        _ => None,
    };
    let mut reply = of_kind.or_else(|| state.table.get(&name)).cloned();
    if let Some(Reply::Alias(real)) = reply {
        let written = written(real);
        record(&mut records, &owner, CNAME, 3600, &written);
        count += 1;
        owner = written;
        reply = state.table.get(real).cloned();
    }
    let code = match reply.unwrap_or(Reply::Error(NXDOMAIN)) {
        Reply::Addresses(addresses, ttl) => {
            for address in addresses {
                if records.len() > RECORDS_BYTES_MAX {
                    break;
                }
                match address {
                    IpAddr::V4(ip) if kind == A => {
                        record(&mut records, &owner, A, ttl, &ip.octets());
                    }
                    IpAddr::V6(ip) if kind == AAAA => {
                        record(&mut records, &owner, AAAA, ttl, &ip.octets());
                    }
                    _ => continue,
                }
                count += 1;
            }
            0
        }
        Reply::Error(code) => code,
        Reply::Alias(_) | Reply::Silence => return None,
        Reply::Garbage(bytes) => return Some([&question[..2], &bytes].concat()),
    };
    let mut truncated = 0;
    if !over_tcp && HEADER_BYTES + section.len() + records.len() > UDP_BYTES_MAX {
        (truncated, count) = (0x02, 0);
        records.clear();
    }
    let mut answer = question[..2].to_vec();
    answer.extend([0x81 | truncated, 0x80 | code]);
    for number in [1, count, 0, 0] {
        answer.extend(u16::to_be_bytes(number));
    }
    answer.extend(section);
    answer.extend(records);
    Some(answer)
}

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const NXDOMAIN: u8 = 3;

fn record(records: &mut Vec<u8>, owner: &[u8], kind: u16, ttl: u32, data: &[u8]) {
    records.extend(owner);
    records.extend(kind.to_be_bytes());
    records.extend(1_u16.to_be_bytes());
    records.extend(ttl.to_be_bytes());
    records.extend((data.len() as u16).to_be_bytes());
    records.extend(data);
}

/// The name that is asked for, and where it ends.
fn name_of(question: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), HEADER_BYTES);
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        let label = question.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        at += length;
    }
}

fn written(name: &str) -> Vec<u8> {
    let labels = name.split('.');
    let mut bytes: Vec<u8> = labels
        .flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat())
        .collect();
    bytes.push(0);
    bytes
}
