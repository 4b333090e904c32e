//! Asking one name server, as c-ares does.
//!
//! The library's resolver answers some names itself (RFC 6761, RFC 7686). c-ares has
//! fewer of these, so a name that only the library knows is put to the server without
//! its resolver, which is also without its cache.

use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle as _, FirstAnswer as _};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{DnsRequestOptions, Query};
use hickory_resolver::proto::rr::domain::usage;
use hickory_resolver::proto::rr::{Name, Record, RecordType};
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig, TokioResolver};
use std::sync::Arc;

/// A name server.
pub(super) struct NameServer {
    resolver: TokioResolver,
    /// The same server without the resolver's own rules.
    direct: NameServerPool<TokioRuntimeProvider>,
    options: DnsRequestOptions,
}

impl NameServer {
    /// The server of `config`, for names in these domains.
    pub fn new(
        server: NameServerConfig,
        (domain, search): (Option<Name>, Vec<Name>),
        options: &ResolverOpts,
    ) -> Result<Self, NetError> {
        let context = Arc::new(PoolContext::new(options.clone(), TlsConfig::new()?));
        let provider = TokioRuntimeProvider::default;
        let direct = NameServerPool::from_config([server.clone()], context, provider());
        let config = ResolverConfig::from_parts(domain, search, vec![server]);
        let mut builder = TokioResolver::builder_with_config(config, provider());
        *builder.options_mut() = options.clone();
        let mut request = DnsRequestOptions::default();
        request.recursion_desired = options.recursion_desired;
        request.use_edns = options.edns0;
        request.edns_payload_len = options.edns_payload_len;
        Ok(Self {
            resolver: builder.build()?,
            direct,
            options: request,
        })
    }

    /// What it says of a name.
    pub async fn lookup(&self, name: &Name, kind: RecordType) -> Result<Vec<Record>, NetError> {
        if !is_answered_by_the_library(name) {
            let lookup = self.resolver.lookup(name.clone(), kind).await?;
            return Ok(lookup.answers().to_vec());
        }
        let mut name = name.clone();
        name.set_fqdn(true);
        let asked = self.direct.lookup(Query::query(name, kind), self.options);
        let response = DnsError::from_response(asked.first_answer().await?)?;
        Ok(response.answers.clone())
    }
}

/// Whether the resolver asks nobody for a name for which c-ares does. Names below
/// `onion` are unknown to both.
fn is_answered_by_the_library(name: &Name) -> bool {
    let is_below = |zone: &usage::ZoneUsage| zone.zone_of(name);
    is_below(&usage::LOCALHOST)
        || is_below(&usage::INVALID)
        || is_below(&usage::IN_ADDR_ARPA_127)
        || is_below(&usage::IP6_ARPA_1)
        || (is_below(&usage::ONION) && name.num_labels() == 1)
}

/// Whether a name is one of this machine, for which nobody is asked. With a dot at its
/// end it is not, as for c-ares.
pub(super) fn is_of_this_machine(name: &Name) -> bool {
    !name.is_fqdn() && usage::LOCALHOST.zone_of(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_a_name_is() {
        for (name, is_own, is_put_to_the_server) in [
            ("localhost", true, true),
            ("x.LocalHost", true, true),
            ("localhost.", false, true),
            ("x.localhost.", false, true),
            ("xlocalhost", false, false),
            ("localhost.test", false, false),
            ("a.invalid", false, true),
            ("invalid.", false, true),
            ("onion", false, true),
            ("a.onion", false, false),
            ("1.0.0.127.in-addr.arpa", false, true),
            ("1.0.0.128.in-addr.arpa", false, false),
            ("a.local", false, false),
            ("a.test", false, false),
        ] {
            let parsed = Name::from_str_relaxed(name).expect("a name");
            assert_eq!(is_of_this_machine(&parsed), is_own, "{name}");
            assert_eq!(
                is_answered_by_the_library(&parsed),
                is_put_to_the_server,
                "{name}"
            );
        }
    }
}
