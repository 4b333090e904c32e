//! What the requests of a pool ask of its hosts' TLS, besides what the cluster does.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::ClientContext;
use crate::transport_sockets::options::TransportSocketOptions;

/// A name that requests have asked for, and what comes of it.
#[derive(Debug, Default)]
pub struct Asked {
    sni: Option<ServerName<'static>>,
    subject_alt_name: Option<Box<str>>,
    /// The configuration with the verifier that knows the name, and the one that it
    /// was made of. rustls takes sessions up again for the same verifier only, so
    /// they are those of the same name.
    config: RefCell<Option<Made>>,
}

#[derive(Debug)]
struct Made {
    of: Arc<ClientConfig>,
    own: Arc<ClientConfig>,
}

impl Asked {
    /// What `options` ask for. What is no name of DNS is not sent.
    #[must_use]
    pub fn new(options: &TransportSocketOptions) -> Self {
        let sni = options.sni().map(str::to_owned);
        Self {
            sni: sni
                .and_then(|name| ServerName::try_from(name).ok())
                .filter(|name| matches!(name, ServerName::DnsName(_))),
            subject_alt_name: options.subject_alt_name().map(Box::from),
            config: RefCell::default(),
        }
    }

    pub(super) fn sni(&self) -> Option<&ServerName<'static>> {
        self.sni.as_ref()
    }

    /// The configuration for connections of a context.
    pub(super) fn config(&self, context: &ClientContext) -> Arc<ClientConfig> {
        let Some(name) = &self.subject_alt_name else {
            return Arc::clone(&context.config);
        };
        let mut made = self.config.borrow_mut();
        let is_current = |made: &&mut Made| Arc::ptr_eq(&made.of, &context.config);
        if let Some(made) = made.as_mut().filter(is_current) {
            return Arc::clone(&made.own);
        }
        let own = context.config_for(name);
        *made = Some(Made {
            of: Arc::clone(&context.config),
            own: Arc::clone(&own),
        });
        own
    }
}
