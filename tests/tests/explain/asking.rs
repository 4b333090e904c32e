//! A request that is sent and asked about.

use ringway_tests::case::{Case, case};
use ringway_tests::observation::Scene;
use serde_json::Value;

pub(crate) type Headers = &'static [(&'static str, &'static str)];

/// A request without a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) protocol: &'static str,
    /// Empty for a request of HTTP/1.0 that names none.
    pub(crate) host: &'static str,
    /// Empty for a CONNECT.
    pub(crate) path: &'static str,
    pub(crate) headers: Headers,
}

pub(crate) const fn get(host: &'static str, path: &'static str, headers: Headers) -> Request {
    Request {
        method: "GET",
        protocol: "HTTP/1.1",
        host,
        path,
        headers,
    }
}

pub(crate) const fn connect(host: &'static str, headers: Headers) -> Request {
    Request {
        method: "CONNECT",
        protocol: "HTTP/1.1",
        host,
        path: "",
        headers,
    }
}

impl Request {
    /// The case that sends it to a listener.
    pub(crate) fn case(&self, listener: &'static str) -> Case {
        let Request {
            method,
            protocol,
            host,
            path,
            ..
        } = self;
        let target = if path.is_empty() { host } else { path };
        let host = match host.is_empty() {
            true => String::new(),
            false => format!("host: {host}\r\n"),
        };
        let lines = self.headers.iter();
        let lines: String = lines
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let head = format!("{method} {target} {protocol}\r\n{host}{lines}\r\n");
        case("explained", listener, head)
    }

    /// What is told of it; `more` are parameters.
    pub(crate) fn ask(&self, scene: &Scene, listener: &str, more: &str) -> Value {
        let mut query = format!(
            "/explain?format=json&listener={listener}&method={}&protocol={}{more}",
            self.method, self.protocol
        );
        if !self.host.is_empty() {
            query.push_str(&format!("&host={}", escaped(self.host)));
        }
        if !self.path.is_empty() {
            query.push_str(&format!("&path={}", escaped(self.path)));
        }
        for (name, value) in self.headers {
            query.push_str(&format!("&h.{name}={}", escaped(value)));
        }
        let answer = scene.process.admin().get(&query);
        let all: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let items = all["listeners"]["items"].as_array().expect("a list");
        assert_eq!(items.len(), 1, "{all:#}");
        items[0].clone()
    }
}

fn escaped(text: &str) -> String {
    text.replace('%', "%25")
        .replace('&', "%26")
        .replace('=', "%3D")
        .replace('+', "%2B")
        .replace('#', "%23")
        .replace(' ', "%20")
}

/// A value as text, whatever it is.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The items of a list of facts.
pub(crate) fn items(list: &Value) -> &[Value] {
    list["items"].as_array().map_or(&[], Vec::as_slice)
}

/// The line of the configuration that a place names.
pub(crate) fn line_of(scene: &Scene, place: &Value) -> String {
    let place = place.as_str().expect("a place");
    let file = scene
        .process
        .folder()
        .join(ringway_tests::process::CONFIGURATION);
    let file = std::fs::read_to_string(file).expect("the configuration");
    let number = place.rsplit(':').nth(1).and_then(|line| line.parse().ok());
    let number: usize = number.expect(place);
    let line = file.lines().nth(number - 1).expect("a line of the file");
    line.trim().to_owned()
}
