//! Envoy's factories of objects, by their names. Those of objects that nothing here reads
//! are known, so that whoever wants one is told so.

use super::{
    APPLICATION_PROTOCOLS, DISABLE_TUNNELING, DYNAMIC_HOST, DYNAMIC_PORT, Object,
    PER_CONNECTION_IDLE_TIMEOUT, TCP_PROXY_CLUSTER, UPSTREAM_SERVER_NAME,
    UPSTREAM_SUBJECT_ALT_NAMES,
};
use crate::original_dst;

/// Makes an object of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factory {
    /// `envoy.string`
    Text,
    /// `envoy.hashable_string`
    HashableText,
    /// `envoy.network.ip`
    Ip,
    /// `envoy.network.transport_socket.original_dst_address`
    Address,
    /// [`TCP_PROXY_CLUSTER`]
    Cluster,
    /// [`UPSTREAM_SERVER_NAME`]
    ServerName,
    /// [`UPSTREAM_SUBJECT_ALT_NAMES`]
    SubjectAltNames,
    /// [`APPLICATION_PROTOCOLS`]
    ApplicationProtocols,
    /// `envoy.bool`
    Bool,
    /// [`DISABLE_TUNNELING`]
    DisableTunneling,
    /// [`DYNAMIC_PORT`]
    U32,
    /// [`PER_CONNECTION_IDLE_TIMEOUT`]
    U64,
}

/// Why there is no factory of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoFactory {
    /// Envoy has none either.
    Unknown,
    /// Envoy has one, for this.
    NothingReads(&'static str),
}

/// Factories of Envoy for objects that nothing here reads, with what reads them there.
const WITHOUT_READERS: &[(&str, &str)] = &[
    ("envoy.ai.llm_protocol.request", "filters of AI protocols"),
    ("envoy.ai.model.request", "filters of AI protocols"),
    (
        "envoy.filters.listener.original_dst.local_ip",
        "internal listeners",
    ),
    (
        "envoy.filters.listener.original_dst.remote_ip",
        "internal listeners",
    ),
    (
        "envoy.network.network_namespace",
        "addresses of our own in other network namespaces",
    ),
    (
        "envoy.network.transport_socket.http_11_proxy.info",
        "the transport socket http_11_proxy",
    ),
    ("envoy.ratelimit.hits_addend", "rate limits of requests"),
    ("envoy.router.debug_config", "debugging of the router"),
];

impl Factory {
    /// The factory of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn find(name: &str) -> Result<Self, NoFactory> {
        Ok(match name {
            "envoy.string" | DYNAMIC_HOST => Factory::Text,
            "envoy.hashable_string" => Factory::HashableText,
            "envoy.network.ip" => Factory::Ip,
            original_dst::FILTER_STATE_KEY => Factory::Address,
            TCP_PROXY_CLUSTER => Factory::Cluster,
            UPSTREAM_SERVER_NAME => Factory::ServerName,
            UPSTREAM_SUBJECT_ALT_NAMES => Factory::SubjectAltNames,
            APPLICATION_PROTOCOLS => Factory::ApplicationProtocols,
            "envoy.bool" => Factory::Bool,
            DISABLE_TUNNELING => Factory::DisableTunneling,
            DYNAMIC_PORT => Factory::U32,
            PER_CONNECTION_IDLE_TIMEOUT => Factory::U64,
            _ => {
                let known = WITHOUT_READERS.iter().find(|(known, _)| *known == name);
                return Err(known.map_or(NoFactory::Unknown, |(_, reader)| {
                    NoFactory::NothingReads(reader)
                }));
            }
        })
    }

    /// Makes an object, if the text is one.
    pub fn create(self, text: &[u8]) -> Option<Object> {
        let number = || std::str::from_utf8(text.trim_ascii()).ok();
        Some(match self {
            Factory::Text => Object::Text(text.into()),
            Factory::HashableText => Object::HashableText(text.into()),
            Factory::Ip => Object::Ip(std::str::from_utf8(text).ok()?.parse().ok()?),
            Factory::Address => Object::Address(original_dst::parse_address(text)?),
            Factory::Cluster => Object::Cluster(text.into()),
            Factory::ServerName => Object::ServerName(text.into()),
            Factory::SubjectAltNames => Object::SubjectAltNames(list(text)),
            Factory::ApplicationProtocols => Object::ApplicationProtocols(list(text)),
            Factory::Bool => Object::Bool(truth(text)?),
            Factory::DisableTunneling => Object::Bool(text == b"true"),
            Factory::U32 => Object::U32(number()?.parse().ok()?),
            Factory::U64 => Object::U64(number()?.parse().ok()?),
        })
    }
}

/// Yes or no, in the words that Envoy knows for it.
fn truth(text: &[u8]) -> Option<bool> {
    let is = |words: &[&str]| {
        let mut words = words.iter();
        words.any(|word| text.eq_ignore_ascii_case(word.as_bytes()))
    };
    let (yes, no) = (
        ["true", "t", "yes", "y", "1"],
        ["false", "f", "no", "n", "0"],
    );
    is(&yes).then_some(true).or(is(&no).then_some(false))
}

/// The parts between commas, as they are.
fn list(text: &[u8]) -> Box<[Box<[u8]>]> {
    text.split(|byte| *byte == b',').map(Box::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Envoy 1.40 makes them.
    #[test]
    fn objects_of_texts() {
        let (t, f) = (Some(Object::Bool(true)), Some(Object::Bool(false)));
        let u32 = |value| Some(Object::U32(value));
        let u64 = |value| Some(Object::U64(value));
        let names = |names: &[&str]| {
            let names = names.iter().map(|name| name.as_bytes().into()).collect();
            Some(Object::SubjectAltNames(names))
        };
        for (factory, text, expected) in [
            ("envoy.bool", "true", &t),
            ("envoy.bool", "Y", &t),
            ("envoy.bool", "0", &f),
            ("envoy.bool", " true", &None),
            ("envoy.bool", "", &None),
            (DISABLE_TUNNELING, "true", &t),
            (DISABLE_TUNNELING, "TRUE", &f),
            (DISABLE_TUNNELING, "", &f),
            (DYNAMIC_PORT, "5 ", &u32(5)),
            (DYNAMIC_PORT, "+70000", &u32(70000)),
            (DYNAMIC_PORT, "4294967296", &None),
            (DYNAMIC_PORT, "0x5", &None),
            (DYNAMIC_PORT, "", &None),
            (
                PER_CONNECTION_IDLE_TIMEOUT,
                " 4294967296",
                &u64(4_294_967_296),
            ),
            (PER_CONNECTION_IDLE_TIMEOUT, "-5", &None),
            (PER_CONNECTION_IDLE_TIMEOUT, "18446744073709551616", &None),
            (
                UPSTREAM_SUBJECT_ALT_NAMES,
                " a,,b",
                &names(&[" a", "", "b"]),
            ),
            (UPSTREAM_SUBJECT_ALT_NAMES, "", &names(&[""])),
            ("envoy.network.ip", "1.2.3", &None),
        ] {
            let made = Factory::find(factory).map(|factory| factory.create(text.as_bytes()));
            assert_eq!(made.as_ref(), Ok(expected), "{factory} {text:?}");
        }
        assert_eq!(Factory::find("envoy.else"), Err(NoFactory::Unknown));
        let read_by_none = Factory::find("envoy.ratelimit.hits_addend");
        let expected = NoFactory::NothingReads("rate limits of requests");
        assert_eq!(read_by_none, Err(expected));
    }
}
