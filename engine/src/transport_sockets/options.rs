//! What a request asks of the connection that carries it, where a cluster lets it
//! (Envoy's `TransportSocketOptions`).

use std::net::IpAddr;

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::auto_sni::AutoSni;

/// The name of the host that is wanted. Made once for a request and kept with it:
/// other headers may say other things when it is tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransportSocketOptions {
    /// The name without a port.
    name: String,
    uses: Option<NameUse>,
}

/// What the name is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameUse {
    /// The host is asked for it.
    Sni,
    /// The host's certificate must have it.
    SubjectAltName,
    /// Both.
    Both,
}

impl NameUse {
    /// How many kinds of use there are.
    pub const COUNT: usize = 3;
}

impl TransportSocketOptions {
    /// Nothing is asked for.
    pub const NONE: &'static Self = &Self {
        name: String::new(),
        uses: None,
    };

    /// Forgets everything. The space for a name is kept.
    pub fn clear(&mut self) {
        self.name.clear();
        self.uses = None;
    }

    /// What a request asks of the hosts of a cluster with `config`.
    pub fn read(&mut self, config: &AutoSni, request: &HeaderMap) {
        self.clear();
        let own = config.header.as_ref();
        let own = own.and_then(|name| request.get_name(name));
        let value = own
            .filter(|value| !value.is_empty())
            .or_else(|| request.get(HeaderId::Authority))
            .unwrap_or_default();
        // Bytes that are no text are nobody's name.
        let text = String::from_utf8_lossy(value);
        let (name, is_ip) = host_of(&text);
        // An address is not sent (RFC 6066 section 3), but may be in a certificate.
        self.uses = match (config.sni && !is_ip, config.san_validation) {
            (true, true) => Some(NameUse::Both),
            (true, false) => Some(NameUse::Sni),
            (false, true) => Some(NameUse::SubjectAltName),
            (false, false) => None,
        };
        if self.uses.is_some() {
            self.name.push_str(name);
        }
    }

    /// The name and its use, if there is one.
    #[inline]
    #[must_use]
    pub fn name(&self) -> Option<(&str, NameUse)> {
        Some((&self.name, self.uses?))
    }

    /// The name to ask the host for.
    #[must_use]
    pub fn sni(&self) -> Option<&str> {
        match self.uses? {
            NameUse::Sni | NameUse::Both => Some(&self.name),
            NameUse::SubjectAltName => None,
        }
    }

    /// The name that the certificate must have.
    #[must_use]
    pub fn subject_alt_name(&self) -> Option<&str> {
        match self.uses? {
            NameUse::SubjectAltName | NameUse::Both => Some(&self.name),
            NameUse::Sni => None,
        }
    }
}

/// The host of an authority, without its port and without the brackets of an
/// address, and whether it is an address.
fn host_of(authority: &str) -> (&str, bool) {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !authority.ends_with(']') && is_port(port) => host,
        _ => authority,
    };
    let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let bare = bare.unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(_) => (bare, true),
        Err(_) => (host, false),
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|digit| digit.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_authorities() {
        for (authority, host, is_ip) in [
            ("a.test", "a.test", false),
            ("a.test:80", "a.test", false),
            ("a.test:", "a.test:", false),
            ("a.test:99999", "a.test:99999", false),
            ("a.test:+1", "a.test:+1", false),
            ("127.0.0.1:80", "127.0.0.1", true),
            ("[::1]:80", "::1", true),
            ("[::1]", "::1", true),
            ("[a]", "[a]", false),
            ("spiffe://x/y", "spiffe://x/y", false),
            ("", "", false),
        ] {
            assert_eq!(host_of(authority), (host, is_ip), "{authority}");
        }
    }

    #[test]
    fn what_a_name_is_for() {
        let mut request = HeaderMap::default();
        request.set(HeaderId::Authority, b"a.test:80");
        let config = |sni, san_validation, header: Option<&str>| AutoSni {
            sni,
            san_validation,
            header: header.map(|name| name.as_bytes().into()),
        };
        let mut options = TransportSocketOptions::default();
        options.read(&config(true, false, None), &request);
        assert_eq!(options.name(), Some(("a.test", NameUse::Sni)));
        assert_eq!(options.subject_alt_name(), None);
        // A header that is not there says nothing.
        options.read(&config(true, true, Some("x-sni")), &request);
        assert_eq!(options.name(), Some(("a.test", NameUse::Both)));
        request.append_name(b"x-sni", b"127.0.0.1");
        options.read(&config(true, true, Some("x-sni")), &request);
        let expected = Some(("127.0.0.1", NameUse::SubjectAltName));
        assert_eq!((options.name(), options.sni()), (expected, None));
        options.read(&config(true, false, Some("x-sni")), &request);
        assert_eq!(&options, TransportSocketOptions::NONE);
    }

    /// What cannot be a name does not become none: a certificate would pass then.
    #[test]
    fn a_name_that_is_no_text_is_still_asked_for() {
        let config = AutoSni {
            sni: false,
            san_validation: true,
            header: None,
        };
        let mut request = HeaderMap::default();
        let mut options = TransportSocketOptions::default();
        options.read(&config, &request);
        assert_eq!(options.subject_alt_name(), Some(""));
        request.set(HeaderId::Authority, b"a\xff");
        options.read(&config, &request);
        assert_eq!(options.subject_alt_name(), Some("a\u{fffd}"));
    }
}
