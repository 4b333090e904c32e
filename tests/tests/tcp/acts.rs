//! What clients and hosts of several suites do.

use crate::scene::{Act, Who, client_sends, host_sends};

/// The client sends something, which a host answers.
pub fn exchange(host: usize, sent: impl AsRef<[u8]>) -> Vec<Act> {
    let sent = sent.as_ref();
    vec![
        client_sends(sent),
        Act::Accept(host),
        Act::Read(Who::Host, sent.len()),
        host_sends("answer"),
        Act::Read(Who::Client, 6),
    ]
}

/// An exchange, after which the client closes.
pub fn whole(host: usize, sent: impl AsRef<[u8]>) -> Vec<Act> {
    let close = [Act::Close(Who::Client), Act::ReadToEnd(Who::Host)];
    [exchange(host, sent), close.to_vec()].concat()
}

/// The ways in which a connection ends on which neither side is behind: what each is
/// called, and what happens. Who has not ended first sends `more` behind the other's end.
pub fn endings(more: &[u8]) -> [(&'static str, Vec<Act>); 4] {
    use Who::{Client, Host};
    let first = |first, other| {
        vec![
            Act::Finish(first),
            Act::ReadToEnd(other),
            Act::Send(other, more.to_vec()),
            Act::Read(first, more.len()),
            Act::Finish(other),
            Act::ReadToEnd(first),
        ]
    };
    let reset = |by, other| vec![Act::Reset(by), Act::ReadToEnd(other)];
    [
        ("the client ends first", first(Client, Host)),
        ("the host ends first", first(Host, Client)),
        ("the client resets", reset(Client, Host)),
        ("the host resets", reset(Host, Client)),
    ]
}

/// The first bytes of a TLS connection that asks for this server.
pub fn client_hello(name: &str) -> Vec<u8> {
    let with_length = |bytes: usize, data: &[u8]| {
        let length = (data.len() as u32).to_be_bytes();
        [&length[4 - bytes..], data].concat()
    };
    let name = with_length(2, &[&[0][..], &with_length(2, name.as_bytes())].concat());
    let extensions = [
        [&[0, 0][..], &with_length(2, &name)].concat(),
        vec![0, 43, 0, 3, 2, 3, 4],
    ]
    .concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0],
        &with_length(2, &[0x13, 1]),
        &with_length(1, &[0]),
        &with_length(2, &extensions),
    ]
    .concat();
    let message = [&[1][..], &with_length(3, &body)].concat();
    [&[22, 3, 1][..], &with_length(2, &message)].concat()
}
