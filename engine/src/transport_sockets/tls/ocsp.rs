//! Responses of OCSP (RFC 6960 section 4.2.1) that are sent along with a certificate.
//!
//! As in Envoy it is read which certificate one is about and how long it holds. That
//! the certificate is good, and that somebody has signed the answer who may, is for
//! clients to see.

use super::der::{self, ENUMERATED, INTEGER, OBJECT_IDENTIFIER, SEQUENCE};

/// A response about one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OcspResponse {
    /// All of it.
    pub der: Box<[u8]>,
    /// Since when it holds, in seconds since 1970.
    pub this_update: i64,
    /// Until when it holds; one that does not say so never does.
    pub next_update: Option<i64>,
    /// The number of the certificate.
    serial: Box<[u8]>,
}

const OCTET_STRING: u8 = 0x04;
const BIT_STRING: u8 = der::BIT_STRING;
const GENERALIZED_TIME: u8 = 0x18;
const FIRST_EXPLICIT: u8 = 0xa0;

/// `id-pkix-ocsp-basic`: 1.3.6.1.5.5.7.48.1.1.
const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];

/// `successful`, of the response's states.
const SUCCESSFUL: &[u8] = &[0];

const MALFORMED: &str = "this is no response of OCSP, or more than one";

impl OcspResponse {
    /// Reads a response, which must be one about one certificate.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut rest = bytes;
        let mut outer = der::expect(&mut rest, SEQUENCE).ok_or(MALFORMED)?.value;
        let status = der::expect(&mut outer, ENUMERATED).ok_or(MALFORMED)?;
        if !rest.is_empty() {
            return Err(MALFORMED);
        }
        if status.value != SUCCESSFUL {
            return Err("the response is not a successful one");
        }
        if outer.is_empty() {
            return Err("there is nothing in the response");
        }
        let data = response_data(outer).ok_or(MALFORMED)?;
        let mut singles = single_responses(data).ok_or(MALFORMED)?;
        let single = der::expect(&mut singles, SEQUENCE).ok_or(MALFORMED)?;
        if !singles.is_empty() {
            return Err("the response is about more than one certificate");
        }
        let (serial, this_update, next_update) = single_response(single.value).ok_or(MALFORMED)?;
        Ok(Self {
            der: bytes.into(),
            this_update,
            next_update,
            serial: serial.into(),
        })
    }

    /// Whether it is about the certificate with this serial number, whose octets are
    /// those of its DER.
    pub(super) fn is_about(&self, serial: &[u8]) -> bool {
        *self.serial == *serial
    }

    /// Whether it holds no more.
    pub(super) fn is_expired(&self, now: i64) -> bool {
        self.next_update.is_none_or(|end| end < now)
    }
}

/// What is signed in a response (`ResponseData`).
fn response_data(mut rest: &[u8]) -> Option<&[u8]> {
    let mut body = der::expect(&mut rest, FIRST_EXPLICIT)?.value;
    let mut body = der::expect(&mut body, SEQUENCE)?.value;
    if der::expect(&mut body, OBJECT_IDENTIFIER)?.value != BASIC {
        return None;
    }
    let mut basic = der::expect(&mut body, OCTET_STRING)?.value;
    let mut basic = der::expect(&mut basic, SEQUENCE)?.value;
    let data = der::expect(&mut basic, SEQUENCE)?;
    der::expect(&mut basic, SEQUENCE)?;
    der::expect(&mut basic, BIT_STRING)?;
    Some(data.value)
}

fn single_responses(mut data: &[u8]) -> Option<&[u8]> {
    let mut responder = der::next(&mut data)?;
    if responder.tag == FIRST_EXPLICIT {
        // That was the version.
        responder = der::next(&mut data)?;
    }
    if responder.tag & 0xe0 != FIRST_EXPLICIT {
        return None;
    }
    der::expect(&mut data, GENERALIZED_TIME)?;
    Some(der::expect(&mut data, SEQUENCE)?.value)
}

/// The certificate's number, and from when until when it is so.
fn single_response(mut single: &[u8]) -> Option<(&[u8], i64, Option<i64>)> {
    let mut certificate = der::expect(&mut single, SEQUENCE)?.value;
    der::expect(&mut certificate, SEQUENCE)?;
    der::expect(&mut certificate, OCTET_STRING)?;
    der::expect(&mut certificate, OCTET_STRING)?;
    let serial = der::expect(&mut certificate, INTEGER)?;
    // The certificate's state, whatever it is.
    der::next(&mut single)?;
    let this_update = unix(der::expect(&mut single, GENERALIZED_TIME)?.value)?;
    let next_update = match single.first() {
        Some(&FIRST_EXPLICIT) => {
            let mut next = der::next(&mut single)?.value;
            Some(unix(der::expect(&mut next, GENERALIZED_TIME)?.value)?)
        }
        _ => None,
    };
    Some((serial.value, this_update, next_update))
}

/// Seconds since 1970 of `YYYYMMDDHHMMSSZ`, the one form that is allowed.
fn unix(text: &[u8]) -> Option<i64> {
    let [digits @ .., b'Z'] = text else {
        return None;
    };
    if digits.len() != 14 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |from: usize, to: usize| {
        let digits = digits[from..to].iter();
        digits.fold(0, |sum, digit| 10 * sum + i64::from(digit - b'0'))
    };
    let (year, month, day) = (number(0, 4), number(4, 6), number(6, 8));
    let (hour, minute, second) = (number(8, 10), number(10, 12), number(12, 14));
    if !(1..=days_of_month(year, month)?).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Years that begin in March have their leap day at their end.
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = 365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - DAYS_TO_1970;
    Some(86_400 * days + 3_600 * hour + 60 * minute + second)
}

/// `None` where there is no such month.
fn days_of_month(year: i64, month: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    Some(match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    })
}

/// From the first of March of the year 0.
const DAYS_TO_1970: i64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;

    fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let inner = parts.concat();
        let length = match inner.len() {
            short @ 0..0x80 => vec![short as u8],
            long @ 0x80..0x100 => vec![0x81, long as u8],
            long => vec![0x82, (long >> 8) as u8, long as u8],
        };
        [&[tag][..], &length, &inner].concat()
    }

    fn single(serial: &[u8], next_update: &[u8]) -> Vec<u8> {
        let hash = value(OCTET_STRING, &[&[7; 20]]);
        let certificate = [
            value(SEQUENCE, &[&value(OBJECT_IDENTIFIER, &[&[1]])]),
            hash.clone(),
            hash,
            value(INTEGER, &[serial]),
        ];
        let time = value(GENERALIZED_TIME, &[b"20240229120000Z"]);
        let certificate = value(SEQUENCE, &[&certificate.concat()]);
        value(SEQUENCE, &[&certificate, &[0x80, 0], &time, next_update])
    }

    fn response(version: &[u8], singles: &[&[u8]]) -> Vec<u8> {
        let time = value(GENERALIZED_TIME, &[b"20240229120000Z"]);
        let responder = value(0xa2, &[&value(OCTET_STRING, &[&[7; 20]])]);
        let singles = value(SEQUENCE, singles);
        let data = value(SEQUENCE, &[version, &responder, &time, &singles]);
        let signature = value(BIT_STRING, &[&[0, 1, 2]]);
        let algorithm = value(SEQUENCE, &[]);
        let basic = value(SEQUENCE, &[&data, &algorithm, &signature]);
        let body = [
            value(OBJECT_IDENTIFIER, &[BASIC]),
            value(OCTET_STRING, &[&basic]),
        ];
        let body = value(FIRST_EXPLICIT, &[&value(SEQUENCE, &[&body.concat()])]);
        value(SEQUENCE, &[&value(ENUMERATED, &[SUCCESSFUL]), &body])
    }

    fn until(time: &[u8]) -> Vec<u8> {
        value(FIRST_EXPLICIT, &[&value(GENERALIZED_TIME, &[time])])
    }

    #[test]
    fn what_a_response_says() {
        let version = value(FIRST_EXPLICIT, &[&value(INTEGER, &[&[0]])]);
        for (version, end, next_update) in [
            (
                &version[..],
                &until(b"20240301000000Z")[..],
                Some(1_709_251_200),
            ),
            (&[], &until(b"20240301000000Z"), Some(1_709_251_200)),
            (&[], &[], None),
        ] {
            let bytes = response(version, &[&single(&[0, 0xaa], end)]);
            let read = OcspResponse::parse(&bytes).expect("a response");
            assert_eq!(read.this_update, 1_709_208_000);
            assert_eq!(read.next_update, next_update);
            assert!(read.is_about(&[0, 0xaa]) && !read.is_about(&[0xaa]));
            let last = next_update.unwrap_or(i64::MIN);
            assert_eq!(read.is_expired(last), next_update.is_none());
            assert!(read.is_expired(last.saturating_add(1)));
            // Neither a part of it nor more than it is one.
            for end in 0..bytes.len() {
                assert_eq!(OcspResponse::parse(&bytes[..end]), Err(MALFORMED), "{end}");
            }
            for place in 0..bytes.len() {
                for mask in [0x01, 0x80, 0xff] {
                    let mut changed = bytes.clone();
                    changed[place] ^= mask;
                    super::super::fuzz::ocsp_response(&changed);
                }
            }
            let more = [&bytes[..], &[0]].concat();
            assert_eq!(OcspResponse::parse(&more), Err(MALFORMED));
        }
    }

    #[test]
    fn what_is_none() {
        let one = single(&[1], &[]);
        for (bytes, reason) in [
            (
                value(SEQUENCE, &[&[ENUMERATED, 1, 6]]),
                "the response is not a successful one",
            ),
            (
                value(SEQUENCE, &[&[ENUMERATED, 1, 0]]),
                "there is nothing in the response",
            ),
            (
                response(&[], &[&one, &one]),
                "the response is about more than one certificate",
            ),
            (response(&[], &[]), MALFORMED),
            (
                response(&[], &[&single(&[1], &until(b"20240301000000"))]),
                MALFORMED,
            ),
            (
                response(&[], &[&single(&[1], &until(b"20241301000000Z"))]),
                MALFORMED,
            ),
            (b"garbage\n".to_vec(), MALFORMED),
        ] {
            assert_eq!(OcspResponse::parse(&bytes), Err(reason), "{bytes:x?}");
        }
    }

    #[test]
    fn times() {
        for (text, seconds) in [
            ("19700101000000Z", Some(0)),
            ("19691231235959Z", Some(-1)),
            ("20000229000001Z", Some(951_782_401)),
            ("20380119031408Z", Some(2_147_483_648)),
            ("20380119031408", None),
            ("203801190314Z", None),
            ("2038011903140aZ", None),
            ("20380119031408.5Z", None),
            ("20380019031408Z", None),
            ("20381319031408Z", None),
            ("20380431000000Z", None),
            ("20380200000000Z", None),
            ("20240229000000Z", Some(1_709_164_800)),
            ("20230229000000Z", None),
            ("21000229000000Z", None),
            ("20000230000000Z", None),
            ("20380119241408Z", None),
        ] {
            assert_eq!(unix(text.as_bytes()), seconds, "{text}");
        }
    }
}
