//! What is asked: a request that nobody has sent, and how the answer is to
//! look.

use std::net::SocketAddr;

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::route::port_start;

use crate::http::http1::reader::RequestFacts;

/// A request to be explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Its method.
    pub method: String,
    /// Its `Host`.
    pub host: String,
    /// Its path, with the query. A CONNECT has none.
    pub path: String,
    /// Its other headers, in order.
    pub headers: Vec<(String, String)>,
    /// Who asks: decides `x-forwarded-for` and whether the request is internal.
    pub remote: SocketAddr,
    /// The listener that gets it, by name or port; all are asked without one.
    pub listener: Option<String>,
    /// The random number that decides fractions and weighted clusters.
    pub random: u64,
}

/// Names of the parameters that are not headers; a header `NAME` is `h.NAME`.
pub const PARAMETERS: &[(&str, &str)] = &[
    ("method", "Method of the request; GET by default"),
    ("host", "Host of the request"),
    (
        "path",
        "Path of the request, with its query; / by default, none of a CONNECT",
    ),
    ("h.NAME", "A header of the request, repeatable"),
    ("remote", "Address of the client; 127.0.0.1 by default"),
    (
        "listener",
        "Name or port of the listener that gets it; all by default",
    ),
    (
        "random",
        "Number that decides fractions and weights; 0 by default",
    ),
    ("format", "layout; One of (text, json)"),
];

impl Question {
    /// Reads name and value pairs.
    ///
    /// # Errors
    /// What is wrong with which of them.
    pub fn parse<'p>(pairs: impl IntoIterator<Item = (&'p str, &'p str)>) -> Result<Self, String> {
        let mut question = Self {
            method: "GET".into(),
            host: String::new(),
            path: ROOT.into(),
            headers: Vec::new(),
            remote: SocketAddr::from(([127, 0, 0, 1], 0)),
            listener: None,
            random: 0,
        };
        for (name, value) in pairs {
            match name {
                "method" => question.method = token("method", value)?,
                "host" => question.host = line("host", value)?,
                "path" => question.path = path(value)?,
                "remote" => question.remote = remote(value)?,
                "listener" => question.listener = Some(value.into()),
                "random" => {
                    question.random = value
                        .parse()
                        .map_err(|_| format!("random: {value:?} is not a number"))?;
                }
                "format" if matches!(value, "text" | "json") => {}
                "format" => return Err(format!("format: {value:?} is neither text nor json")),
                _ => match name.strip_prefix("h.") {
                    Some(header) => {
                        let header = token(name, header)?.to_ascii_lowercase();
                        let value = line(name, value)?;
                        question.headers.push((header, value));
                    }
                    None => return Err(unknown(name)),
                },
            }
        }
        if question.headers.len() > HEADERS_MAX {
            return Err(format!("more than {HEADERS_MAX} headers"));
        }
        if question.facts().is_connect {
            let Self { host, path, .. } = &question;
            if port_start(host.as_bytes()).is_none() {
                return Err(format!("host: {host:?} has no port, which a CONNECT needs"));
            }
            if path != ROOT {
                return Err(format!("path: {path:?} is given, but a CONNECT has none"));
            }
            question.path.clear();
        }
        Ok(question)
    }

    /// What the codec would say of the request besides its headers.
    #[must_use]
    pub fn facts(&self) -> RequestFacts {
        RequestFacts {
            is_head: self.method == "HEAD",
            is_connect: self.method == "CONNECT",
        }
    }

    /// The request's headers as the codec would give them.
    #[must_use]
    pub fn request(&self) -> HeaderMap {
        let mut request = HeaderMap::new();
        request.append(HeaderId::Method, self.method.as_bytes());
        if !self.facts().is_connect {
            request.append(HeaderId::Path, self.path.as_bytes());
        }
        request.append(HeaderId::Authority, self.host.as_bytes());
        for (name, value) in &self.headers {
            if name == "host" {
                request.set(HeaderId::Authority, value.as_bytes());
            } else {
                request.append_name(name.as_bytes(), value.as_bytes());
            }
        }
        request
    }
}

/// The path of a request that none is given for.
const ROOT: &str = "/";

/// As many as a connection manager takes by default.
const HEADERS_MAX: usize = 100;

fn unknown(name: &str) -> String {
    let names: Vec<_> = PARAMETERS.iter().map(|(name, _)| *name).collect();
    format!(
        "{name:?} is not a parameter; there are {}",
        names.join(", ")
    )
}

/// A token (RFC 9110, section 5.6.2).
fn token(name: &str, value: &str) -> Result<String, String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match !value.is_empty() && value.bytes().all(is_token) {
        true => Ok(value.into()),
        false => Err(format!("{name}: {value:?} is not a token")),
    }
}

/// A header value: nothing that would end its line.
fn line(name: &str, value: &str) -> Result<String, String> {
    match value.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        true => Err(format!("{name}: a value cannot hold a line end or NUL")),
        false => Ok(value.trim().into()),
    }
}

fn path(value: &str) -> Result<String, String> {
    match value.starts_with('/') && value.bytes().all(|byte| byte > b' ' && byte != 0x7f) {
        true => Ok(value.into()),
        false => Err(format!(
            "path: {value:?} does not begin with a slash, or holds a space or control byte"
        )),
    }
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

    #[test]
    fn every_parameter() {
        let question = Question::parse([
            ("method", "POST"),
            ("host", "a.example:81"),
            ("path", "/x?y=z"),
            ("h.X-One", "1"),
            ("h.x-one", " 2 "),
            ("remote", "10.0.0.1"),
            ("listener", "8080"),
            ("random", "7"),
            ("format", "json"),
        ])
        .expect("all are good");
        assert_eq!(question.remote.to_string(), "10.0.0.1:0");
        assert_eq!(question.listener.as_deref(), Some("8080"));
        assert_eq!(question.random, 7);
        let request = question.request();
        assert_eq!(request.get(HeaderId::Method), Some(&b"POST"[..]));
        assert_eq!(request.get(HeaderId::Authority), Some(&b"a.example:81"[..]));
        let values: Vec<_> = request.get_all_name(b"x-one").collect();
        assert_eq!(values, [b"1", b"2"]);
    }

    #[test]
    fn a_connect_has_no_path() {
        let parse =
            |host, path| Question::parse([("method", "CONNECT"), ("host", host), ("path", path)]);
        let question = parse("a.example:443", "/").expect("it is good");
        assert!(question.facts().is_connect);
        assert_eq!(question.request().get(HeaderId::Path), None);
        assert_eq!(question.path, "");
        let error = parse("a.example:443", "/x").expect_err("there is a path");
        assert!(error.starts_with("path: \"/x\" is given"), "{error}");
        let error = parse("a.example", "/").expect_err("there is no port");
        assert!(
            error.starts_with("host: \"a.example\" has no port"),
            "{error}"
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (pair, expected) in [
            (("methd", "GET"), "\"methd\" is not a parameter"),
            (("method", "G T"), "method: \"G T\" is not a token"),
            (("method", ""), "method: \"\" is not a token"),
            (("path", "x"), "path: \"x\" does not begin with a slash"),
            (("path", "/a b"), "path: \"/a b\""),
            (("path", "/a\r\nx: y"), "path: "),
            (("host", "a\r\nb"), "host: a value cannot hold a line end"),
            (("h.", "1"), "h.: \"\" is not a token"),
            (("h.a:b", "1"), "h.a:b: \"a:b\" is not a token"),
            (("h.a", "1\n2"), "h.a: a value cannot hold a line end"),
            (("remote", "nobody"), "remote: \"nobody\" is not an address"),
            (("random", "-1"), "random: \"-1\" is not a number"),
            (("format", "xml"), "format: \"xml\" is neither"),
        ] {
            let error = Question::parse([pair]).expect_err(pair.0);
            assert!(error.starts_with(expected), "{pair:?}: {error}");
        }
        let many = vec![("h.a", "b"); HEADERS_MAX + 1];
        assert!(Question::parse(many).is_err());
    }
}
