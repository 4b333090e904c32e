//! Header compression of HTTP/2 (RFC 7541) for the tests' own client: it writes
//! literals only, so that a test decides on every byte, and reads everything.

use std::collections::VecDeque;

/// Name and value.
pub type Field = (String, String);

/// Appends a field as a literal without indexing: nothing is checked, nothing
/// is compressed.
pub fn encode(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.push(0);
    for text in [name, value] {
        encode_integer(0, 7, text.len(), out);
        out.extend_from_slice(text);
    }
}

/// Appends an integer whose first byte has `bits` for it and `first` above.
pub fn encode_integer(first: u8, bits: u32, value: usize, out: &mut Vec<u8>) {
    let max = (1usize << bits) - 1;
    if value < max {
        out.push(first | value as u8);
        return;
    }
    out.push(first | max as u8);
    let mut rest = value - max;
    while rest >= 128 {
        out.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    out.push(rest as u8);
}

/// What a connection's peer may refer to.
#[derive(Default)]
pub struct Decoder {
    dynamic: VecDeque<Field>,
}

impl Decoder {
    /// Reads a header block. `None` where it is none.
    pub fn decode(&mut self, block: &[u8]) -> Option<Vec<Field>> {
        let mut fields = Vec::new();
        let mut rest = block;
        while let Some(&first) = rest.first() {
            if first & 0x80 != 0 {
                let index = integer(&mut rest, 7)?;
                fields.push(self.entry(index)?);
            } else if first & 0xe0 == 0x20 {
                // The table's size: a test's connection never fills it.
                integer(&mut rest, 5)?;
            } else {
                let is_kept = first & 0xc0 == 0x40;
                let index = integer(&mut rest, if is_kept { 6 } else { 4 })?;
                let name = match index {
                    0 => string(&mut rest)?,
                    index => self.entry(index)?.0,
                };
                let field = (name, string(&mut rest)?);
                if is_kept {
                    self.keep(field.clone());
                }
                fields.push(field);
            }
        }
        Some(fields)
    }

    fn entry(&self, index: usize) -> Option<Field> {
        match STATIC.get(index.checked_sub(1)?) {
            Some((name, value)) => Some(((*name).to_owned(), (*value).to_owned())),
            None => self.dynamic.get(index - 1 - STATIC.len()).cloned(),
        }
    }

    fn keep(&mut self, field: Field) {
        self.dynamic.push_front(field);
        let size = |field: &Field| field.0.len() + field.1.len() + 32;
        while self.dynamic.iter().map(size).sum::<usize>() > TABLE_BYTES {
            self.dynamic.pop_back();
        }
    }
}

/// The default size of the dynamic table, which our client leaves as it is.
const TABLE_BYTES: usize = 4096;

fn integer(rest: &mut &[u8], bits: u32) -> Option<usize> {
    let mut next = || {
        let (first, behind) = rest.split_first()?;
        *rest = behind;
        Some(*first)
    };
    let max = (1usize << bits) - 1;
    let mut value = usize::from(next()?) & max;
    if value < max {
        return Some(value);
    }
    for shift in (0..28).step_by(7) {
        let byte = next()?;
        value += usize::from(byte & 127) << shift;
        if byte & 128 == 0 {
            return Some(value);
        }
    }
    None
}

fn string(rest: &mut &[u8]) -> Option<String> {
    let is_huffman = rest.first()? & 0x80 != 0;
    let length = integer(rest, 7)?;
    let (text, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    let bytes = match is_huffman {
        true => huffman(text)?,
        false => text.to_vec(),
    };
    Some(bytes.escape_ascii().to_string())
}

/// Decodes bit by bit: the code is canonical, so the lengths of its words say
/// everything.
fn huffman(text: &[u8]) -> Option<Vec<u8>> {
    let mut symbols: Vec<u8> = (0..=255).collect();
    symbols.sort_by_key(|symbol| LENGTHS[usize::from(*symbol)]);
    let mut out = Vec::new();
    let bits: Vec<u8> = (text.iter())
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    let mut rest = &bits[..];
    'next: while !rest.is_empty() {
        let (mut code, mut first, mut place) = (0usize, 0usize, 0usize);
        for length in 1..=30usize {
            let Some(bit) = rest.get(length - 1) else {
                // Padding is a part of the end's word, which is all ones.
                return (rest.iter().all(|bit| *bit == 1) && rest.len() < 8).then_some(out);
            };
            code = code << 1 | usize::from(*bit);
            first <<= 1;
            let of_length = symbols[place..]
                .iter()
                .take_while(|symbol| usize::from(LENGTHS[usize::from(**symbol)]) == length)
                .count();
            if code < first + of_length {
                out.push(symbols[place + code - first]);
                rest = &rest[length..];
                continue 'next;
            }
            first += of_length;
            place += of_length;
        }
        return None;
    }
    Some(out)
}

/// Bits of each byte's word (RFC 7541, appendix B).
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// RFC 7541, appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let text: Vec<_> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let digit = |byte: u8| (byte as char).to_digit(16).expect("a digit") as u8;
        text.chunks(2)
            .map(|two| digit(two[0]) << 4 | digit(two[1]))
            .collect()
    }

    /// The responses of RFC 7541, appendix C.6, on one connection.
    #[test]
    fn the_examples_of_the_standard_are_read() {
        let mut decoder = Decoder::default();
        let first = decoder.decode(&hex(
            "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff\
             6e919d29ad171863c78f0b97c8e9ae82ae43d3",
        ));
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let rest = [
            field("cache-control", "private"),
            field("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
            field("location", "https://www.example.com"),
        ];
        let expected: Vec<_> = [field(":status", "302")].into_iter().chain(rest).collect();
        assert_eq!(first.as_ref(), Some(&expected));
        let second = decoder.decode(&hex("4883640effc1c0bf")).expect("a block");
        assert_eq!(second[0], field(":status", "307"));
        assert_eq!(second[1..], expected[1..]);
    }

    #[test]
    fn what_is_written_is_read() {
        let mut block = Vec::new();
        let long = "x".repeat(70_000);
        encode(b"X", long.as_bytes(), &mut block);
        encode(b"y", b"\xff", &mut block);
        let fields = Decoder::default().decode(&block).expect("a block");
        assert_eq!(fields[0], ("X".to_owned(), long));
        assert_eq!(fields[1].1, "\\xff");
        assert_eq!(Decoder::default().decode(&block[..100]), None);
    }
}
