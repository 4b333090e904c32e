//! What must hold for any configuration whatsoever: shared by the fuzz targets
//! and the replay of their corpora. Not part of the API.

mod routes;

pub use routes::route_table;

/// The fuzz target: where a request says that it goes, as an address, as a name
/// and as a list of hosts.
///
/// Nothing panics; an address reads back as itself; the key of a host ends with
/// a port, which stays the same however it is written; and hosts come out of a list as they went in.
pub fn destination(data: &[u8]) {
    if let Some(address) = parse_address(data) {
        assert_eq!(parse_address(address.to_string().as_bytes()), Some(address));
    }
    let mut key = Vec::new();
    write_key(data, 80, &mut key);
    let port = |key: &[u8]| {
        let key = String::from_utf8_lossy(key);
        let (_, port) = split_key(&key);
        assert!(key.ends_with(&port.to_string()), "{key}");
        port
    };
    let named = port(&key);
    normalize_key(&mut key);
    assert_eq!(port(&key), named);
    let once = key.clone();
    normalize_key(&mut key);
    assert_eq!(key, once);
    let (mut hosts, mut again) = (AskedHosts::default(), AskedHosts::default());
    hosts.add(data);
    while let Some(host) = hosts.take_next() {
        again.add(host.as_bytes());
        assert_eq!(again.take_next(), Some(host));
        assert_eq!(again.take_next(), None);
    }
}

/// The fuzz target: an array of JSON, in pieces of each of some sizes.
///
/// The pieces make no difference, and what is JSON has the values that it has as
/// a whole.
pub fn json_array(data: &[u8]) {
    let whole = values_of(data, data.len().max(1));
    for size in [1, 2, 3, 7] {
        assert_eq!(values_of(data, size), whole, "in pieces of {size}");
    }
    if let Ok(serde_json::Value::Array(expected)) = serde_json::from_slice(data) {
        let (values, is_whole) = whole;
        assert!(is_whole);
        let read = values.iter().map(|value| serde_json::from_slice(value));
        let read: Result<Vec<serde_json::Value>, _> = read.collect();
        assert_eq!(read.ok(), Some(expected));
    }
}

/// The values of an array, and whether it has come to its end.
fn values_of(data: &[u8], size: usize) -> (Vec<Vec<u8>>, bool) {
    let mut reader = ArrayReader::default();
    let mut values = Vec::new();
    for mut piece in data.chunks(size) {
        loop {
            match reader.next(&mut piece) {
                Ok(Some(value)) => values.push(value),
                Ok(None) => break,
                Err(_) => return (values, false),
            }
        }
    }
    (values, reader.end().is_ok())
}

/// The fuzz target: an expression, a zero byte, what is searched for it.
///
/// Nothing panics and nothing takes long, whatever of it is taken; and a text
/// that is quoted finds itself and nothing else.
pub fn regex(data: &[u8]) {
    let (pattern, text) = match data.iter().position(|byte| *byte == 0) {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, data),
    };
    let Ok(pattern) = std::str::from_utf8(pattern) else {
        return;
    };
    if let Ok(regex) = compile_search(pattern) {
        let _ = regex.find(text);
    }
    if !pattern.contains('\\') {
        let quoted = compile_search(&format!("^\\Q{pattern}\\E$"));
        if let Ok(quoted) = quoted {
            assert!(quoted.is_match(pattern.as_bytes()), "{pattern:?}");
            assert_eq!(
                quoted.is_match(text),
                pattern.as_bytes() == text,
                "{pattern:?}"
            );
        }
    }
}

use crate::dns_cache::{normalize_key, split_key, write_key};
use crate::load_balancing::AskedHosts;
use crate::original_dst::parse_address;
use crate::route::compile_search;
use crate::route::{MatchInput, PeerCertificate, RouteMatch};
use crate::runtime::RuntimeValues;
use crate::transcoding::ArrayReader;
use crate::{
    Cx, Diagnostics, Format, LoadOptions, Loaded, Names, bootstrap, load, load_and_look, route,
    to_json, unpack,
};
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, http_connection_manager::RouteSpecifier,
};
use ringway_codecs::header::{HeaderId, HeaderMap};

/// The fuzz target: a byte of options, then the text.
///
/// Nothing panics, also not in what is left of a text that is wrong; and what was accepted means the same after it was printed
/// as JSON and loaded again, with the same complaints when it is lowered.
/// Returns whether the text was accepted.
pub fn load_text(data: &[u8]) -> bool {
    let Some((first, text)) = data.split_first() else {
        return false;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return false;
    };
    let format = if first & 1 == 0 {
        Format::Yaml
    } else {
        Format::Json
    };
    let options = LoadOptions {
        allow_unknown_static_fields: first & 2 != 0,
        ..LoadOptions::default()
    };
    let look = |rest: &Loaded| {
        let mut found = bootstrap::lower_partly(rest).diagnostics;
        decisions(rest, &mut found);
        found
    };
    let Ok(loaded) = load_and_look(text, "fuzz", format, &options, &look) else {
        return false;
    };
    let printed = to_json(&loaded.message);
    let again = load(&printed.to_string(), "again", Format::Json, &options)
        .unwrap_or_else(|found| panic!("{printed}: {found}"));
    assert_eq!(to_json(&again.message), printed);
    assert_eq!(complaints(&loaded), complaints(&again), "{printed}");
    true
}

/// How often lowering complains about the bootstrap and its routes, and where
/// the routes send a request. Texts and positions may differ: names are
/// spelled as they were written.
fn complaints(loaded: &Loaded) -> (bool, usize, String) {
    let (accepted, found) = match bootstrap::lower(loaded) {
        Ok(snapshot) => (true, snapshot.diagnostics),
        Err(found) => (false, found),
    };
    let mut in_routes = Diagnostics::new();
    let decisions = decisions(loaded, &mut in_routes);
    (accepted, found.len() + in_routes.len(), decisions)
}

/// What the routes of all HTTP connection managers do with one request.
fn decisions(loaded: &Loaded, found: &mut Diagnostics) -> String {
    let names = Names::default();
    let mut cx = Cx::new(found, &loaded.marks, loaded.file.clone(), &names);
    let mut request = HeaderMap::new();
    request.append(HeaderId::Method, b"GET");
    request.append(HeaderId::Path, b"/a/b?c=d");
    request.append(HeaderId::Authority, b"www.Example.com:80");
    let runtime = RuntimeValues::default();
    let input = MatchInput {
        headers: &request,
        random: 7,
        runtime: &runtime,
        metadata: crate::metadata::Metadata::EMPTY,
        filter_state: crate::filter_state::FilterState::EMPTY,
        remote: std::net::Ipv4Addr::LOCALHOST.into(),
        peer_certificate: PeerCertificate::default(),
    };
    let resources = loaded.bootstrap.static_resources.iter();
    let mut out = String::new();
    for filter in resources
        .flat_map(|resources| &resources.listeners)
        .flat_map(|listener| &listener.filter_chains)
        .flat_map(|chain| &chain.filters)
    {
        let Some(ConfigType::TypedConfig(any)) = &filter.config_type else {
            continue;
        };
        let Some(manager) = unpack::<HttpConnectionManager>(any, &mut cx) else {
            continue;
        };
        if let Some(RouteSpecifier::RouteConfig(config)) = &manager.route_specifier
            // No file is read: it could be any device.
            && !format!("{config:?}").contains("Filename")
            && let Some(routes) = route::lower(config, &mut cx)
        {
            let decision = match routes.find(&input) {
                RouteMatch::NoVirtualHost => "no host".to_owned(),
                RouteMatch::TlsRequired(host) => format!("TLS for {}", host.name),
                RouteMatch::NoRoute(host) => format!("no route in {}", host.name),
                RouteMatch::Route(found) => {
                    let host = found.virtual_host;
                    let number = host
                        .routes
                        .iter()
                        .position(|route| std::ptr::eq(route, found.route));
                    format!("{} {number:?}", host.name)
                }
            };
            out.push_str(&decision);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Replays what the target has found.
    #[test]
    fn the_corpus_holds() {
        let pack = include_bytes!("../fuzz/corpus/found-load.pack");
        let mut rest = &pack[..];
        let (mut inputs, mut accepted) = (0, 0);
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (input, after) = after.split_at(u32::from_le_bytes(*length) as usize);
            accepted += usize::from(load_text(input));
            rest = after;
            inputs += 1;
        }
        assert!(rest.is_empty(), "the pack is cut off");
        assert!(inputs > 100 && accepted > 20, "{inputs} {accepted}");
    }
}
