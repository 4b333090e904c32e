use super::*;
use crate::header::{HeaderId, HeaderMap};

#[test]
fn a_request_is_read_and_written() {
    let input = b"POST /x?y HTTP/1.1\r\nHost: a:80\r\nX-Some: v\r\nContent-Length: 5\r\n\r\nhello";
    let mut reader = HeadReader::new();
    let mut h = HeaderMap::new();
    let (head, consumed) = reader
        .request(input, &RequestOptions::default(), &mut h)
        .unwrap()
        .unwrap();
    assert_eq!(consumed, input.len() - 5);
    assert_eq!(head.framing, Framing::Length(5));
    assert!(head.keep_alive && reader.is_empty());
    assert_eq!(h.get(HeaderId::Authority), Some(&b"a:80"[..]));
    assert_eq!(h.get_name(b"x-some"), Some(&b"v"[..]));
    let mut out = Vec::new();
    encode_request_head(&mut out, &h, false);
    assert_eq!(
        out,
        b"POST /x?y HTTP/1.1\r\nhost: a:80\r\nx-some: v\r\ncontent-length: 5\r\n\r\n"
    );
}
