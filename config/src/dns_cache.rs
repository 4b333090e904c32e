//! Caches of names that requests ask for
//! (`envoy.extensions.common.dynamic_forward_proxy`): filters and clusters of
//! dynamic forward proxies share the cache whose name they give. Compiled types
//! on top, lowering below.

use std::net::Ipv4Addr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::extensions::common::dynamic_forward_proxy::v3 as pb;

use crate::context::{Cx, Source};
use crate::core;
use crate::dns::{FailureRefresh, LookupFamily, Resolver, failure_refresh, lookup_family};

/// A cache's number: its place among those of [`DnsCaches`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DnsCacheId(pub u32);

/// A compiled cache.
#[derive(Debug)]
pub struct DnsCache {
    /// Its unique name, also that of its statistics.
    pub name: Arc<str>,
    /// Which addresses are asked for.
    pub family: LookupFamily,
    /// Time from a failure to the next question, if `failure_refresh` says
    /// nothing.
    pub refresh: Duration,
    /// The time to live of an answer is never taken for less.
    pub refresh_min: Duration,
    /// As it says, after failures.
    pub failure_refresh: Option<FailureRefresh>,
    /// A name is forgotten, when it is about to be looked up again, if nobody
    /// has asked for it for this time.
    pub host_ttl: Duration,
    /// Names that there may be.
    pub hosts_max: u32,
    /// How long a look-up may take.
    pub query_timeout: Option<Duration>,
    /// Requests that may wait for look-ups.
    pub pending_max: u32,
    /// Names with their ports that are looked up from the start.
    pub preresolved: Box<[Box<str>]>,
    /// Who is asked.
    pub resolver: Resolver,
}

/// All caches of a process, by number.
#[derive(Debug, Default)]
pub struct DnsCaches(RwLock<Vec<Entry>>);

#[derive(Debug)]
struct Entry {
    cache: Arc<DnsCache>,
    proto: pb::DnsCacheConfig,
    /// Where the first that gives its name is.
    source: Source,
}

impl DnsCaches {
    /// The caches, in the order of their numbers.
    pub fn all(&self) -> Vec<Arc<DnsCache>> {
        let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
        entries
            .iter()
            .map(|entry| Arc::clone(&entry.cache))
            .collect()
    }

    /// The cache with a number that this object gave.
    pub fn get(&self, id: DnsCacheId) -> Arc<DnsCache> {
        let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&entries[id.0 as usize].cache)
    }

    /// The number of the cache of this name if it is described in the same way,
    /// or where it is described in another.
    fn find(&self, proto: &pb::DnsCacheConfig) -> Option<Result<DnsCacheId, Source>> {
        let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let place = entries
            .iter()
            .position(|one| one.proto.name == proto.name)?;
        let entry = &entries[place];
        Some(match entry.proto == *proto {
            true => Ok(DnsCacheId(place as u32)),
            false => Err(entry.source.clone()),
        })
    }

    fn add(&self, cache: DnsCache, proto: &pb::DnsCacheConfig, source: Source) -> DnsCacheId {
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        entries.push(Entry {
            cache: Arc::new(cache),
            proto: proto.clone(),
            source,
        });
        DnsCacheId(entries.len() as u32 - 1)
    }
}

/// The cache that a filter or a cluster uses; `None` when there already is one
/// of its name that is another one.
pub fn lower(proto: &pb::DnsCacheConfig, cx: &mut Cx<'_>) -> Option<DnsCacheId> {
    match cx.dns_caches.find(proto) {
        Some(Ok(id)) => return Some(id),
        Some(Err(source)) => {
            cx.error(format!(
                "the DNS cache {:?} has different settings at {source}; whoever uses a cache says \
                 the same of it",
                proto.name
            ));
            return None;
        }
        None => {}
    }
    let cache = lower_new(proto, cx);
    Some(cx.dns_caches.add(cache, proto, cx.source()))
}

fn lower_new(proto: &pb::DnsCacheConfig, cx: &mut Cx<'_>) -> DnsCache {
    let refresh = core::duration(proto.dns_refresh_rate, "dns_refresh_rate", cx);
    let refresh_min = core::duration(proto.dns_min_refresh_rate, "dns_min_refresh_rate", cx);
    let host_ttl = core::duration(proto.host_ttl, "host_ttl", cx);
    let query_timeout = core::duration(proto.dns_query_timeout, "dns_query_timeout", cx);
    let hosts_max = core::u32_or(proto.max_hosts, HOSTS_MAX);
    let limits = proto.dns_cache_circuit_breaker.unwrap_or_default();
    let preresolved: Box<[Box<str>]> = (proto.preresolve_hostnames.iter())
        .map(|host| {
            let port = match host.port_specifier {
                Some(PortSpecifier::PortValue(port)) => port,
                _ => 0,
            };
            format!("{}:{port}", host.address).into()
        })
        .collect();
    if preresolved.len() > hosts_max as usize {
        cx.error_at(
            "preresolve_hostnames",
            format!(
                "are {}, more than the max_hosts of {hosts_max}",
                preresolved.len()
            ),
        );
    }
    let failure = proto.dns_failure_refresh_rate.as_ref();
    DnsCache {
        name: proto.name.as_str().into(),
        family: lookup_family(proto.dns_lookup_family()),
        refresh: refresh.unwrap_or(REFRESH),
        refresh_min: refresh_min.unwrap_or(REFRESH_MIN),
        failure_refresh: failure
            .and_then(|rate| failure_refresh(rate.base_interval, rate.max_interval, cx)),
        host_ttl: host_ttl.unwrap_or(HOST_TTL),
        hosts_max,
        // 0 is no limit.
        query_timeout: Some(query_timeout.unwrap_or(QUERY_TIMEOUT)).filter(|it| !it.is_zero()),
        pending_max: core::u32_or(limits.max_pending_requests, PENDING_MAX),
        preresolved,
        resolver: match &proto.typed_dns_resolver_config {
            Some(config) => Resolver::typed(config, &Resolver::default(), cx),
            None => Resolver::default(),
        },
    }
}

/// Envoy's defaults.
const REFRESH: Duration = Duration::from_secs(60);
const REFRESH_MIN: Duration = Duration::from_secs(5);
const HOST_TTL: Duration = Duration::from_secs(300);
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
const HOSTS_MAX: u32 = 1024;
const PENDING_MAX: u32 = 1024;

/// Appends the key of a host as requests name it: with its port, which is
/// `default_port` for one that names none.
pub fn write_key(host: &[u8], default_port: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(host);
    if !has_port(host) {
        use std::io::Write as _;
        // Writing to a Vec cannot fail.
        let _ = write!(out, ":{default_port}");
    }
}

/// Makes one key of all the ways in which a host and its port can be written: no zeros
/// before the port, and no brackets around an IPv4 address. As in Envoy filters look
/// that up, and clusters what is written.
pub fn normalize_key(key: &mut Vec<u8>) {
    drop_zeros(key, 0);
    if key.first() != Some(&b'[') {
        return;
    }
    let Some(end) = key.iter().rposition(|byte| *byte == b']') else {
        return;
    };
    let host = std::str::from_utf8(&key[1..end]).ok();
    let is_ipv4 = host.is_some_and(|host| host.parse::<Ipv4Addr>().is_ok());
    if is_ipv4 && key.get(end + 1) == Some(&b':') {
        key.remove(end);
        key.remove(0);
    }
}

/// Takes the zeros away that are before the port of a key, which begins at `start`.
pub(crate) fn drop_zeros(key: &mut Vec<u8>, start: usize) {
    let colon = key[start..].iter().rposition(|byte| *byte == b':');
    let Some(port) = colon.map(|colon| start + colon + 1) else {
        return;
    };
    let zeros = key[port..].iter().take_while(|byte| **byte == b'0').count();
    let digits = key.len() - port;
    key.drain(port..port + zeros.min(digits.saturating_sub(1)));
}

/// The name and the port of a key that [`write_key`] has made.
pub fn split_key(key: &str) -> (&str, u16) {
    let (name, port) = key.rsplit_once(':').unwrap_or((key, ""));
    let bare = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    (bare.unwrap_or(name), port.parse().unwrap_or(0))
}

/// Whether a host names a port: `::1` does not.
fn has_port(host: &[u8]) -> bool {
    let Some(colon) = host.iter().rposition(|byte| *byte == b':') else {
        return false;
    };
    let (name, port) = (&host[..colon], &host[colon + 1..]);
    let is_address = name.contains(&b':') && name.last() != Some(&b']');
    let port = std::str::from_utf8(port).ok();
    !is_address && port.is_some_and(|port| !port.starts_with('+') && port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_key() {
        for (host, key) in [
            ("a.test", "a.test:80"),
            ("a.test:0081", "a.test:81"),
            ("a.test:0", "a.test:0"),
            ("a.test:000", "a.test:0"),
            ("A.test:81", "A.test:81"),
            ("[127.0.0.1]", "127.0.0.1:80"),
            ("[127.0.0.1]:0081", "127.0.0.1:81"),
            ("[127.1]:81", "[127.1]:81"),
            ("[a]:81", "[a]:81"),
            ("[::1]", "[::1]:80"),
            ("[::1]:0081", "[::1]:81"),
            ("[127.0.0.1]x:81", "[127.0.0.1]x:81"),
            ("[", "[:80"),
            ("]", "]:80"),
            ("", ":80"),
        ] {
            let mut out = Vec::new();
            write_key(host.as_bytes(), 80, &mut out);
            let written = split_key(&String::from_utf8_lossy(&out)).1;
            normalize_key(&mut out);
            assert_eq!(split_key(&String::from_utf8_lossy(&out)).1, written);
            assert_eq!(String::from_utf8_lossy(&out), key);
        }
    }

    #[test]
    fn every_key_has_a_port() {
        for (host, key, name, port) in [
            ("a.test", "a.test:80", "a.test", 80),
            ("a.test:81", "a.test:81", "a.test", 81),
            ("A.test:81", "A.test:81", "A.test", 81),
            ("a.test:", "a.test::80", "a.test:", 80),
            ("a.test:b", "a.test:b:80", "a.test:b", 80),
            ("a.test:65536", "a.test:65536:80", "a.test:65536", 80),
            ("a.test:+1", "a.test:+1:80", "a.test:+1", 80),
            ("[127.0.0.1]:81", "[127.0.0.1]:81", "127.0.0.1", 81),
            ("127.0.0.1", "127.0.0.1:80", "127.0.0.1", 80),
            ("[::1]", "[::1]:80", "::1", 80),
            ("[::1]:81", "[::1]:81", "::1", 81),
            ("::1", "::1:80", "::1", 80),
            ("", ":80", "", 80),
        ] {
            let made = |host: &str| {
                let mut out = Vec::new();
                write_key(host.as_bytes(), 80, &mut out);
                String::from_utf8(out).expect("a text")
            };
            assert_eq!(made(host), key, "{host}");
            assert_eq!(split_key(key), (name, port), "{host}");
            for end in 0..host.len() {
                // Whatever a prefix is, its key has a port.
                let key = made(&host[..end]);
                assert_ne!(split_key(&key).1, 0, "{key}");
                crate::fuzz::destination(&host.as_bytes()[..end]);
            }
        }
    }
}
