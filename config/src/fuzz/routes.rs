//! Route tables made of arbitrary bytes: what the indices find is what one
//! finds by looking at everything in order.

use crate::route::{self, MatchInput, PeerCertificate, RouteConfiguration, RouteMatch};
use crate::runtime::RuntimeValues;
use crate::{Cx, Diagnostics, Marks, Names};
use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::config::route::v3 as proto;
use envoy_types::pb::envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;
use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatcher;
use envoy_types::pb::google::protobuf::{Any, BoolValue};
use prost::{Message, Name};
use proto::route_match::PathSpecifier;
use ringway_codecs::header::{HeaderId, HeaderMap};

/// What paths and keys are made of: few pieces, so that keys are often
/// prefixes of each other and of paths.
const PIECES: &[&str] = &[
    "/", "/a", "/b", "a", "b", "A", "/aB", "/abc", ";v=1", "%20", "/a/b/c", "é",
];

/// What host names and domains are made of.
const LABELS: &[&str] = &["a", "b.", ".c", "A", "example.com", "-x", ".a.", "b"];

/// Routes and virtual hosts of one table.
const LENGTH_MAX: usize = 40;

/// Requests that are looked up in one table.
const REQUESTS: usize = 12;

/// The fuzz target: a table of routes and of domains, then requests.
///
/// Looking a request up gives the first route in order that matches, and the
/// virtual host whose domain takes precedence.
pub fn route_table(data: &[u8]) {
    let mut bytes = Bytes(data);
    let routes = routes_of(&mut bytes);
    let hosts = configuration_of_hosts(&mut bytes);
    for _ in 0..REQUESTS {
        let mut request = HeaderMap::new();
        request.append(HeaderId::Method, b"GET");
        let host = bytes.text(LABELS);
        request.append(HeaderId::Authority, host.as_bytes());
        let path = format!(
            "/{}{}",
            bytes.text(PIECES),
            bytes.pick(&["", "?a=/b", "#a/b"])
        );
        request.append(HeaderId::Path, path.as_bytes());
        if bytes.next() & 1 == 0 {
            request.append_name(b"x-condition", b"1");
        }
        let input = MatchInput {
            headers: &request,
            random: u64::from(bytes.next()),
            runtime: &RuntimeValues::default(),
            metadata: crate::metadata::Metadata::EMPTY,
            filter_state: crate::filter_state::FilterState::EMPTY,
            remote: std::net::Ipv4Addr::LOCALHOST.into(),
            peer_certificate: PeerCertificate::default(),
        };
        check_route(&routes, &input);
        check_host(&hosts, &request, &host);
    }
}

fn check_route(routes: &RouteConfiguration, input: &MatchInput<'_>) {
    let table = &routes.virtual_hosts()[0].routes;
    let expected = table.iter().find(|route| route.matcher.matches(input));
    let found = match routes.find(input) {
        RouteMatch::Route(found) => Some(found.route),
        RouteMatch::NoRoute(_) => None,
        RouteMatch::NoVirtualHost => panic!("the virtual host serves every name"),
        RouteMatch::TlsRequired(_) => panic!("the virtual host requires no TLS"),
    };
    assert_eq!(
        found.map(|route| &route.name),
        expected.map(|route| &route.name),
        "{:?} in {table:#?}",
        input.headers.get(HeaderId::Path).map(<[u8]>::escape_ascii),
    );
}

fn check_host(
    (hosts, domains): &(RouteConfiguration, Vec<String>),
    request: &HeaderMap,
    host: &str,
) {
    let host = host.to_ascii_lowercase();
    let fits = |domain: &&String| match domain.as_bytes() {
        b"*" => true,
        [b'*', suffix @ ..] => host.len() > suffix.len() && host.as_bytes().ends_with(suffix),
        [prefix @ .., b'*'] => host.len() > prefix.len() && host.as_bytes().starts_with(prefix),
        name => name == host.as_bytes(),
    };
    let precedence = |domain: &&String| match domain.as_bytes() {
        b"*" => (0, 0),
        [b'*', suffix @ ..] => (2, suffix.len()),
        [prefix @ .., b'*'] => (1, prefix.len()),
        name => (3, name.len()),
    };
    let expected = domains.iter().filter(fits).max_by_key(precedence);
    let found = hosts.virtual_host(request).map(|host| &*host.name);
    assert_eq!(found, expected.map(String::as_str), "{host} in {domains:?}");
}

/// A virtual host for every domain, called like it.
fn configuration_of_hosts(bytes: &mut Bytes<'_>) -> (RouteConfiguration, Vec<String>) {
    let mut domains: Vec<String> = Vec::new();
    for _ in 0..usize::from(bytes.next()) % LENGTH_MAX {
        let name = bytes.text(LABELS).to_ascii_lowercase();
        let domain = match bytes.next() % 4 {
            0 | 1 => name,
            2 => format!("*{name}"),
            _ => format!("{name}*"),
        };
        if !domains.contains(&domain) {
            domains.push(domain);
        }
    }
    let hosts = domains.iter().map(|domain| proto::VirtualHost {
        name: domain.clone(),
        domains: vec![domain.clone()],
        ..Default::default()
    });
    let message = proto::RouteConfiguration {
        virtual_hosts: hosts.collect(),
        ..Default::default()
    };
    (lower(&message).expect("good domains"), domains)
}

/// Routes called by their number. Those that are refused are left out.
fn routes_of(bytes: &mut Bytes<'_>) -> RouteConfiguration {
    let mut message = proto::RouteConfiguration {
        ignore_path_parameters_in_path_matching: bytes.next() & 1 == 0,
        virtual_hosts: vec![proto::VirtualHost {
            name: "all".into(),
            domains: vec!["*".into()],
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut good = Vec::new();
    for number in 0..usize::from(bytes.next()) % LENGTH_MAX {
        let route = route_of(bytes, number);
        message.virtual_hosts[0].routes = vec![route.clone()];
        if lower(&message).is_some() {
            good.push(route);
        }
    }
    message.virtual_hosts[0].routes = good;
    lower(&message).expect("refused routes are left out")
}

fn route_of(bytes: &mut Bytes<'_>, number: usize) -> proto::Route {
    let condition = proto::HeaderMatcher {
        name: "x-condition".into(),
        ..Default::default()
    };
    let matcher = proto::RouteMatch {
        case_sensitive: (bytes.next() & 1 == 0).then_some(BoolValue { value: false }),
        headers: match bytes.next() & 3 {
            0 => vec![condition],
            _ => Vec::new(),
        },
        path_specifier: Some(path_of(bytes)),
        ..Default::default()
    };
    proto::Route {
        name: number.to_string(),
        r#match: Some(matcher),
        action: Some(proto::route::Action::DirectResponse(
            proto::DirectResponseAction {
                status: 200,
                ..Default::default()
            },
        )),
        ..Default::default()
    }
}

fn path_of(bytes: &mut Bytes<'_>) -> PathSpecifier {
    match bytes.next() % 8 {
        0 | 1 => PathSpecifier::Path(format!("/{}", bytes.text(PIECES))),
        2 | 3 => PathSpecifier::Prefix(bytes.text(PIECES)),
        4 | 5 => PathSpecifier::PathSeparatedPrefix(format!("/{}", bytes.text(PIECES))),
        6 => {
            let ending = bytes.pick(&["", ".*", "?.*", "|/b", "[ab]*", "+"]);
            let flags = bytes.pick(&["", "(?i)", "^"]);
            PathSpecifier::SafeRegex(RegexMatcher {
                regex: format!("{flags}/{}{ending}", bytes.text(PIECES)),
                ..Default::default()
            })
        }
        _ => {
            let ending = bytes.pick(&["", "/*", "/**", "/{x}", "/{x=**}/b"]);
            template(format!("/{}{ending}", bytes.text(PIECES)))
        }
    }
}

fn template(path_template: String) -> PathSpecifier {
    let message = UriTemplateMatchConfig { path_template };
    PathSpecifier::PathMatchPolicy(TypedExtensionConfig {
        name: "template".into(),
        typed_config: Some(Any {
            type_url: UriTemplateMatchConfig::type_url(),
            value: message.encode_to_vec(),
        }),
    })
}

fn lower(message: &proto::RouteConfiguration) -> Option<RouteConfiguration> {
    let (mut found, marks, names) = (Diagnostics::new(), Marks::default(), Names::default());
    route::lower(message, &mut Cx::new(&mut found, &marks, None, &names))
}

/// The input, of which there is always more: zeros.
struct Bytes<'d>(&'d [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[usize::from(self.next()) % from.len()]
    }

    fn text(&mut self, pieces: &[&str]) -> String {
        let count = self.next() % 4;
        (0..count).map(|_| self.pick(pieces)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SplitMix64.
    fn random_bytes(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z ^ (z >> 31)) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn random_tables_are_searched_in_order() {
        for seed in 0..400 {
            route_table(&random_bytes(seed, 700));
        }
    }

    #[test]
    fn random_tables_are_not_trivial() {
        let mut bytes = random_bytes(1, 700);
        bytes[1] = LENGTH_MAX as u8 - 1;
        let routes = routes_of(&mut Bytes(&bytes));
        assert!(routes.virtual_hosts()[0].routes.len() > 20);
    }
}
