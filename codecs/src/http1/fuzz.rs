//! What must hold for any bytes whatsoever: shared by the fuzz targets, the
//! replay of their corpus and the table tests. Not part of the API.
//!
//! A [`Side`] reads a whole connection's worth of bytes into [`Event`]s. The
//! checks are that nothing panics, that the events do not depend on how the
//! bytes are cut into buffers, and that an accepted head means the same after
//! it was written and read again.

use super::{
    BodyDecoder, BodyOptions, Framing, HEADERS_MAX, HeadEnd, HeadReader, HeadersWithUnderscores,
    Http1Error, REQUEST_HEAD_BYTES_MAX, RESPONSE_HEAD_BYTES_MAX, RequestHead, RequestOptions,
    ResponseHead, ResponseOptions, encode_last_chunk, encode_request_head, encode_response_head,
};
use crate::header::{HeaderId, HeaderMap, NameCase, PreserveCase};

/// Names and values in order.
pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// Something that a reader of a connection learns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A request head, and where it ends in the input.
    Request(RequestHead, Fields, usize),
    /// A response head, and where it ends in the input.
    Response(ResponseHead, Fields, usize),
    /// Body bytes between two other events.
    Data(Vec<u8>),
    /// The end of a body: its trailers, and where it ends in the input.
    End(Fields, usize),
    /// The bytes are refused; nothing follows.
    Error(Http1Error),
    /// The input ends within a message.
    Truncated,
}

/// Which messages are read, and how.
#[derive(Clone, Debug)]
pub enum Side {
    /// Requests of a client.
    Requests(RequestOptions),
    /// Responses of an upstream, all to the same kind of request.
    Responses {
        /// Limits.
        options: ResponseOptions,
        /// The requests were HEAD.
        head: bool,
        /// The requests were CONNECT.
        connect: bool,
    },
    /// One body, without a head.
    Body(Framing, BodyOptions),
}

impl Side {
    /// Reads `input`, which arrives in pieces that end at `cuts` (rising) and
    /// at its end, after which the peer closes.
    pub fn read(&self, input: &[u8], cuts: impl IntoIterator<Item = usize>) -> Vec<Event> {
        let mut reader = Reader::new(self);
        let mut from = 0;
        for cut in cuts.into_iter().chain([input.len()]) {
            let cut = cut.clamp(from, input.len());
            if !reader.piece(&input[from..cut], from) {
                return reader.events;
            }
            from = cut;
        }
        reader.close(input);
        reader.events
    }
}

struct Reader<'a> {
    side: &'a Side,
    heads: HeadReader,
    body: Option<BodyDecoder>,
    fields: HeaderMap,
    trailers: HeaderMap,
    events: Vec<Event>,
    /// Where the message that is read begins in the input.
    message_start: usize,
    /// CONNECT was accepted: what follows is not HTTP.
    tunnel: bool,
}

impl Reader<'_> {
    fn new(side: &Side) -> Reader<'_> {
        let body = match side {
            Side::Body(framing, o) => Some(BodyDecoder::new(*framing, o)),
            _ => None,
        };
        Reader {
            side,
            heads: HeadReader::new(),
            body,
            fields: HeaderMap::new(),
            trailers: HeaderMap::new(),
            events: Vec::new(),
            message_start: 0,
            tunnel: false,
        }
    }

    /// False when nothing more can be read.
    fn piece(&mut self, piece: &[u8], offset: usize) -> bool {
        let mut at = 0;
        while at < piece.len() && !self.tunnel {
            let step = match self.body {
                Some(_) => self.body_step(&piece[at..], offset + at),
                None => self.head_step(&piece[at..], offset + at),
            };
            match step {
                Ok(consumed) => at += consumed,
                Err(e) => {
                    self.events.push(Event::Error(e));
                    return false;
                }
            }
        }
        !self.tunnel
    }

    fn head_step(&mut self, rest: &[u8], offset: usize) -> Result<usize, Http1Error> {
        let (framing, consumed, options) = match self.side {
            Side::Requests(o) => {
                let Some((head, consumed)) = self.heads.request(rest, o, &mut self.fields)? else {
                    return Ok(rest.len());
                };
                if head.refused.is_none() {
                    check_request_again(&head, &self.fields, o);
                }
                self.tunnel = head.is_connect;
                let framing = head.framing;
                let fields = fields(&self.fields);
                self.events
                    .push(Event::Request(head, fields, offset + consumed));
                (framing, consumed, body_options(o.trailers))
            }
            Side::Responses {
                options,
                head,
                connect,
            } => {
                let read = self
                    .heads
                    .response(rest, options, *head, *connect, &mut self.fields)?;
                let Some((response, consumed)) = read else {
                    return Ok(rest.len());
                };
                check_response_again(&response, &self.fields, *head, *connect);
                self.tunnel = response.status == 101 || (*connect && response.status / 100 == 2);
                let framing = response.framing;
                let fields = fields(&self.fields);
                self.events
                    .push(Event::Response(response, fields, offset + consumed));
                (framing, consumed, body_options(options.trailers))
            }
            Side::Body(..) => return Ok(rest.len()),
        };
        assert!(self.heads.is_empty() && consumed <= rest.len() && consumed > 0);
        self.message_start = offset + consumed;
        let body = BodyDecoder::new(framing, &options);
        if !body.is_done() {
            self.trailers.clear();
            self.body = Some(body);
        }
        Ok(consumed)
    }

    fn body_step(&mut self, rest: &[u8], offset: usize) -> Result<usize, Http1Error> {
        let Some(body) = &mut self.body else {
            return Ok(0);
        };
        let step = body.decode(rest, &mut self.trailers)?;
        assert!(step.consumed > 0 || step.done);
        assert!(step.data.end <= step.consumed && step.consumed <= rest.len());
        assert_eq!(step.done, body.is_done());
        let data = &rest[step.data];
        match self.events.last_mut() {
            _ if data.is_empty() => {}
            Some(Event::Data(before)) => before.extend_from_slice(data),
            _ => self.events.push(Event::Data(data.to_vec())),
        }
        if step.done {
            self.end_body(offset + step.consumed);
        }
        Ok(step.consumed)
    }

    fn end_body(&mut self, at: usize) {
        self.events.push(Event::End(fields(&self.trailers), at));
        self.message_start = at;
        self.body = None;
        self.tunnel = matches!(self.side, Side::Body(..));
    }

    fn close(&mut self, input: &[u8]) {
        if let Some(body) = &mut self.body {
            match body.on_eof() {
                Ok(()) => self.end_body(input.len()),
                Err(e) => self.events.push(Event::Error(e)),
            }
        } else if !self.heads.is_empty() {
            // An unfinished line is only looked at when it comes with the
            // first piece, so that is how the last words are read here.
            self.heads = HeadReader::new();
            let start = self.message_start;
            match self.head_step(&input[start..], start) {
                Ok(_) => self.events.push(Event::Truncated),
                Err(e) => self.events.push(Event::Error(e)),
            }
        }
    }
}

/// Reads `input` whole, byte by byte and cut at places that `seed` chooses,
/// and returns the events, which must be the same.
pub fn check(side: &Side, input: &[u8], seed: u64) -> Vec<Event> {
    let events = side.read(input, []);
    let by_byte = side.read(input, 1..input.len());
    assert_eq!(events, by_byte, "byte by byte");
    let cuts = random_cuts(input.len(), seed);
    let cut = side.read(input, cuts.iter().copied());
    assert_eq!(events, cut, "cut at {cuts:?}");
    events
}

/// The fuzz target for requests. The first two bytes choose options and cuts.
pub fn http1_request(data: &[u8]) {
    let Some((&[options, seed], input)) = data.split_first_chunk() else {
        return;
    };
    check(&request_side(options), input, u64::from(seed));
}

/// The fuzz target for responses. The first two bytes choose options and cuts.
pub fn http1_response(data: &[u8]) {
    let Some((&[options, seed], input)) = data.split_first_chunk() else {
        return;
    };
    check(&response_side(options), input, u64::from(seed));
}

/// The fuzz target for bodies. The first two bytes choose options and cuts.
pub fn http1_body(data: &[u8]) {
    let Some((&[options, seed], input)) = data.split_first_chunk() else {
        return;
    };
    let framing = match options & 3 {
        0 | 1 => Framing::Chunked,
        2 => Framing::Length(u64::from(options >> 2)),
        _ => Framing::UntilClose,
    };
    // Small limits, so that short inputs can reach them.
    let o = BodyOptions {
        trailers: options & 4 != 0,
        trailer_bytes_max: if options & 8 != 0 { 40 } else { 4096 },
        chunk_extension_bytes_max: if options & 16 != 0 { 10 } else { 4096 },
    };
    let events = check(&Side::Body(framing, o), input, u64::from(seed));
    check_body_again(framing, &o, &events);
}

/// A side whose options are the bits of `options`.
pub fn request_side(options: u8) -> Side {
    let bit = |n: u8| options & (1 << n) != 0;
    Side::Requests(RequestOptions {
        // Bit 5 means nothing else without bit 4.
        allow_absolute_url: bit(4) || !bit(5),
        head_bytes_max: if bit(0) { 200 } else { REQUEST_HEAD_BYTES_MAX },
        headers_max: if bit(1) { 5 } else { HEADERS_MAX },
        accept_http_10: !bit(2),
        default_host_for_http_10: bit(3).then(|| "default.host".into()),
        underscores: match (bit(4), bit(5)) {
            (false, _) => HeadersWithUnderscores::Allow,
            (true, false) => HeadersWithUnderscores::RejectRequest,
            (true, true) => HeadersWithUnderscores::DropHeader,
        },
        refuse_https_url: bit(6) && bit(7),
        allow_chunked_length: bit(6),
        trailers: !bit(7),
        allow_custom_methods: bit(1) && bit(2),
        preserve_case: (bit(3) && bit(6)).then(PreserveCase::default),
    })
}

/// A side whose options are the bits of `options`.
pub fn response_side(options: u8) -> Side {
    let bit = |n: u8| options & (1 << n) != 0;
    Side::Responses {
        options: ResponseOptions {
            head_bytes_max: if bit(0) { 200 } else { RESPONSE_HEAD_BYTES_MAX },
            headers_max: if bit(1) { 5 } else { HEADERS_MAX },
            trailers: !bit(2),
            preserve_case: bit(5).then_some(PreserveCase {
                others: match bit(6) {
                    true => NameCase::Proper,
                    false => NameCase::Lower,
                },
                reason_phrase: bit(7),
            }),
        },
        head: bit(3),
        connect: bit(4),
    }
}

fn body_options(trailers: bool) -> BodyOptions {
    BodyOptions {
        trailers,
        ..BodyOptions::default()
    }
}

/// What was accepted and written by us must be read the same by anyone, for
/// whom we stand in here.
/// Without `allow_absolute_url` that must be somebody who takes the target as
/// it is, too: the operator has asked for that.
fn check_request_again(head: &RequestHead, h: &HeaderMap, read_with: &RequestOptions) {
    for case in [NameCase::Lower, NameCase::Proper] {
        check_written_request(head, h, read_with, case);
    }
}

fn check_written_request(
    head: &RequestHead,
    h: &HeaderMap,
    read_with: &RequestOptions,
    case: NameCase,
) {
    let end = match head.framing {
        Framing::Chunked => HeadEnd::Chunked,
        _ => HeadEnd::Fields,
    };
    let mut out = Vec::new();
    encode_request_head(&mut out, h, end, case);
    let o = RequestOptions {
        allow_absolute_url: read_with.allow_absolute_url,
        allow_custom_methods: read_with.allow_custom_methods,
        head_bytes_max: usize::MAX,
        headers_max: h.len() + 2,
        ..RequestOptions::default()
    };
    let mut again = HeaderMap::new();
    let read = HeadReader::new().request(&out, &o, &mut again);
    let Ok(Some((second, consumed))) = read else {
        panic!("{} is read as {read:?}", out.escape_ascii());
    };
    assert_eq!(consumed, out.len());
    assert_eq!(second.framing, head.framing);
    assert_eq!(second.is_connect, head.is_connect);
    assert_eq!(second.is_head, head.is_head);
    assert_eq!(second.upgrade, head.upgrade);
    for id in [HeaderId::Method, HeaderId::Path, HeaderId::Authority] {
        assert_eq!(h.get(id), again.get(id));
    }
    assert_eq!(plain_fields(h), plain_fields(&again));
}

fn check_response_again(head: &ResponseHead, h: &HeaderMap, was_head: bool, was_connect: bool) {
    for case in [NameCase::Lower, NameCase::Proper] {
        check_written_response(head, h, (was_head, was_connect), case);
    }
}

fn check_written_response(
    head: &ResponseHead,
    h: &HeaderMap,
    (was_head, was_connect): (bool, bool),
    case: NameCase,
) {
    // Only a head that says where its body ends can say it twice.
    let end = match head.framing {
        Framing::Chunked => HeadEnd::Chunked,
        _ => HeadEnd::Fields,
    };
    let mut out = Vec::new();
    encode_response_head(&mut out, head.status, h, end, false, head.version, case);
    let o = ResponseOptions {
        head_bytes_max: usize::MAX,
        headers_max: h.len() + 2,
        ..ResponseOptions::default()
    };
    let mut again = HeaderMap::new();
    let read = HeadReader::new().response(&out, &o, was_head, was_connect, &mut again);
    let Ok(Some((second, consumed))) = read else {
        panic!("{} is read as {read:?}", out.escape_ascii());
    };
    assert_eq!(consumed, out.len());
    assert_eq!(second.framing, head.framing);
    assert_eq!(second.status, head.status);
    let mut expected = plain_fields(h);
    if head.status < 200 || head.status == 204 {
        // Not sent on, though it came.
        expected.retain(|(name, _)| !name.eq_ignore_ascii_case(b"content-length"));
    }
    if head.version == super::Version::Http10
        && head.status >= 200
        && !h.contains(HeaderId::Connection)
    {
        expected.push((b"connection".to_vec(), b"keep-alive".to_vec()));
    }
    assert_eq!(expected, plain_fields(&again));
}

/// A complete body, written as one chunk, is read the same.
fn check_body_again(framing: Framing, o: &BodyOptions, events: &[Event]) {
    let Some(Event::End(trailers, _)) = events.last() else {
        return;
    };
    if framing != Framing::Chunked {
        return;
    }
    let mut out = Vec::new();
    if let Some(Event::Data(data)) = events.first() {
        super::encode_chunk_header(&mut out, data.len());
        out.extend_from_slice(data);
        out.extend_from_slice(super::CHUNK_END);
    }
    let mut map = HeaderMap::new();
    for (name, value) in trailers {
        map.append_name(name, value);
    }
    encode_last_chunk(&mut out, Some(&map));
    // Written lines may be longer than the received ones by a space.
    let o = BodyOptions {
        trailer_bytes_max: usize::MAX,
        ..*o
    };
    let again = Side::Body(framing, o).read(&out, []);
    let strip = |events: &[Event]| -> Vec<Event> {
        let strip = |e: &Event| match e {
            Event::End(fields, _) => Event::End(fields.clone(), 0),
            e => e.clone(),
        };
        events.iter().map(strip).collect()
    };
    assert_eq!(strip(events), strip(&again));
}

/// All entries of a list.
pub fn fields(h: &HeaderMap) -> Fields {
    h.iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec()))
        .collect()
}

/// The entries that are neither pseudo headers nor chosen by the encoder.
fn plain_fields(h: &HeaderMap) -> Fields {
    let mut all = fields(h);
    all.retain(|(name, _)| name[0] != b':' && name != b"transfer-encoding");
    all
}

/// A few cuts that depend only on the arguments (a linear congruential
/// generator: this module has no dependencies).
fn random_cuts(len: usize, seed: u64) -> Vec<usize> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut cuts: Vec<usize> = (0..4)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % (len + 1)
        })
        .collect();
    cuts.sort_unstable();
    cuts
}
