//! What would happen to a request, and which line of the configuration says so:
//! `GET /explain` and `ringway explain`.
//!
//! [`explain`] takes a request that nobody has sent through the same functions
//! that real ones run through (header rules, route matching, rewrites), writes
//! down what they decided, and looks up where each decision was configured.
//! Nothing is sent and nothing is counted.
//!
//! - `question.rs`: the request that is asked about.
//! - `fact.rs`: what an answer consists of, as text and as JSON.
//! - `document.rs`: the configuration as it was written.
//! - `context.rs`: what everything below looks things up in.
//! - `raw.rs`: what becomes of connections that carry no HTTP.
//! - `request.rs`: the way of the request, of which these are the steps:
//!   - `scope.rs`: which route configuration decides;
//!   - `route.rs`: virtual host, routes, and why the earlier ones did not match;
//!   - `upgrade.rs`: whether it may ask for another protocol;
//!   - `filters.rs`: which filters run, and with whose configuration;
//!   - `action.rs`: what it is answered with, unless it is sent on, and
//!     `local_reply.rs`: what the configuration makes of that;
//!   - `forward.rs`: how it is sent on, with `cluster.rs`, `balancing.rs`,
//!     `provided.rs`, `choice.rs`, `timeouts.rs`, `retries.rs` and `mirrors.rs`.

mod action;
mod balancing;
mod choice;
mod cluster;
mod context;
mod document;
mod fact;
mod filters;
mod forward;
mod local_reply;
mod mirrors;
mod provided;
mod question;
mod raw;
mod request;
mod retries;
mod route;
mod scope;
mod timeouts;
mod upgrade;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use ringway_codecs::http1::Version;
use ringway_config::Names;
use ringway_config::cluster::Cluster;
use ringway_config::clusters::ClusterId;
use ringway_config::core::{Address, Node};
use ringway_config::filter_state::FilterState;
use ringway_config::listener::filter_chain_match::Arrival;
use ringway_config::listener::{FilterChain, Listener, ListenerFilter};
use ringway_config::runtime::{RuntimeLayers, RuntimeValues};

use self::context::Context;
pub use self::document::Document;
pub use self::fact::{Fact, Place};
pub use self::question::{PARAMETERS, Question};
use crate::filters::listener;
use crate::filters::network::Terminal;
use crate::upstream::host_set::HostSet;

/// A listener that a request may arrive at.
pub struct Subject<'a> {
    /// The lowered configuration.
    pub listener: &'a Listener,
    /// The addresses: those that were bound, if any were.
    pub addresses: &'a [Address],
    /// The filters at the ends of its chains, in their order; `None` for chains
    /// without filters.
    pub terminals: Vec<Option<&'a Terminal>>,
}

/// What answers are looked up in.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The configuration as it was written.
    pub document: Document<'a>,
    /// All clusters.
    pub clusters: &'a [Arc<Cluster>],
    /// The hosts of the clusters, as far as they are known: without a running
    /// proxy nobody has looked names up.
    pub hosts: &'a [(ClusterId, Arc<HostSet>)],
    /// Whether a proxy runs, which has checked its hosts.
    pub is_running: bool,
    /// The numbering of clusters and runtime keys.
    pub names: &'a Names,
    /// The current runtime values.
    pub runtime: &'a RuntimeValues,
    /// Where they come from.
    pub runtime_layers: &'a RuntimeLayers,
    /// Who this process is.
    pub node: &'a Node,
    /// What stands for a client at 127.0.0.1.
    pub local_address: Option<IpAddr>,
    /// When the question was asked.
    pub now: (Instant, SystemTime),
}

/// Explains what each listener that is asked for does with the request.
///
/// # Errors
/// There is no such listener.
pub fn explain(
    question: &Question,
    subjects: &[Subject<'_>],
    sources: &Sources<'_>,
) -> Result<Fact, String> {
    let asked: Vec<_> = subjects
        .iter()
        .filter(|subject| question.listener.as_deref().is_none_or(|it| subject.is(it)))
        .map(|subject| of_listener(question, subject, sources))
        .collect();
    if asked.is_empty() {
        let names: Vec<_> = subjects.iter().map(|it| &*it.listener.name).collect();
        return Err(match &question.listener {
            Some(listener) => format!(
                "no listener has the name or port {listener:?}; there are: {}",
                names.join(", ")
            ),
            None => "there are no listeners".into(),
        });
    }
    Ok(Fact::new("request")
        .value(question.to_string())
        .parts(vec![Fact::new("listeners").items(asked)]))
}

impl Subject<'_> {
    fn is(&self, name_or_port: &str) -> bool {
        let port = |address: &Address| match address {
            Address::Socket(address) => Some(address.port()),
            Address::Pipe { .. } => None,
        };
        *self.listener.name == *name_or_port
            || name_or_port
                .parse()
                .is_ok_and(|asked: u16| self.addresses.iter().any(|it| port(it) == Some(asked)))
    }

    /// The chain that the asked connection runs through, the filter at its end,
    /// and why it is this one.
    fn find_chain(
        &self,
        question: &Question,
    ) -> Option<(&FilterChain, Option<&Terminal>, &'static str)> {
        // What nobody looks for is not found.
        let over_tls = question.server_name.is_some() || !question.application_protocols.is_empty();
        let sees = |looks: fn(&str) -> bool| self.listener_filters().any(looks);
        let name = question.server_name.as_deref().unwrap_or_default();
        let version: Box<[u8]> = match question.protocol {
            Version::Http10 => b"http/1.0".as_slice().into(),
            Version::Http11 => b"http/1.1".as_slice().into(),
        };
        let version = [version];
        let (server_name, transport_protocol, application_protocols) = match over_tls {
            true if sees(listener::finds_tls) => (name, "tls", &question.application_protocols[..]),
            false if sees(listener::finds_http) => ("", "raw_buffer", &version[..]),
            _ => ("", "raw_buffer", &[][..]),
        };
        let place = self.listener.find_chain(&Arrival {
            local: self.local(),
            remote: None,
            direct_remote: Some(question.remote),
            server_name,
            transport_protocol,
            application_protocols,
            filter_state: FilterState::EMPTY,
        })?;
        let chain = self.listener.chains().nth(place)?;
        let note = match (
            self.terminals.len(),
            place == self.listener.filter_chains.len(),
        ) {
            (1, _) => "the only one",
            (_, true) => "the default one: no other matches",
            (_, false) => "the one that matches",
        };
        Some((chain, self.terminals[place], note))
    }

    /// The listener filters that look at connections to it, by their messages.
    fn listener_filters(&self) -> impl Iterator<Item = &str> {
        let port = self.local().map(|local| local.port());
        let filters = self.listener.listener_filters.iter();
        let is_disabled = move |filter: &&ListenerFilter| {
            let disabled = filter.disabled.as_ref();
            disabled.is_some_and(|disabled| disabled.matches(port))
        };
        filters
            .filter(move |filter| !is_disabled(filter))
            .map(|filter| filter.extension.message())
    }

    /// What a client calls it that knows no name.
    fn host(&self) -> String {
        let local = self.local();
        local.map_or_else(|| "localhost".into(), |local| local.to_string())
    }

    fn local(&self) -> Option<SocketAddr> {
        self.addresses.iter().find_map(|address| match address {
            Address::Socket(address) => Some(*address),
            Address::Pipe { .. } => None,
        })
    }
}

fn of_listener(question: &Question, subject: &Subject<'_>, sources: &Sources<'_>) -> Fact {
    let listener = subject.listener;
    let addresses: Vec<_> = subject.addresses.iter().map(Address::to_string).collect();
    let fact = Fact::new(&*listener.name)
        .value(addresses.join(", "))
        .place(sources.document.place(&listener.source.path));
    let found = subject.find_chain(question);
    let Some((chain, Some(terminal), note)) = found else {
        return fact.note(match found {
            None => "no filter chain matches: such connections are closed at once",
            Some(_) => "its filter chain has no filters: connections are closed at once",
        });
    };
    let path = chain.filters.last().map_or("", |filter| &filter.path);
    let mut parts = vec![
        Fact::new("filter chain")
            .value(match &*chain.name {
                "" => "(without a name)",
                name => name,
            })
            .place(sources.document.place(&chain.source.path))
            .note(note),
    ];
    let manager = match terminal {
        Terminal::HttpConnectionManager(manager) => manager,
        Terminal::Raw(terminal) => {
            parts.extend(raw::explain(terminal, path, sources));
            return fact.parts(parts);
        }
    };
    parts.push(
        Fact::new("connection manager")
            .value(&*manager.config.stat_prefix)
            .place(sources.place(path)),
    );
    let cx = Context {
        manager,
        manager_path: path,
        all_routes: question.all_routes,
        sources,
    };
    let head = question.head(&subject.host());
    parts.extend(request::explain(question, &head, subject.local(), &cx));
    fact.parts(parts)
}
