//! What the requests of a pool ask of its hosts' TLS, besides what the cluster does.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::ClientContext;
use crate::transport_sockets::options::Said;

/// What requests have asked for, and what comes of it.
#[derive(Debug, Default)]
pub struct Asked {
    sni: Option<ServerName<'static>>,
    /// The certificate must have one of these names, if there are any.
    subject_alt_names: Box<[Box<str>]>,
    /// The protocols that the host is offered instead of the cluster's, if there are any.
    alpn: Box<[Box<[u8]>]>,
    /// The configuration that knows of that, and the one that it was made of. rustls takes
    /// sessions up again for the same verifier only, so they are those of the same names.
    config: RefCell<Option<Made>>,
}

#[derive(Debug)]
struct Made {
    of: Arc<ClientConfig>,
    own: Arc<ClientConfig>,
}

impl Asked {
    /// What requests ask for. What is no name of DNS is not sent.
    #[must_use]
    pub fn new(wanted: Said) -> Self {
        let sni = wanted.sni.map(String::from);
        Self {
            sni: sni
                .and_then(|name| ServerName::try_from(name).ok())
                .filter(|name| matches!(name, ServerName::DnsName(_))),
            subject_alt_names: wanted.subject_alt_names,
            alpn: wanted.alpn,
            config: RefCell::default(),
        }
    }

    pub(super) fn sni(&self) -> Option<&ServerName<'static>> {
        self.sni.as_ref()
    }

    /// The configuration for connections of a context.
    pub(super) fn config(&self, context: &ClientContext) -> Arc<ClientConfig> {
        if self.subject_alt_names.is_empty() && self.alpn.is_empty() {
            return Arc::clone(&context.config);
        }
        let mut made = self.config.borrow_mut();
        let is_current = |made: &&mut Made| Arc::ptr_eq(&made.of, &context.config);
        if let Some(made) = made.as_mut().filter(is_current) {
            return Arc::clone(&made.own);
        }
        let own = context.config_for(&self.subject_alt_names, &self.alpn);
        *made = Some(Made {
            of: Arc::clone(&context.config),
            own: Arc::clone(&own),
        });
        own
    }
}
