//! What is asked: a request that nobody has sent, and how the answer is to
//! look.

use std::fmt;
use std::net::SocketAddr;

use ringway_codecs::http1::Version;

/// A request to be explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Its method.
    pub method: String,
    /// The protocol that it is written in.
    pub protocol: Version,
    /// Its `Host`; without one a client would name the address of the listener,
    /// and nothing in HTTP/1.0, which does not ask for it.
    pub host: Option<String>,
    /// What its first line asks for: a path with its query, a whole URL, or
    /// `*`. Empty of a CONNECT, which asks for its host.
    pub path: String,
    /// Its other headers, in order.
    pub headers: Vec<(String, String)>,
    /// Who asks: decides `x-forwarded-for` and whether the request is internal.
    pub remote: SocketAddr,
    /// The server that its TLS handshake asks for, in lower case.
    pub server_name: Option<String>,
    /// The protocols that its TLS handshake offers.
    pub application_protocols: Vec<Box<[u8]>>,
    /// The listener that gets it, by name or port; all are asked without one.
    pub listener: Option<String>,
    /// The random number that decides fractions and weighted clusters.
    pub random: u64,
    /// All routes that do not match are told, not only the first ones.
    pub all_routes: bool,
}

/// Names of the parameters that are not headers; a header `NAME` is `h.NAME`.
pub const PARAMETERS: &[(&str, &str)] = &[
    ("method", "Method of the request; GET by default"),
    (
        "host",
        "Host of the request; the address of the listener by default, none of HTTP/1.0",
    ),
    (
        "path",
        "Path of the request, with its query, or a whole URL, or *; / by default, none of a \
         CONNECT",
    ),
    (
        "protocol",
        "Protocol of the request; One of (HTTP/1.1, HTTP/1.0)",
    ),
    ("h.NAME", "A header of the request, repeatable"),
    ("remote", "Address of the client; 127.0.0.1 by default"),
    (
        "sni",
        "Server name of the TLS handshake; for listeners that look at it",
    ),
    (
        "alpn",
        "Protocols that the TLS handshake offers, separated by commas; for listeners that look \
         at them",
    ),
    (
        "listener",
        "Name or port of the listener that gets it; all by default",
    ),
    (
        "random",
        "Number that decides fractions and weights; 0 by default",
    ),
    (
        "all_routes",
        "Whether all routes that do not match are told; One of (true, false)",
    ),
    ("format", "layout; One of (text, json)"),
];

impl Question {
    /// Reads name and value pairs.
    ///
    /// What a client could send is no mistake here, however wrong it is: then
    /// the answer is that the request is refused.
    ///
    /// # Errors
    /// What is wrong with which of them.
    pub fn parse<'p>(pairs: impl IntoIterator<Item = (&'p str, &'p str)>) -> Result<Self, String> {
        let mut question = Self {
            method: "GET".into(),
            protocol: Version::Http11,
            host: None,
            path: ROOT.into(),
            headers: Vec::new(),
            remote: SocketAddr::from(([127, 0, 0, 1], 0)),
            server_name: None,
            application_protocols: Vec::new(),
            listener: None,
            random: 0,
            all_routes: false,
        };
        for (name, value) in pairs {
            match name {
                "method" => question.method = token("method", value)?,
                "host" => question.host = Some(line("host", value)?),
                "protocol" => question.protocol = protocol(value)?,
                "path" => question.path = line("path", value)?,
                "remote" => question.remote = remote(value)?,
                "sni" => question.server_name = Some(line("sni", value)?.to_ascii_lowercase()),
                "alpn" => {
                    let names = value.split(',').filter(|name| !name.is_empty());
                    question.application_protocols =
                        names.map(|name| name.as_bytes().into()).collect();
                }
                "listener" => question.listener = Some(value.into()),
                "random" => {
                    question.random = value
                        .parse()
                        .map_err(|_| format!("random: {value:?} is not a number"))?;
                }
                "all_routes" => {
                    question.all_routes = value
                        .parse()
                        .map_err(|_| format!("all_routes: {value:?} is neither true nor false"))?;
                }
                "format" if matches!(value, "text" | "json") => {}
                "format" => return Err(format!("format: {value:?} is neither text nor json")),
                _ => match name.strip_prefix("h.") {
                    Some(header) => {
                        let header = token(name, header)?;
                        let value = line(name, value)?;
                        question.headers.push((header, value));
                    }
                    None => return Err(unknown(name)),
                },
            }
        }
        if question.is_connect() {
            let path = &question.path;
            if path != ROOT {
                return Err(format!("path: {path:?} is given, but a CONNECT has none"));
            }
            question.path.clear();
        }
        Ok(question)
    }

    fn is_connect(&self) -> bool {
        self.method == "CONNECT"
    }

    /// The head that a client sends to the listener at `address`.
    #[must_use]
    pub fn head(&self, address: &str) -> Vec<u8> {
        let header = |(name, value): &'_ (String, String)| {
            name.eq_ignore_ascii_case("host").then(|| value.clone())
        };
        let by_header = self.headers.iter().find_map(header);
        let names_host = self.protocol == Version::Http11 && by_header.is_none();
        let writes_host = self.host.is_some() || names_host;
        let host = self.host.clone().or(by_header);
        let host = host.as_deref().unwrap_or(address);
        let target = match self.is_connect() {
            true => host,
            false => &self.path,
        };
        let mut head = format!("{} {target} {}\r\n", self.method, self.protocol.as_str());
        let mut add = |name: &str, value: &str| {
            for part in [name, ": ", value, "\r\n"] {
                head.push_str(part);
            }
        };
        if writes_host {
            add("host", host);
        }
        for (name, value) in &self.headers {
            add(name, value);
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            method, host, path, ..
        } = self;
        let host = host.as_deref().unwrap_or_default();
        match path.starts_with('/') || path.is_empty() || host.is_empty() {
            true => write!(f, "{method} {host}{path}"),
            false => write!(f, "{method} {path} of {host}"),
        }
    }
}

/// The path of a request that none is given for.
const ROOT: &str = "/";

fn unknown(name: &str) -> String {
    let names: Vec<_> = PARAMETERS.iter().map(|(name, _)| *name).collect();
    format!(
        "{name:?} is not a parameter; there are {}",
        names.join(", ")
    )
}

/// A token (RFC 9110, section 5.6.2): what is none would be read as something
/// else than a method, or the name of a header.
fn token(name: &str, value: &str) -> Result<String, String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match !value.is_empty() && value.bytes().all(is_token) {
        true => Ok(value.into()),
        false => Err(format!("{name}: {value:?} is not a token")),
    }
}

/// Part of a line of the head: nothing that would end it.
fn line(name: &str, value: &str) -> Result<String, String> {
    match value.bytes().any(|byte| matches!(byte, b'\r' | b'\n')) {
        true => Err(format!("{name}: a value cannot hold a line end")),
        false => Ok(value.trim().into()),
    }
}

fn protocol(value: &str) -> Result<Version, String> {
    let known = [Version::Http11, Version::Http10];
    let named = known.into_iter().find(|version| version.as_str() == value);
    named.ok_or_else(|| format!("protocol: {value:?} is neither HTTP/1.1 nor HTTP/1.0"))
}

fn remote(value: &str) -> Result<SocketAddr, String> {
    let address = value.parse().map(|ip| SocketAddr::new(ip, 0));
    address
        .or_else(|_| value.parse())
        .map_err(|_| format!("remote: {value:?} is not an address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(pairs: &[(&str, &str)]) -> String {
        let question = Question::parse(pairs.iter().copied()).expect("all are good");
        String::from_utf8(question.head("127.0.0.1:80")).expect("text")
    }

    #[test]
    fn every_parameter() {
        let pairs = [
            ("method", "POST"),
            ("host", "a.example:81"),
            ("path", "/x?y=z"),
            ("h.X-One", "1"),
            ("h.x-one", " 2 "),
            ("remote", "10.0.0.1"),
            ("sni", "A.example"),
            ("alpn", "h2,http/1.1"),
            ("listener", "8080"),
            ("random", "7"),
            ("all_routes", "true"),
            ("format", "json"),
        ];
        let question = Question::parse(pairs).expect("all are good");
        assert_eq!(question.remote.to_string(), "10.0.0.1:0");
        assert_eq!(question.server_name.as_deref(), Some("a.example"));
        assert_eq!(question.application_protocols.len(), 2);
        assert_eq!(question.listener.as_deref(), Some("8080"));
        assert_eq!(question.random, 7);
        assert!(question.all_routes);
        assert_eq!(question.to_string(), "POST a.example:81/x?y=z");
        assert_eq!(
            head(&pairs),
            "POST /x?y=z HTTP/1.1\r\nhost: a.example:81\r\nX-One: 1\r\nx-one: 2\r\n\r\n"
        );
    }

    #[test]
    fn every_form_of_a_first_line() {
        for (pairs, expected, name) in [
            (
                &[][..],
                "GET / HTTP/1.1\r\nhost: 127.0.0.1:80\r\n\r\n",
                "GET /",
            ),
            (
                &[("method", "OPTIONS"), ("path", "*"), ("host", "a")],
                "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
                "OPTIONS * of a",
            ),
            (
                &[("path", "http://b/x"), ("host", "a")],
                "GET http://b/x HTTP/1.1\r\nhost: a\r\n\r\n",
                "GET http://b/x of a",
            ),
            (
                &[("method", "CONNECT"), ("host", "a:443")],
                "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n",
                "CONNECT a:443",
            ),
            (
                &[("h.Host", "b")],
                "GET / HTTP/1.1\r\nHost: b\r\n\r\n",
                "GET /",
            ),
            (
                &[("protocol", "HTTP/1.0")],
                "GET / HTTP/1.0\r\n\r\n",
                "GET /",
            ),
            (
                &[("protocol", "HTTP/1.0"), ("host", "a")],
                "GET / HTTP/1.0\r\nhost: a\r\n\r\n",
                "GET a/",
            ),
            // Two hosts are what a client sends then, and what is refused.
            (
                &[("h.Host", "b"), ("host", "")],
                "GET / HTTP/1.1\r\nhost: \r\nHost: b\r\n\r\n",
                "GET /",
            ),
        ] {
            assert_eq!(head(pairs), expected);
            let question = Question::parse(pairs.iter().copied()).expect("all are good");
            assert_eq!(question.to_string(), name);
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (pairs, expected) in [
            (&[("methd", "GET")][..], "\"methd\" is not a parameter"),
            (&[("method", "G T")], "method: \"G T\" is not a token"),
            (&[("method", "")], "method: \"\" is not a token"),
            (&[("path", "/a\r\nx: y")], "path: a value cannot hold"),
            (
                &[("host", "a\r\nb")],
                "host: a value cannot hold a line end",
            ),
            (&[("h.", "1")], "h.: \"\" is not a token"),
            (&[("h.a:b", "1")], "h.a:b: \"a:b\" is not a token"),
            (&[("h.a", "1\n2")], "h.a: a value cannot hold a line end"),
            (
                &[("remote", "nobody")],
                "remote: \"nobody\" is not an address",
            ),
            (&[("random", "-1")], "random: \"-1\" is not a number"),
            (
                &[("protocol", "http/1.0")],
                "protocol: \"http/1.0\" is neither",
            ),
            (&[("all_routes", "1")], "all_routes: \"1\" is neither"),
            (&[("format", "xml")], "format: \"xml\" is neither"),
            (
                &[("method", "CONNECT"), ("host", "a:1"), ("path", "/x")],
                "path: \"/x\" is given, but a CONNECT has none",
            ),
        ] {
            let error = Question::parse(pairs.iter().copied()).expect_err(expected);
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
