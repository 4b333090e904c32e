//! As much of DER (X.690) as it takes to take apart what x509-parser leaves whole: a
//! public key, and names of other kinds.

/// A value with its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tlv<'a> {
    /// The identifier octet. Tags of more than one octet do not occur here.
    pub tag: u8,
    /// The value.
    pub value: &'a [u8],
    /// Identifier, length and value.
    pub raw: &'a [u8],
}

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const NULL: u8 = 0x05;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const SEQUENCE: u8 = 0x30;

/// The first value of `bytes`, which loses it.
pub(super) fn next<'a>(bytes: &mut &'a [u8]) -> Option<Tlv<'a>> {
    let [tag, first, ..] = **bytes else {
        return None;
    };
    // A tag of several octets.
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (length, header) = match first {
        0..=0x7f => (usize::from(first), 2),
        // Four octets are more than any message that is read here has.
        0x81..=0x84 => {
            let octets = usize::from(first & 0x7f);
            let length = bytes.get(2..2 + octets)?;
            let value = (length.iter()).fold(0, |sum, octet| (sum << 8) | usize::from(*octet));
            // DER has one way to say a length, the shortest.
            if value < 0x80 || length[0] == 0 {
                return None;
            }
            (value, 2 + octets)
        }
        _ => return None,
    };
    let end = header.checked_add(length)?;
    let raw = bytes.get(..end)?;
    *bytes = &bytes[end..];
    Some(Tlv {
        tag,
        value: &raw[header..],
        raw,
    })
}

/// The first value of `bytes`, which must have this tag.
pub(super) fn expect<'a>(bytes: &mut &'a [u8], tag: u8) -> Option<Tlv<'a>> {
    next(bytes).filter(|found| found.tag == tag)
}

/// A public key (`SubjectPublicKeyInfo`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PublicKey<'a> {
    /// The value of the algorithm's identifier.
    pub algorithm: &'a [u8],
    /// The bits of the key.
    pub key: &'a [u8],
}

impl<'a> PublicKey<'a> {
    pub(super) fn parse(mut der: &'a [u8]) -> Option<Self> {
        let mut outer = expect(&mut der, SEQUENCE)?.value;
        let algorithm = expect(&mut outer, SEQUENCE)?;
        let key = expect(&mut outer, BIT_STRING)?;
        Some(Self {
            algorithm: algorithm.value,
            key: whole_octets(key.value)?,
        })
    }
}

/// A bit string without bits left over.
fn whole_octets(value: &[u8]) -> Option<&[u8]> {
    match value {
        [0, octets @ ..] => Some(octets),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        let long = [&[0x04, 0x82, 0x01, 0x00][..], &[7; 256]].concat();
        for (bytes, value) in [
            (&[0x02, 0x01, 0x05][..], Some(&[5][..])),
            (&[0x05, 0x00], Some(&[])),
            (&long, Some(&[7; 256])),
            // Not the shortest way to say it.
            (&[0x04, 0x81, 0x01, 0x05], None),
            (&[0x04, 0x82, 0x00, 0x01, 0x05], None),
            // Indefinite, too long, of several octets.
            (&[0x30, 0x80, 0x00, 0x00], None),
            (&[0x04, 0x85, 1, 1, 1, 1, 1], None),
            (&[0x1f, 0x01, 0x00], None),
            (&[0x04, 0x84, 0xff, 0xff, 0xff, 0xff], None),
        ] {
            let found = next(&mut &*bytes).map(|found| found.value);
            assert_eq!(found, value, "{bytes:x?}");
            // Every part of it is too short.
            for end in 0..bytes.len() {
                assert_eq!(next(&mut &bytes[..end]), None, "{:x?}", &bytes[..end]);
            }
        }
    }

    #[test]
    fn what_follows_is_left() {
        let mut bytes = &[0x02, 0x01, 0x05, 0x01, 0x01, 0xff][..];
        assert_eq!(
            expect(&mut bytes, INTEGER).map(|found| found.raw.len()),
            Some(3)
        );
        assert_eq!(
            expect(&mut bytes, BOOLEAN).map(|found| found.value),
            Some(&[0xff][..])
        );
        assert!(bytes.is_empty());
    }
}
