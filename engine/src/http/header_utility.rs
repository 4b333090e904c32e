//! Checks of single headers.

use ringway_codecs::http1::is_authority_byte;

/// Whether an authority has only characters that RFC 3986 allows in one, and
/// its brackets are paired: one pair, around an IPv6 literal.
///
/// The characters are those that Envoy allows. It lets brackets stand
/// anywhere, which this does not.
pub fn is_valid_authority(authority: &[u8]) -> bool {
    let mut open = 0;
    let mut close = 0;
    for byte in authority {
        if !is_authority_byte(*byte) {
            return false;
        }
        open += u32::from(*byte == b'[');
        close += u32::from(*byte == b']');
    }
    match (open, close) {
        (0, 0) => true,
        (1, 1) => is_bracketed_host(authority),
        _ => false,
    }
}

/// `[…]` or `[…]:port`, perhaps after user information.
fn is_bracketed_host(authority: &[u8]) -> bool {
    let start = memchr::memchr(b'@', authority).map_or(0, |at| at + 1);
    let Some(close) = memchr::memchr(b']', authority) else {
        return false;
    };
    authority.get(start) == Some(&b'[')
        && start < close
        && matches!(authority.get(close + 1), None | Some(b':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities() {
        for good in [
            "",
            "a",
            "a.com:80",
            "a@b",
            "a,b",
            "[::1]",
            "[::1]:80",
            "u@[::1]:80",
            "::1",
            "a:",
            "a:b",
            "a:99999999",
            "a%20b",
            "a_b",
            "a*",
            "a;b",
            "a=b",
            "a'b",
            "a(b",
            "a!$&+-~",
        ] {
            assert!(is_valid_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "a b", "a/b", "a\\b", "a?b", "a#b", "ä", "a\"b", "a<b", "a>b", "a|b", "a`b", "a{b",
            "a}b", "a^b", "a\tb", "a\0b", "a\x7fb",
        ] {
            assert!(!is_valid_authority(bad.as_bytes()), "{bad}");
        }
        // Envoy lets these through.
        for bad in ["[::1", "::1]", "a[b", "a[b]", "[a]b", "[[::1]]", "]["] {
            assert!(!is_valid_authority(bad.as_bytes()), "{bad}");
        }
    }
}
