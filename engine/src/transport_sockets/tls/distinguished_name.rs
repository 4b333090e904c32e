//! Distinguished names as RFC 2253 writes them, in the form that BoringSSL gives to
//! it: the last part first, short names where there are any.

use std::fmt::Write as _;

use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::der;

/// The name in one line.
pub(super) fn rfc2253(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    let parts: Vec<_> = name.iter_rdn().collect();
    for part in parts.iter().rev() {
        if !text.is_empty() {
            text.push(',');
        }
        let mut attributes: Vec<_> = part.iter().collect();
        attributes.reverse();
        for (i, attribute) in attributes.into_iter().enumerate() {
            if i > 0 {
                text.push('+');
            }
            let oid = attribute.attr_type().to_id_string();
            let short = short_name(&oid);
            text.push_str(short.unwrap_or(&oid));
            text.push('=');
            match (short, attribute_text(attribute)) {
                (Some(_), Some(value)) => escape(&value, &mut text),
                _ => dump(attribute, &mut text),
            }
        }
    }
    text
}

/// The text of an attribute, if its type has one.
pub(super) fn attribute_text(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let value = attribute.attr_value();
    decode(u8::try_from(value.tag().0).ok()?, value.data)
}

/// The text of a string type.
fn decode(tag: u8, bytes: &[u8]) -> Option<String> {
    const UTF8: u8 = 12;
    const NUMERIC: u8 = 18;
    const PRINTABLE: u8 = 19;
    const TELETEX: u8 = 20;
    const IA5: u8 = 22;
    const VISIBLE: u8 = 26;
    const UNIVERSAL: u8 = 28;
    const BMP: u8 = 30;
    match tag {
        UTF8 => String::from_utf8(bytes.to_vec()).ok(),
        // Latin 1 is what everybody has made of the second.
        NUMERIC | PRINTABLE | TELETEX | IA5 | VISIBLE => {
            Some(bytes.iter().map(|byte| char::from(*byte)).collect())
        }
        BMP if bytes.len().is_multiple_of(2) => {
            let units = bytes.chunks_exact(2);
            let units: Vec<_> = units
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                .collect();
            String::from_utf16(&units).ok()
        }
        UNIVERSAL if bytes.len().is_multiple_of(4) => bytes
            .chunks_exact(4)
            .map(|four| char::from_u32(u32::from_be_bytes([four[0], four[1], four[2], four[3]])))
            .collect(),
        _ => None,
    }
}

/// Section 2.4: what has a meaning in the line, and every octet that is not printable
/// ASCII.
fn escape(value: &str, text: &mut String) {
    let last = value.len().saturating_sub(1);
    for (i, byte) in value.bytes().enumerate() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b' ' if i == 0 || i == last => text.push_str("\\ "),
            b'#' if i == 0 => text.push_str("\\#"),
            0x20..0x7f => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "\\{byte:02X}");
            }
        }
    }
}

/// A value that has no text: `#` and its encoding.
fn dump(attribute: &AttributeTypeAndValue<'_>, text: &mut String) {
    let value = attribute.attr_value();
    let (tag, bytes) = (value.tag().0, value.data);
    text.push('#');
    let _ = write!(text, "{tag:02X}");
    // Names are a part of a certificate, whose length two octets can say.
    match bytes.len() {
        length @ 0..0x80 => {
            let _ = write!(text, "{length:02X}");
        }
        length @ 0x80..0x100 => {
            let _ = write!(text, "81{length:02X}");
        }
        length => {
            let _ = write!(text, "82{length:04X}");
        }
    }
    for byte in bytes {
        let _ = write!(text, "{byte:02X}");
    }
}

/// The short names of BoringSSL that occur in names of certificates.
fn short_name(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "2.5.4.3" => "CN",
        "2.5.4.4" => "SN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "street",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.12" => "title",
        "2.5.4.13" => "description",
        "2.5.4.14" => "searchGuide",
        "2.5.4.15" => "businessCategory",
        "2.5.4.16" => "postalAddress",
        "2.5.4.17" => "postalCode",
        "2.5.4.18" => "postOfficeBox",
        "2.5.4.20" => "telephoneNumber",
        "2.5.4.41" => "name",
        "2.5.4.42" => "GN",
        "2.5.4.43" => "initials",
        "2.5.4.44" => "generationQualifier",
        "2.5.4.45" => "x500UniqueIdentifier",
        "2.5.4.46" => "dnQualifier",
        "2.5.4.65" => "pseudonym",
        "2.5.4.72" => "role",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.3" => "mail",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        "1.2.840.113549.1.9.2" => "unstructuredName",
        "1.2.840.113549.1.9.8" => "unstructuredAddress",
        _ => return None,
    })
}

/// The text of a value of an `otherName`, by the rules of Envoy's
/// `SubjectAltNameMatcher`; `None` for types that have none.
pub(super) fn other_name_text(value: &der::Tlv<'_>) -> Option<String> {
    match value.tag {
        der::BOOLEAN => Some(if value.value == [0] { "false" } else { "true" }.to_owned()),
        der::INTEGER | der::ENUMERATED => integer_text(value.value),
        der::NULL => Some(String::new()),
        der::OBJECT_IDENTIFIER => {
            let oid = x509_parser::der_parser::oid::Oid::new(value.value.into());
            Some(oid.to_id_string())
        }
        tag => decode(tag, value.value),
    }
}

/// Numbers of more octets than this are nobody's name.
const INTEGER_OCTETS_MAX: usize = 16;

fn integer_text(octets: &[u8]) -> Option<String> {
    if octets.is_empty() || octets.len() > INTEGER_OCTETS_MAX {
        return None;
    }
    let sign = if octets[0] & 0x80 == 0 { 0 } else { -1 };
    let value = (octets.iter()).fold(sign, |sum: i128, octet| (sum << 8) | i128::from(*octet));
    Some(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::prelude::FromDer as _;

    /// A name of these attributes, each a relative name of its own.
    fn name(attributes: &[(&[u8], u8, &[u8])]) -> Vec<u8> {
        let wrap = |tag: u8, value: &[u8]| {
            let length = u8::try_from(value.len()).expect("a short value");
            [&[tag, length], value].concat()
        };
        let parts = attributes.iter().map(|(oid, tag, value)| {
            let attribute = [wrap(0x06, oid), wrap(*tag, value)].concat();
            wrap(0x31, &wrap(0x30, &attribute))
        });
        wrap(0x30, &parts.collect::<Vec<_>>().concat())
    }

    #[test]
    fn names() {
        const CN: &[u8] = &[0x55, 4, 3];
        const O: &[u8] = &[0x55, 4, 10];
        for (attributes, expected) in [
            (&[(CN, 12, &b"a"[..]), (O, 19, b"b")][..], "O=b,CN=a"),
            (
                &[(CN, 12, b" a,b+c\"d\\e<f>g;h=# ")],
                "CN=\\ a\\,b\\+c\\\"d\\\\e\\<f\\>g\\;h=#\\ ",
            ),
            (&[(CN, 12, b"#a")], "CN=\\#a"),
            (&[(CN, 12, "\u{fc}\n".as_bytes())], "CN=\\C3\\BC\\0A"),
            (&[(CN, 20, b"\xfc")], "CN=\\C3\\BC"),
            (&[(CN, 30, b"\0a\0b")], "CN=ab"),
            (&[(CN, 12, b"")], "CN="),
            (&[(&[0x2a, 3, 4], 12, b"ab")], "1.2.3.4=#0C026162"),
            (&[], ""),
        ] {
            let der = name(attributes);
            let (_, parsed) = X509Name::from_der(&der).expect("a name");
            assert_eq!(rfc2253(&parsed), expected);
        }
    }

    #[test]
    fn texts_of_other_names() {
        for (bytes, expected) in [
            (&[1, 1, 0][..], Some("false")),
            (&[1, 1, 0xff], Some("true")),
            (&[2, 1, 0xff], Some("-1")),
            (&[2, 2, 1, 0], Some("256")),
            (&[5, 0], Some("")),
            (&[6, 3, 0x2a, 3, 4], Some("1.2.3.4")),
            (&[12, 2, b'h', b'i'], Some("hi")),
            (&[0x30, 0], None),
        ] {
            let value = der::next(&mut &*bytes).expect("a value");
            assert_eq!(other_name_text(&value).as_deref(), expected, "{bytes:x?}");
        }
    }
}
