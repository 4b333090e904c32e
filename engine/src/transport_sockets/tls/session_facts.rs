//! What statistics tell of a session with a host that is taken up again. BoringSSL keeps
//! that in the session; rustls's has no place for it.

use std::collections::HashMap;

use rustls::pki_types::ServerName;
use rustls::{NamedGroup, SignatureScheme};

use super::handshake::Agreed;
use crate::worker::shared::Locked;

/// Facts of the sessions of a cluster, by the names that they are kept by. Asked once a
/// handshake.
#[derive(Debug, Default)]
pub(super) struct SessionFacts(Locked<HashMap<ServerName<'static>, Facts>>);

#[derive(Clone, Copy, Debug)]
struct Facts {
    signature: Option<SignatureScheme>,
    group: Option<NamedGroup>,
}

/// Names that are kept: requests may ask for any. Sessions with hosts beyond are not
/// told of when they are taken up again.
const NAMES_MAX: usize = 1024;

impl SessionFacts {
    /// Keeps what a new session has agreed on, or adds it to one that was taken up.
    pub(super) fn complete(&self, name: &ServerName<'static>, agreed: &mut Agreed) {
        self.0.with(|known| {
            if agreed.resumed {
                if let Some(facts) = known.get(name) {
                    agreed.signature = agreed.signature.or(facts.signature);
                    agreed.group = agreed.group.or(facts.group);
                }
            } else if known.len() < NAMES_MAX || known.contains_key(name) {
                let facts = Facts {
                    signature: agreed.signature,
                    group: agreed.group,
                };
                known.insert(name.clone(), facts);
            }
        });
    }
}
