//! What tells clients of TLS apart, whoever they say they are: the order and choice of
//! what they offer. JA3 and JA4 are texts that are made of it, which whoever wants them
//! hashes.

use std::fmt::Write as _;

use super::{Fields, VERSION_AND_RANDOM};

/// What a ClientHello offers, without the values that are there to be ignored (RFC 8701).
#[derive(Debug, Default)]
struct Offer {
    version: u16,
    suites: Vec<u16>,
    extensions: Vec<u16>,
    groups: Vec<u16>,
    point_formats: Vec<u8>,
    signatures: Vec<u16>,
    versions: Vec<u16>,
    /// The ends of the protocol that is preferred.
    protocol: Option<(u8, u8)>,
}

const SERVER_NAME: u16 = 0;
const GROUPS: u16 = 10;
const POINT_FORMATS: u16 = 11;
const SIGNATURES: u16 = 13;
const PROTOCOLS: u16 = 16;
const VERSIONS: u16 = 43;

/// The text whose MD5 is JA3. `body` is a message without its header that was read
/// before.
#[must_use]
pub fn ja3(body: &[u8]) -> Option<String> {
    let offer = Offer::read(body)?;
    let mut text = offer.version.to_string();
    text.push(',');
    let formats: Vec<u16> = offer.point_formats.iter().copied().map(u16::from).collect();
    let lists = [&offer.suites, &offer.extensions, &offer.groups, &formats];
    for (i, list) in lists.into_iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        join(&mut text, list, "-", |text, number| {
            let _ = write!(text, "{number}");
        });
    }
    Some(text)
}

/// The parts of JA4: its first, and the texts whose SHA-256 is shortened to the others;
/// an empty one has zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ja4 {
    /// `t13d1516h2`
    pub first: String,
    /// Ciphers.
    pub suites: String,
    /// Extensions and signatures.
    pub extensions: String,
}

impl Ja4 {
    /// The parts of a message, as [`ja3`] takes it.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        let offer = Offer::read(body)?;
        let newest = offer.versions.iter().copied().max();
        let version = match newest.unwrap_or(offer.version) {
            0x0304 => "13",
            0x0303 => "12",
            0x0302 => "11",
            0x0301 => "10",
            0x0300 => "s3",
            0x0002 => "s2",
            _ => "00",
        };
        let domain = match offer.extensions.contains(&SERVER_NAME) {
            true => 'd',
            false => 'i',
        };
        let count = |list: &[u16]| list.len().min(99);
        let mut first = format!(
            "t{version}{domain}{:02}{:02}",
            count(&offer.suites),
            count(&offer.extensions)
        );
        match offer.protocol {
            None => first.push_str("00"),
            Some((one, other)) if one.is_ascii_alphanumeric() && other.is_ascii_alphanumeric() => {
                first.push(char::from(one));
                first.push(char::from(other));
            }
            // The ends of its hexadecimal digits.
            Some((one, other)) => {
                let _ = write!(first, "{:x}{:x}", one >> 4, other & 0xf);
            }
        }
        let mut suites = String::new();
        hexadecimal(&mut suites, &sorted(offer.suites));
        let mut others = offer.extensions;
        others.retain(|kind| ![SERVER_NAME, PROTOCOLS].contains(kind));
        let mut extensions = String::new();
        hexadecimal(&mut extensions, &sorted(others));
        if !extensions.is_empty() && !offer.signatures.is_empty() {
            extensions.push('_');
            hexadecimal(&mut extensions, &offer.signatures);
        }
        Some(Self {
            first,
            suites,
            extensions,
        })
    }
}

impl Offer {
    fn read(body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let mut begin = Fields(fields.take(VERSION_AND_RANDOM)?);
        let mut offer = Self {
            version: begin.u16()?,
            ..Self::default()
        };
        fields.with_u8_length()?;
        offer.suites = numbers(fields.with_u16_length()?)?;
        fields.with_u8_length()?;
        if fields.0.is_empty() {
            return Some(offer);
        }
        let mut extensions = Fields(fields.with_u16_length()?);
        while !extensions.0.is_empty() {
            let kind = extensions.u16()?;
            let mut data = Fields(extensions.with_u16_length()?);
            if is_grease(kind) {
                continue;
            }
            offer.extensions.push(kind);
            match kind {
                GROUPS => offer.groups = numbers(data.with_u16_length()?)?,
                POINT_FORMATS => offer.point_formats = data.with_u8_length()?.to_vec(),
                SIGNATURES => offer.signatures = numbers(data.with_u16_length()?)?,
                VERSIONS => offer.versions = numbers(data.with_u8_length()?)?,
                PROTOCOLS => {
                    let first = Fields(data.with_u16_length()?).with_u8_length()?;
                    offer.protocol = first.first().copied().zip(first.last().copied());
                }
                _ => {}
            }
        }
        Some(offer)
    }
}

fn numbers(list: &[u8]) -> Option<Vec<u16>> {
    let pairs = list.chunks(2).map(|pair| match pair {
        [high, low] => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
    });
    let all: Option<Vec<u16>> = pairs.collect();
    let mut all = all?;
    all.retain(|number| !is_grease(*number));
    Some(all)
}

fn is_grease(number: u16) -> bool {
    let [high, low] = number.to_be_bytes();
    high == low && low & 0xf == 0xa
}

fn sorted(mut list: Vec<u16>) -> Vec<u16> {
    list.sort_unstable();
    list
}

fn hexadecimal(text: &mut String, list: &[u16]) {
    join(text, list, ",", |text, number| {
        let _ = write!(text, "{number:04x}");
    });
}

fn join(text: &mut String, list: &[u16], between: &str, write: impl Fn(&mut String, u16)) {
    for (i, number) in list.iter().enumerate() {
        if i > 0 {
            text.push_str(between);
        }
        write(text, *number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(length_bytes: usize, numbers: &[u16]) -> Vec<u8> {
        let bytes: Vec<u8> = numbers.iter().flat_map(|it| it.to_be_bytes()).collect();
        with_length(length_bytes, &bytes)
    }

    fn with_length(length_bytes: usize, bytes: &[u8]) -> Vec<u8> {
        let length = (bytes.len() as u32).to_be_bytes();
        [&length[4 - length_bytes..], bytes].concat()
    }

    fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &with_length(2, data)].concat()
    }

    fn message(suites: &[u16], extensions: &[Vec<u8>]) -> Vec<u8> {
        let begin = [&[3, 3][..], &[7; 32], &[0]].concat();
        let extensions = with_length(2, &extensions.concat());
        [begin, list(2, suites), vec![1, 0], extensions].concat()
    }

    fn usual() -> Vec<u8> {
        let protocols = with_length(2, &with_length(1, b"h2"));
        message(
            &[0x0a0a, 0x1301, 0xc02f, 0x1302],
            &[
                extension(0x1a1a, &[]),
                extension(SERVER_NAME, b"what the reader has checked"),
                extension(GROUPS, &list(2, &[0x2a2a, 29, 23])),
                extension(POINT_FORMATS, &[1, 0]),
                extension(SIGNATURES, &list(2, &[0x0804, 0x0403])),
                extension(PROTOCOLS, &protocols),
                extension(VERSIONS, &list(1, &[0xfafa, 0x0304, 0x0303])),
            ],
        )
    }

    #[test]
    fn what_they_are_made_of() {
        let body = usual();
        let expected = "771,4865-49199-4866,0-10-11-13-16-43,29-23,0";
        assert_eq!(ja3(&body).as_deref(), Some(expected));
        let expected = Ja4 {
            first: "t13d0306h2".into(),
            suites: "1301,1302,c02f".into(),
            extensions: "000a,000b,000d,002b_0804,0403".into(),
        };
        assert_eq!(Ja4::read(&body), Some(expected));
    }

    #[test]
    fn little_is_offered() {
        let body = message(&[0x0a0a], &[]);
        assert_eq!(ja3(&body).as_deref(), Some("771,,,,"));
        let ja4 = Ja4::read(&body).expect("it is whole");
        assert_eq!((&*ja4.first, &*ja4.suites), ("t12i000000", ""));
        let odd = with_length(2, &with_length(1, b"\xabx\xcd"));
        let body = message(&[1], &[extension(PROTOCOLS, &odd)]);
        let ja4 = Ja4::read(&body).expect("it is whole");
        assert_eq!(ja4.first, "t12i0101ad");
    }

    #[test]
    fn a_part_is_not_the_whole() {
        let body = usual();
        for end in 0..body.len() {
            assert_ne!(ja3(&body[..end]), ja3(&body), "{end}");
            assert_ne!(Ja4::read(&body[..end]), Ja4::read(&body), "{end}");
        }
    }
}
