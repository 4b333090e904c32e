//! What a request asks of the connection that carries it, where a cluster lets it
//! (Envoy's `TransportSocketOptions`).

use std::net::IpAddr;

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::auto_sni::AutoSni;
use ringway_config::filter_state::{
    APPLICATION_PROTOCOLS, FilterState, Object, UPSTREAM_SERVER_NAME, UPSTREAM_SUBJECT_ALT_NAMES,
};

/// The name of the host that is wanted. Made once for a request and kept with it:
/// other headers may say other things when it is tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransportSocketOptions {
    /// The name without a port.
    name: String,
    uses: Option<NameUse>,
    /// What filters have said, which is rare; then it is all that counts.
    said: Option<Box<Said>>,
}

/// What filters ask of a connection, with what the request asks besides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Said {
    /// The name to ask the host for; an empty one is the cluster's.
    pub sni: Option<Box<str>>,
    /// The certificate must have one of these names, if there are any.
    pub subject_alt_names: Box<[Box<str>]>,
    /// The protocols that the host is offered; none are the cluster's.
    pub alpn: Box<[Box<[u8]>]>,
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
    /// Forgets everything. The space for a name is kept.
    pub fn clear(&mut self) {
        self.name.clear();
        self.uses = None;
        self.said = None;
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

    /// What filters have left for connections to hosts goes before what a request says.
    #[inline]
    pub fn read_said(&mut self, state: &FilterState) {
        if state.is_empty() {
            return;
        }
        let Some(said) = self.said_in(state) else {
            return;
        };
        // What a request could have said itself is what it says: its connections are
        // good for both.
        let (names, has_alpn) = (&*said.subject_alt_names, !said.alpn.is_empty());
        let simple = match (said.sni.as_deref(), names) {
            _ if has_alpn => None,
            (Some(sni), []) if !sni.is_empty() => Some((sni, NameUse::Sni)),
            (Some(sni), [name]) if **name == *sni => Some((sni, NameUse::Both)),
            (None, [name]) => Some((&**name, NameUse::SubjectAltName)),
            _ => None,
        };
        match simple {
            Some((name, uses)) => {
                self.name.clear();
                self.name.push_str(name);
                self.uses = Some(uses);
            }
            None => self.said = Some(Box::new(said)),
        }
    }

    fn said_in(&self, state: &FilterState) -> Option<Said> {
        let text = |bytes: &[u8]| Box::from(&*String::from_utf8_lossy(bytes));
        let sni = match state.get(UPSTREAM_SERVER_NAME) {
            Some(Object::ServerName(name)) => Some(text(name)),
            _ => None,
        };
        let names = match state.get(UPSTREAM_SUBJECT_ALT_NAMES) {
            Some(Object::SubjectAltNames(names)) => {
                Some(names.iter().map(|name| text(name)).collect())
            }
            _ => None,
        };
        let alpn = match state.get(APPLICATION_PROTOCOLS) {
            Some(Object::ApplicationProtocols(names)) => Some(names.clone()),
            _ => None,
        };
        let is_said = sni.is_some() || names.is_some() || alpn.is_some();
        is_said.then(|| Said {
            sni: sni.or_else(|| self.sni().map(Box::from)),
            subject_alt_names: names
                .unwrap_or_else(|| self.subject_alt_name().map(Box::from).into_iter().collect()),
            alpn: alpn.unwrap_or_default(),
        })
    }

    /// What filters have said, if they have.
    #[inline]
    #[must_use]
    pub fn said(&self) -> Option<&Said> {
        self.said.as_deref()
    }

    /// The name and its use, if there is one.
    #[inline]
    #[must_use]
    pub fn name(&self) -> Option<(&str, NameUse)> {
        Some((&self.name, self.uses?))
    }

    /// What a request wants of its host.
    #[must_use]
    pub fn wanted(&self) -> Said {
        match &self.said {
            Some(said) => said.as_ref().clone(),
            None => Said {
                sni: self.sni().map(Box::from),
                subject_alt_names: self.subject_alt_name().map(Box::from).into_iter().collect(),
                alpn: Box::default(),
            },
        }
    }

    fn sni(&self) -> Option<&str> {
        match self.uses? {
            NameUse::Sni | NameUse::Both => Some(&self.name),
            NameUse::SubjectAltName => None,
        }
    }

    fn subject_alt_name(&self) -> Option<&str> {
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
        assert_eq!(options, TransportSocketOptions::default());
    }

    #[test]
    fn what_filters_say_goes_before_what_a_request_says() {
        let mut request = HeaderMap::default();
        request.set(HeaderId::Authority, b"a.test");
        let config = AutoSni {
            sni: true,
            san_validation: true,
            header: None,
        };
        let mut options = TransportSocketOptions::default();
        let mut state = FilterState::default();
        options.read(&config, &request);
        options.read_said(&state);
        assert_eq!(options.said(), None);
        state.set(
            UPSTREAM_SERVER_NAME,
            Object::Text(b"no name".as_slice().into()),
        );
        options.read_said(&state);
        assert_eq!(options.said(), None, "an object of another kind");
        state.set(
            UPSTREAM_SERVER_NAME,
            Object::ServerName(b"b.test".as_slice().into()),
        );
        options.read_said(&state);
        let mut expected = Said {
            sni: Some("b.test".into()),
            subject_alt_names: ["a.test".into()].into(),
            alpn: Box::default(),
        };
        assert_eq!(options.said(), Some(&expected));
        let names = |names: &[&str]| names.iter().map(|name| name.as_bytes().into()).collect();
        state.set(
            UPSTREAM_SUBJECT_ALT_NAMES,
            Object::SubjectAltNames(names(&["c", "d"])),
        );
        state.set(
            APPLICATION_PROTOCOLS,
            Object::ApplicationProtocols(names(&["x"])),
        );
        options.read_said(&state);
        expected.subject_alt_names = ["c".into(), "d".into()].into();
        expected.alpn = [b"x".as_slice().into()].into();
        assert_eq!(options.wanted(), expected);
        options.clear();
        assert_eq!(options, TransportSocketOptions::default());
        // One name is as if the request had said it.
        let mut state = FilterState::default();
        state.set(
            UPSTREAM_SERVER_NAME,
            Object::ServerName(b"b.test".as_slice().into()),
        );
        options.read_said(&state);
        assert_eq!(
            (options.said(), options.name()),
            (None, Some(("b.test", NameUse::Sni)))
        );
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
