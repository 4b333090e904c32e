//! Asking name servers.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::Hosts;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ProtocolConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use ringway_config::dns::{LookupFamily, Resolver as Config};
use tokio::sync::Semaphore;

use super::interfaces;
use super::name_servers::{NameServer, is_of_this_machine};

/// What is known of a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its addresses, each once, in the order in which they came. None when
    /// the name does not exist or has none.
    pub addresses: Vec<IpAddr>,
    /// The shortest of their times to live; `None` where they have none.
    pub ttl: Option<Duration>,
    /// Why there are no addresses, in the words of response-code details, where
    /// there are none.
    pub absence: &'static str,
}

/// Nobody could tell: no answer, a refusal, a name that is none.
#[derive(Debug)]
pub struct Unknown {
    text: String,
    /// The same in the words of response-code details, which are c-ares'.
    pub reason: &'static str,
}

impl Unknown {
    /// What is asked for is no name.
    pub(super) const BAD_NAME: &'static str = "cares_failure:Misformatted domain name";
    const NO_SERVER: &'static str = "cares_failure:Could not contact DNS servers";

    /// The answer had no address where one is needed.
    pub(super) fn no_addresses() -> Self {
        Self {
            text: "the name has no address".to_owned(),
            reason: NO_DATA,
        }
    }

    fn of(error: &NetError) -> Self {
        let code = match error {
            NetError::Dns(DnsError::ResponseCode(code)) => Some(*code),
            NetError::Dns(DnsError::NoRecordsFound(none)) => Some(none.response_code),
            _ => None,
        };
        Self {
            reason: match (code, error) {
                (Some(ResponseCode::NXDomain), _) => NOT_FOUND,
                (Some(ResponseCode::NoError), _) => NO_DATA,
                (Some(ResponseCode::FormErr), _) => {
                    "cares_failure:DNS server claims query was misformatted"
                }
                (Some(ResponseCode::NotImp), _) => {
                    "cares_failure:DNS server does not implement requested operation"
                }
                (Some(ResponseCode::Refused), _) => "cares_failure:DNS server refused query",
                (Some(_), _) => "cares_failure:DNS server returned general failure",
                (None, NetError::Timeout) => "cares_failure:Timeout while contacting DNS servers",
                (None, NetError::Io(_) | NetError::NoConnections) => Self::NO_SERVER,
                (None, _) => "cares_failure:Misformatted DNS reply",
            },
            text: error.to_string(),
        }
    }
}

const NOT_FOUND: &str = "cares_norecords:Domain name not found";
const NO_DATA: &str = "cares_norecords:DNS server returned answer with no data";

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A resolver as a cluster configures it.
pub struct Resolver {
    /// One for each name server. As with c-ares, the next one is asked when
    /// one does not know; hickory's own pool would ask them at once, or spend
    /// all the time on a dead one.
    servers: Vec<NameServer>,
    /// The system's hosts file, which is looked into for names as they are written: one
    /// with a dot at its end is not in it.
    hosts: Hosts,
    tries: u32,
    rotate: bool,
    absence_is_failure: bool,
    fixed_ttl: Option<Duration>,
    routable_only: bool,
    questions: Semaphore,
}

impl Resolver {
    /// Reads the system's resolver files, and nothing after that.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let (system, options) = read_system_conf().unwrap_or_else(|error| {
            tracing::debug!(%error, "the system's resolver files name nobody to ask");
            (ResolverConfig::default(), ResolverOpts::default())
        });
        let options = options_of(config, options);
        let (domain, search) = match config.search {
            true => (system.domain().cloned(), system.search().to_vec()),
            false => (None, Vec::new()),
        };
        let servers = servers_of(config, system.name_servers());
        let servers = servers.into_iter().filter_map(|server| {
            let built = NameServer::new(server, (domain.clone(), search.clone()), &options);
            built
                .inspect_err(|error| tracing::warn!(%error, "a name server cannot be used"))
                .ok()
        });
        Self {
            servers: servers.collect(),
            hosts: Hosts::from_system().unwrap_or_else(|error| {
                tracing::debug!(%error, "there is no hosts file to look into");
                Hosts::default()
            }),
            tries: config.tries,
            rotate: config.rotate,
            absence_is_failure: config.absence_is_failure,
            fixed_ttl: config.fixed_ttl,
            routable_only: config.routable_only,
            questions: Semaphore::new(QUESTIONS_MAX),
        }
    }

    /// The addresses of `name`; at once if it is an address itself.
    ///
    /// # Errors
    /// When nobody could tell whether there are any.
    pub async fn resolve(&self, name: &str, family: LookupFamily) -> Result<Answer, Unknown> {
        if let Ok(address) = name.parse() {
            return Ok(literal(address, family));
        }
        let name = Name::from_str_relaxed(name).map_err(|error| Unknown {
            text: error.to_string(),
            reason: Unknown::BAD_NAME,
        })?;
        let v4 = || self.ask(&name, RecordType::A);
        let v6 = || self.ask(&name, RecordType::AAAA);
        // As in Envoy, a family that leads nowhere is no failure where both are asked
        // for at once.
        let all = async |kind| match self.leads_somewhere(kind) {
            true => self.ask(&name, kind).await,
            false => Ok(Answer {
                absence: NO_DATA,
                ..Answer::default()
            }),
        };
        match family {
            LookupFamily::V4Only => v4().await,
            LookupFamily::V6Only => v6().await,
            LookupFamily::Auto => or_else(v6().await, v4).await,
            LookupFamily::V4Preferred => or_else(v4().await, v6).await,
            LookupFamily::All => match tokio::join!(all(RecordType::A), all(RecordType::AAAA)) {
                // c-ares has them in this order where nobody had to be asked.
                (Ok(first), Ok(second)) if self.is_of_this_machine(&name) => Ok(second.and(first)),
                (Ok(first), Ok(second)) => Ok(first.and(second)),
                (Ok(answer), Err(_)) | (Err(_), Ok(answer)) if !answer.addresses.is_empty() => {
                    Ok(answer)
                }
                (Err(unknown), _) | (_, Err(unknown)) => Err(unknown),
            },
        }
    }

    /// Asks one server after the other, and all of them as often as is
    /// configured.
    async fn ask(&self, name: &Name, kind: RecordType) -> Result<Answer, Unknown> {
        if !self.leads_somewhere(kind) {
            return Err(Unknown {
                text: "no interface has an address of the family".to_owned(),
                reason: NO_DATA,
            });
        }
        if let Some(known) = self.in_hosts_file(name, kind) {
            return Ok(self.answer(&known));
        }
        if is_of_this_machine(name) {
            return Ok(this_machine(kind));
        }
        // The semaphore is never closed.
        let _permit = self.questions.acquire().await;
        let first = match self.rotate {
            true if !self.servers.is_empty() => fastrand::usize(..self.servers.len()),
            _ => 0,
        };
        let mut last = Unknown {
            text: "there is no name server to ask".to_owned(),
            reason: Unknown::NO_SERVER,
        };
        for _ in 0..self.tries {
            let (before, from) = self.servers.split_at(first);
            for server in from.iter().chain(before) {
                match server.lookup(name, kind).await {
                    Ok(records) => return Ok(self.answer(&records)),
                    Err(error) if says_there_is_none(&error) => {
                        let unknown = Unknown::of(&error);
                        return match self.absence_is_failure {
                            true => Err(unknown),
                            false => Ok(Answer {
                                absence: unknown.reason,
                                ..Answer::default()
                            }),
                        };
                    }
                    Err(error) => last = Unknown::of(&error),
                }
            }
        }
        Err(last)
    }

    fn in_hosts_file(&self, name: &Name, kind: RecordType) -> Option<Vec<Record>> {
        if name.is_fqdn() {
            return None;
        }
        let query = Query::query(name.clone(), kind);
        let found = self.hosts.lookup_static_host(&query)?;
        Some(found.answers().to_vec())
    }

    /// Whether a name is one of this machine without the hosts file.
    fn is_of_this_machine(&self, name: &Name) -> bool {
        is_of_this_machine(name) && self.in_hosts_file(name, RecordType::A).is_none()
    }

    /// Whether what such records say can be reached from here, where that matters.
    fn leads_somewhere(&self, kind: RecordType) -> bool {
        !self.routable_only
            || match kind {
                RecordType::AAAA => interfaces::has_ipv6(),
                _ => interfaces::has_ipv4(),
            }
    }

    fn answer(&self, records: &[Record]) -> Answer {
        let records = records.iter().filter_map(|record| match &record.data {
            RData::A(address) => Some((IpAddr::V4(address.0), record.ttl)),
            RData::AAAA(address) => Some((IpAddr::V6(address.0), record.ttl)),
            _ => None,
        });
        let mut answer = Answer {
            absence: NO_DATA,
            ..Answer::default()
        };
        let mut seen = HashSet::new();
        for (address, ttl) in records {
            let ttl = Duration::from_secs(u64::from(ttl));
            answer.ttl = Some(answer.ttl.map_or(ttl, |shortest| shortest.min(ttl)));
            if seen.insert(address) {
                answer.addresses.push(address);
            }
        }
        answer.ttl = answer.ttl.map(|ttl| self.fixed_ttl.unwrap_or(ttl));
        answer
    }
}

impl Answer {
    fn and(mut self, other: Answer) -> Answer {
        self.addresses.extend(other.addresses);
        self.ttl = [self.ttl, other.ttl].into_iter().flatten().min();
        self
    }
}

/// The second family where the first has no addresses. That there is none of
/// the second says nothing while nobody could tell about the first: Envoy
/// would drop the hosts then.
async fn or_else(
    first: Result<Answer, Unknown>,
    second: impl AsyncFnOnce() -> Result<Answer, Unknown>,
) -> Result<Answer, Unknown> {
    match first {
        Ok(answer) if !answer.addresses.is_empty() => Ok(answer),
        Ok(_) => second().await,
        Err(unknown) => match second().await? {
            answer if answer.addresses.is_empty() => Err(unknown),
            answer => Ok(answer),
        },
    }
}

/// An address of the wrong family is none, but for c-ares one of IPv4 belongs to both.
fn literal(address: IpAddr, family: LookupFamily) -> Answer {
    let fits = match family {
        LookupFamily::V4Only => address.is_ipv4(),
        LookupFamily::V6Only
        | LookupFamily::Auto
        | LookupFamily::V4Preferred
        | LookupFamily::All => true,
    };
    Answer {
        addresses: fits.then_some(address).into_iter().collect(),
        ttl: None,
        absence: NO_DATA,
    }
}

/// Where names of this machine are.
fn this_machine(kind: RecordType) -> Answer {
    let address = match kind {
        RecordType::AAAA => Ipv6Addr::LOCALHOST.into(),
        _ => Ipv4Addr::LOCALHOST.into(),
    };
    Answer {
        addresses: vec![address],
        ..Answer::default()
    }
}

/// That a name does not exist or has no address is an answer too.
fn says_there_is_none(error: &NetError) -> bool {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => matches!(
            none.response_code,
            ResponseCode::NoError | ResponseCode::NXDomain
        ),
        _ => false,
    }
}

fn options_of(config: &Config, system: ResolverOpts) -> ResolverOpts {
    let mut options = system;
    options.timeout = config.query_timeout;
    options.attempts = 0;
    options.edns0 = true;
    options.edns_payload_len = config.udp_payload_max;
    options.num_concurrent_reqs = 1;
    options.use_hosts_file = ResolveHosts::Never;
    options.max_active_requests = QUESTIONS_MAX;
    options.cache_size = config.cache.map_or(0, |cache| cache.entries_max.into());
    options.positive_max_ttl = config.cache.and_then(|cache| cache.ttl_max);
    options.negative_max_ttl = options.positive_max_ttl;
    options
}

fn servers_of(config: &Config, system: &[NameServerConfig]) -> Vec<NameServerConfig> {
    let system = || {
        system
            .iter()
            .map(|server| SocketAddr::new(server.ip, DNS_PORT))
    };
    let mut servers: Vec<_> = config.servers.to_vec();
    if servers.is_empty() || config.is_fallback {
        let mut found: Vec<_> = system().collect();
        if found.is_empty() {
            found = servers;
        }
        servers = found;
    }
    if servers.is_empty() {
        // What every resolver does where nobody has said anything.
        servers.push((Ipv4Addr::LOCALHOST, DNS_PORT).into());
    }
    let connection = |protocol, port| {
        let mut connection = ConnectionConfig::new(protocol);
        connection.port = port;
        connection
    };
    let server = |address: SocketAddr| {
        let mut connections = vec![connection(ProtocolConfig::Tcp, address.port())];
        if !config.use_tcp {
            connections.insert(0, connection(ProtocolConfig::Udp, address.port()));
        }
        NameServerConfig::new(address.ip(), true, connections)
    };
    servers.into_iter().map(server).collect()
}

const DNS_PORT: u16 = 53;
/// Questions that are out at once; each has a socket of its own.
const QUESTIONS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_need_no_server() {
        let resolver = Resolver::new(&Config::default());
        for (name, family, expected) in [
            ("127.0.0.1", LookupFamily::Auto, 1),
            ("127.0.0.1", LookupFamily::V4Only, 1),
            ("127.0.0.1", LookupFamily::V6Only, 1),
            ("127.0.0.1", LookupFamily::All, 1),
            ("::1", LookupFamily::V4Only, 0),
            ("::1", LookupFamily::V4Preferred, 1),
            ("::1", LookupFamily::V6Only, 1),
        ] {
            let answer = resolver.resolve(name, family).await.expect("an answer");
            assert_eq!(answer.addresses.len(), expected, "{name} {family:?}");
            assert_eq!(answer.ttl, None);
        }
    }

    #[tokio::test]
    async fn names_of_this_machine_need_no_server() {
        let resolver = Resolver {
            servers: Vec::new(),
            hosts: Hosts::default(),
            ..Resolver::new(&Config::default())
        };
        let (v4, v6) = ("127.0.0.1", "::1");
        for (name, family, expected) in [
            ("x.localhost", LookupFamily::V4Only, &[v4][..]),
            ("Y.X.LocalHost", LookupFamily::V4Preferred, &[v4]),
            ("x.localhost", LookupFamily::V6Only, &[v6]),
            ("localhost", LookupFamily::Auto, &[v6]),
            ("x.localhost", LookupFamily::All, &[v6, v4]),
            ("x.localhost.", LookupFamily::All, &[]),
            ("localhost.", LookupFamily::V4Only, &[]),
        ] {
            let answer = resolver.resolve(name, family).await;
            let found = answer.map(|answer| answer.addresses).unwrap_or_default();
            let found: Vec<_> = found.iter().map(IpAddr::to_string).collect();
            assert_eq!(found, expected, "{name} {family:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_name_is_unknown() {
        let resolver = Resolver::new(&Config::default());
        for name in ["a..b", &"x".repeat(64), &"abc.".repeat(64)] {
            let answer = resolver.resolve(name, LookupFamily::Auto).await;
            assert!(answer.is_err(), "{name}: {answer:?}");
        }
    }

    #[tokio::test]
    async fn the_hosts_file_knows_names_as_they_are_written() {
        // Nobody answers there.
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let mut resolver = Resolver::new(&Config {
            servers: [nobody].into(),
            tries: 1,
            query_timeout: Duration::from_millis(100),
            ..Config::default()
        });
        let mut hosts = Hosts::default();
        let read = hosts.read_hosts_conf(&b"127.0.0.9 known.test\n"[..]);
        read.expect("it is a hosts file");
        resolver.hosts = hosts;
        for (name, is_known) in [
            ("known.test", true),
            ("KNOWN.test", true),
            ("known.test.", false),
            ("other.test", false),
        ] {
            let answer = resolver.resolve(name, LookupFamily::V4Only).await;
            let addresses = answer.map(|answer| answer.addresses).unwrap_or_default();
            let known: Option<IpAddr> = is_known.then(|| [127, 0, 0, 9].into());
            assert_eq!(addresses, Vec::from_iter(known), "{name}");
        }
    }

    #[test]
    fn servers_are_the_configured_ones_or_the_systems() {
        let ip = |last| IpAddr::from(Ipv4Addr::new(10, 0, 0, last));
        let system = [NameServerConfig::udp_and_tcp(ip(1))];
        let config = |servers: &[SocketAddr], is_fallback, use_tcp| Config {
            servers: servers.into(),
            is_fallback,
            use_tcp,
            ..Config::default()
        };
        let own = SocketAddr::new(ip(2), 5353);
        for (config, system, expected) in [
            (config(&[], false, false), &system[..], "10.0.0.1:53/2"),
            (config(&[own], false, false), &system[..], "10.0.0.2:5353/2"),
            (config(&[own], true, false), &system[..], "10.0.0.1:53/2"),
            (config(&[own], true, true), &[][..], "10.0.0.2:5353/1"),
            (config(&[], false, false), &[][..], "127.0.0.1:53/2"),
        ] {
            let servers = servers_of(&config, system);
            let shown: Vec<_> = servers
                .iter()
                .map(|server| {
                    let port = server.connections[0].port;
                    format!("{}:{port}/{}", server.ip, server.connections.len())
                })
                .collect();
            assert_eq!(shown, [expected]);
        }
    }
}
