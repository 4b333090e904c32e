//! Secrets that files hold (SDS): read at the start, and again whenever another file
//! is moved into place.
//!
//! A secret that is good makes new contexts of all filter chains and clusters that
//! need it, here and before anybody is told; [`SecretManager::changed`] says which,
//! and the control loop publishes them. One that is not leaves everything as it is.
//! Connections keep what they were made with.
//!
//! - `provider.rs`: one secret, its counters and what is watched for it.
//! - `files.rs`: what a secret has in files of its own.
//! - `shown.rs`: the secrets in `/config_dump`.

mod files;
mod provider;
mod shown;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use ringway_config::bootstrap::Snapshot;
use ringway_config::diagnostics::Diagnostics;
use ringway_config::load::Refused;
use ringway_config::names::Names;
use ringway_config::tls::{
    DownstreamTlsContext, KnownSecret, SdsSecret, TransportSocket, UpstreamTlsContext,
};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use self::provider::{Event, Provider};
pub use self::shown::{SecretsView, typed};
use super::file_watcher::FileWatcher;
use crate::listener::SharedListener;
use crate::stats::Store;
use crate::transport_sockets::tls::{ClientContext, ServerContext, SharedContext};
use crate::upstream::cluster::SharedCluster;
use crate::worker::Change;

/// All secrets that files hold, and who needs them.
pub struct SecretManager {
    providers: Vec<Provider>,
    index: HashMap<SdsSecret, usize>,
    contexts: Vec<Context>,
    names: Arc<Names>,
    watcher: Option<FileWatcher>,
    sender: Sender<Event>,
    events: Receiver<Event>,
    view: Arc<SecretsView>,
}

/// A context that needs secrets.
struct Context {
    /// Their numbers.
    needs: Vec<usize>,
    of: Of,
}

enum Of {
    Chain(Arc<DownstreamTlsContext>, Arc<SharedContext<ServerContext>>),
    Cluster(Arc<UpstreamTlsContext>, Arc<SharedContext<ClientContext>>),
}

/// A context that has become another one.
pub enum ContextChange {
    /// That of a filter chain.
    Server(Arc<SharedContext<ServerContext>>, Arc<ServerContext>),
    /// That of a cluster.
    Client(Arc<SharedContext<ClientContext>>, Arc<ClientContext>),
}

impl ContextChange {
    /// What a worker is told.
    #[must_use]
    pub fn for_worker(&self) -> Change {
        match self {
            Self::Server(shared, context) => {
                Change::ServerContext(Arc::clone(shared), Arc::clone(context))
            }
            Self::Client(shared, context) => {
                Change::ClientContext(Arc::clone(shared), Arc::clone(context))
            }
        }
    }

    /// Takes effect for those that begin from now on.
    fn apply(&self) {
        match self {
            Self::Server(shared, context) => shared.set(Arc::clone(context)),
            Self::Client(shared, context) => shared.set(Arc::clone(context)),
        }
    }
}

impl SecretManager {
    /// The secrets that these need, none of which was read yet.
    #[must_use]
    pub fn new(
        snapshot: &Snapshot,
        listeners: &[Arc<SharedListener>],
        clusters: &[Arc<SharedCluster>],
        store: &Store,
    ) -> Self {
        let (sender, events) = channel(EVENTS_MAX);
        let mut manager = Self {
            providers: Vec::new(),
            index: HashMap::new(),
            contexts: Vec::new(),
            names: Arc::clone(&snapshot.names),
            watcher: None,
            sender,
            events,
            view: Arc::default(),
        };
        for cluster in clusters {
            for (id, socket) in cluster.config.sockets() {
                if let (TransportSocket::Tls(config), Some(shared)) =
                    (socket, &cluster.socket(id).tls)
                {
                    let of = Of::Cluster(Arc::clone(config), Arc::clone(shared));
                    manager.add(config.secrets(), of, store);
                }
            }
        }
        for listener in listeners {
            for (config, chain) in listener.config.chains().zip(&listener.chains) {
                if let TransportSocket::Tls(config) = &config.transport_socket
                    && let Some(shared) = chain.as_ref().and_then(|chain| chain.tls.as_ref())
                {
                    let of = Of::Chain(Arc::clone(config), Arc::clone(shared));
                    manager.add(config.secrets(), of, store);
                }
            }
        }
        manager
    }

    fn add<'s>(&mut self, secrets: impl Iterator<Item = &'s SdsSecret>, of: Of, store: &Store) {
        let needs: Vec<usize> = secrets.map(|secret| self.provider(secret, store)).collect();
        if !needs.is_empty() {
            self.contexts.push(Context { needs, of });
        }
    }

    /// The number of a secret.
    fn provider(&mut self, secret: &SdsSecret, store: &Store) -> usize {
        if let Some(place) = self.index.get(secret) {
            return *place;
        }
        let place = self.providers.len();
        self.providers.push(Provider::new(secret, store));
        self.index.insert(secret.clone(), place);
        self.view.add(secret);
        place
    }

    /// What admin shows.
    #[must_use]
    pub fn view(&self) -> Arc<SecretsView> {
        Arc::clone(&self.view)
    }

    /// Reads all secrets and watches them from now on. One that is not good is no
    /// reason not to start, as in Envoy: connections that need it fail.
    ///
    /// # Errors
    /// A file cannot be watched.
    pub fn start(&mut self) -> Result<(), Unwatched> {
        if self.providers.is_empty() {
            return Ok(());
        }
        let unwatched = |secret: &SdsSecret, error| Unwatched {
            secret: Arc::clone(&secret.name),
            error,
        };
        let watcher = FileWatcher::new();
        let watcher = watcher.map_err(|error| unwatched(&self.providers[0].secret, error))?;
        for (place, provider) in self.providers.iter().enumerate() {
            // Before it is read: what is moved meanwhile is read again.
            let followed = provider.follow_source(place, &watcher, &self.sender);
            followed.map_err(|error| unwatched(&provider.secret, error))?;
        }
        let running = watcher.clone();
        tokio::spawn(async {
            if let Err(error) = running.run().await {
                tracing::error!(%error, "files are not watched any more");
            }
        });
        self.watcher = Some(watcher);
        for place in 0..self.providers.len() {
            let _ = self.update(place);
        }
        Ok(())
    }

    /// Waits until contexts have become others. Nothing is lost when this is given
    /// up while it waits.
    pub async fn changed(&mut self) -> Vec<ContextChange> {
        loop {
            // There is always a sender: the manager's own.
            let Some(event) = self.events.recv().await else {
                return std::future::pending().await;
            };
            let changes = match event {
                Event::Source(place) => self.update(place),
                Event::Files(place) => self.reload(place),
            };
            if !changes.is_empty() {
                return changes;
            }
        }
    }

    /// Reads the file of a secret.
    fn update(&mut self, place: usize) -> Vec<ContextChange> {
        let provider = &mut self.providers[place];
        let name = Arc::clone(&provider.secret.name);
        provider.stats.update_attempt.inc();
        let response = match provider.secret.read(&self.names) {
            Ok(response) => response,
            Err(Refused::Text(findings)) => {
                provider.stats.update_failure.inc();
                warn_of(&name, "the secret cannot be read: ", &findings);
                return Vec::new();
            }
            Err(Refused::Content(findings)) => {
                provider.stats.update_rejected.inc();
                warn_of(&name, "the secret is refused: ", &findings);
                return Vec::new();
            }
        };
        warn_of(&name, "", &response.warnings);
        let mut changes = Vec::new();
        if !provider.has_told(&response.secret.message) {
            provider.told = Some(response.secret.clone());
            let followed = match &self.watcher {
                Some(watcher) => provider.follow_files(place, watcher, &self.sender),
                None => Ok(()),
            };
            let content = self.read_files(&response.secret).and_then(|secret| {
                followed.map_err(|unwatched| self.unwatched(&secret, &unwatched))?;
                Ok(secret)
            });
            if let Ok(secret) = &content {
                self.view.set(place, &response.version, secret);
                self.providers[place].content = Some(secret.message.clone());
            }
            match content.and_then(|secret| self.take(place, secret)) {
                Ok(made) => changes = made,
                Err(findings) => {
                    self.providers[place].stats.update_rejected.inc();
                    warn_of(&name, "the secret is refused: ", &findings);
                    return Vec::new();
                }
            }
        }
        self.providers[place].succeeded(&response.version);
        changes
    }

    /// Reads the files that a secret names.
    fn reload(&mut self, place: usize) -> Vec<ContextChange> {
        let provider = &self.providers[place];
        let Some(told) = provider.told.clone() else {
            return Vec::new();
        };
        let taken = self.read_settled_files(&told).and_then(|secret| {
            let message = secret.message.clone();
            if self.providers[place].content.as_ref() == Some(&message) {
                return Ok(Vec::new());
            }
            self.view.set_content(place, &secret);
            let changes = self.take(place, secret)?;
            self.providers[place].content = Some(message);
            Ok(changes)
        });
        match taken {
            Ok(changes) => changes,
            Err(findings) => {
                let provider = &self.providers[place];
                provider.stats.key_rotation_failed.inc();
                let outcome = "the files of the secret are refused, those before stay: ";
                warn_of(&provider.secret.name, outcome, &findings);
                Vec::new()
            }
        }
    }

    fn unwatched(
        &self,
        secret: &KnownSecret,
        (directory, error): &(PathBuf, io::Error),
    ) -> Diagnostics {
        let mut found = Diagnostics::new();
        let reason = format!("{directory:?} cannot be watched: {error}");
        secret.at(&mut found, &self.names, |cx| cx.error(reason));
        found
    }

    fn read_files(&self, told: &KnownSecret) -> Result<KnownSecret, Diagnostics> {
        let mut found = Diagnostics::new();
        let content = told.at(&mut found, &self.names, |cx| {
            files::inlined(&told.message, cx)
        });
        content
            .map(|message| told.with_message(message))
            .ok_or(found)
    }

    /// Reads files until they are the same twice: one may be replaced after the other
    /// was read.
    fn read_settled_files(&self, told: &KnownSecret) -> Result<KnownSecret, Diagnostics> {
        let mut content = self.read_files(told)?;
        for _ in 0..READS_MAX {
            let again = self.read_files(told)?;
            if again.message == content.message {
                break;
            }
            content = again;
        }
        Ok(content)
    }

    /// Makes contexts of a secret, and keeps it if all of them are good.
    fn take(
        &mut self,
        place: usize,
        secret: KnownSecret,
    ) -> Result<Vec<ContextChange>, Diagnostics> {
        let mut found = Diagnostics::new();
        let mut made = Vec::new();
        for context in &self.contexts {
            if context.needs.contains(&place) {
                made.push(self.make(context, place, &secret, &mut found));
            }
        }
        if found.has_errors() || made.iter().any(Option::is_none) {
            return Err(found);
        }
        warn_of(&self.providers[place].secret.name, "", &found);
        for context in &self.contexts {
            if context.needs.contains(&place) {
                let stats = match &context.of {
                    Of::Chain(_, shared) => shared.stats,
                    Of::Cluster(_, shared) => shared.stats,
                };
                stats.ssl_context_update_by_sds.inc();
            }
        }
        self.providers[place].known = Some(secret);
        let changes: Vec<ContextChange> = made.into_iter().flatten().flatten().collect();
        changes.iter().for_each(ContextChange::apply);
        Ok(changes)
    }

    /// The context with `secret` at `place`; `Some(None)` while others are missing.
    fn make(
        &self,
        context: &Context,
        place: usize,
        secret: &KnownSecret,
        found: &mut Diagnostics,
    ) -> Option<Option<ContextChange>> {
        let known = |wanted: &SdsSecret| {
            let at = *self.index.get(wanted)?;
            match at == place {
                true => Some(secret),
                false => self.providers[at].known.as_ref(),
            }
        };
        secret.at(found, &self.names, |cx| match &context.of {
            Of::Chain(config, shared) => {
                let Some(complete) = config.with_secrets(&known, cx)? else {
                    return Some(None);
                };
                let made = Arc::new(ServerContext::compile(&complete, cx)?);
                Some(Some(ContextChange::Server(Arc::clone(shared), made)))
            }
            Of::Cluster(config, shared) => {
                let Some(complete) = config.with_secrets(&known, cx)? else {
                    return Some(None);
                };
                let made = Arc::new(ClientContext::compile(&complete, cx)?);
                Some(Some(ContextChange::Client(Arc::clone(shared), made)))
            }
        })
    }
}

/// Logs findings about a secret, each by itself: whoever reads a log by lines finds the
/// time and the secret on every one.
fn warn_of(secret: &str, outcome: &str, findings: &Diagnostics) {
    for finding in findings.iter() {
        tracing::warn!(secret, "{outcome}{finding}");
    }
}

/// Moves that may wait. Those that find no room are told of as one when there is.
const EVENTS_MAX: usize = 64;

/// How often files that keep changing are read anew: Envoy's limit.
const READS_MAX: usize = 5;

/// The file of a secret cannot be watched.
#[derive(Debug)]
pub struct Unwatched {
    secret: Arc<str>,
    error: io::Error,
}

impl fmt::Display for Unwatched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { secret, error } = self;
        write!(
            f,
            "the file of secret {secret:?} cannot be watched: {error}"
        )
    }
}

impl std::error::Error for Unwatched {}
