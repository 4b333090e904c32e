//! Byte classes of the grammar, as tables that the compiler builds.

/// `tchar` of RFC 9110 section 5.6.2: bytes of methods and field names.
#[inline]
pub(super) fn is_token(b: u8) -> bool {
    CLASS[usize::from(b)] & TOKEN != 0
}

/// Bytes of a field value (RFC 9110 section 5.5): visible, SP, HTAB, obs-text.
#[inline]
pub(super) fn is_value(b: u8) -> bool {
    CLASS[usize::from(b)] & VALUE != 0
}

/// Bytes of a `reg-name` (RFC 3986 section 3.2.2) apart from `%`.
#[inline]
pub(super) fn is_reg_name(b: u8) -> bool {
    CLASS[usize::from(b)] & REG_NAME != 0
}

/// Bytes that an authority of RFC 3986 section 3.2 has somewhere.
#[inline]
pub fn is_authority(b: u8) -> bool {
    CLASS[usize::from(b)] & AUTHORITY != 0
}

/// Control bytes that Envoy reports as invalid characters: all but HTAB, LF
/// and CR, which the grammar of lines has an opinion on.
#[inline]
pub(super) fn is_forbidden_control(b: u8) -> bool {
    (b < b' ' && !matches!(b, b'\t' | b'\n' | b'\r')) || b == 0x7f
}

const TOKEN: u8 = 1;
const VALUE: u8 = 2;
const REG_NAME: u8 = 4;
const AUTHORITY: u8 = 8;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut b = 0;
    while b < 256 {
        let byte = b as u8;
        let alphanumeric = byte.is_ascii_alphanumeric();
        if alphanumeric || contains(b"!#$%&'*+-.^_`|~", byte) {
            table[b] |= TOKEN;
        }
        if byte == b'\t' || (byte >= b' ' && byte != 0x7f) {
            table[b] |= VALUE;
        }
        if alphanumeric || contains(b"-._~!$&'()*+,;=", byte) {
            table[b] |= REG_NAME | AUTHORITY;
        }
        if contains(b"%:@[]", byte) {
            table[b] |= AUTHORITY;
        }
        b += 1;
    }
    table
}

const fn contains(set: &[u8], byte: u8) -> bool {
    let mut i = 0;
    while i < set.len() {
        if set[i] == byte {
            return true;
        }
        i += 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_the_sizes_of_the_grammar() {
        let count = |f: fn(u8) -> bool| (0..=255).filter(|&b| f(b)).count();
        assert_eq!(count(is_token), 62 + 15);
        assert_eq!(count(is_value), 256 - 33 + 1);
        assert_eq!(count(is_reg_name), 62 + 15);
        assert_eq!(count(is_authority), 62 + 15 + 5);
        assert_eq!(count(is_forbidden_control), 33 - 3);
    }
}
