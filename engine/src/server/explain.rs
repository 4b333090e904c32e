//! `ringway explain`: an explanation from a file, without a running proxy.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use ringway_config::bootstrap::Snapshot;
use ringway_config::clusters::ClusterId;
use ringway_config::core::Address;
use ringway_config::load::{self, LoadOptions};
use ringway_config::to_json;

use super::compile::{compile, findings};
use super::listen::terminal;
use super::refuse;
use crate::cli::{ExplainOptions, Layout};
use crate::control::cluster_manager::{ClusterManager, Prepared};
use crate::explain::{self, Document, Question, Sources, Subject};
use crate::network::address::local_address;
use crate::stats::Store;
use crate::upstream::host_set::HostSet;

/// Prints what the configuration would do with the request.
///
/// # Errors
/// The request cannot be one, or there is no such listener.
pub fn explain(options: &ExplainOptions) -> anyhow::Result<ExitCode> {
    let parameters = options.parameters();
    let pairs = parameters.iter();
    let pairs = pairs.map(|(name, value)| (name.as_str(), value.as_str()));
    let question = Question::parse(pairs).map_err(anyhow::Error::msg)?;
    let loaded = load::load_files_and_look(
        options.config_path.as_deref(),
        options.config_yaml.as_deref(),
        &LoadOptions::default(),
        &findings,
    );
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(diagnostics) => return Ok(refuse(&diagnostics)),
    };
    let compiled = match compile(&loaded) {
        Ok(compiled) => compiled,
        Err(diagnostics) => return Ok(refuse(&diagnostics)),
    };
    let store = Store::new();
    let ready: Vec<_> = compiled
        .listeners
        .into_iter()
        .map(|listener| {
            let drain_type = listener.config.drain_type;
            let chains = listener.chains.into_iter();
            let terminals = chains
                .map(|chain| Some(terminal(chain?.terminal, drain_type, &store, "listener.")));
            let terminals: Vec<_> = terminals.collect();
            let addresses: Vec<Address> = listener.config.addresses().cloned().collect();
            (listener.config, addresses, terminals)
        })
        .collect();
    let subjects: Vec<_> = ready
        .iter()
        .map(|(listener, addresses, terminals)| Subject {
            listener,
            addresses,
            terminals: terminals.iter().map(Option::as_ref).collect(),
        })
        .collect();
    let bootstrap = to_json(&loaded.message);
    let hosts = configured_hosts(&compiled.snapshot, &store);
    let sources = Sources {
        document: Document {
            bootstrap: &bootstrap,
            marks: &loaded.marks,
        },
        clusters: &compiled.snapshot.clusters,
        hosts: &hosts,
        is_running: false,
        names: &Arc::clone(&compiled.snapshot.names),
        runtime: &compiled
            .snapshot
            .runtime
            .values(&compiled.snapshot.names.runtime_keys),
        runtime_layers: &compiled.snapshot.runtime,
        node: &compiled.snapshot.node,
        local_address: Some(local_address()),
        now: (Instant::now(), SystemTime::now()),
    };
    let fact = explain::explain(&question, &subjects, &sources).map_err(anyhow::Error::msg)?;
    let mut text = String::new();
    match options.format {
        Layout::Json => text = format!("{:#}\n", fact.to_json()),
        Layout::Text => fact.write_text(0, &mut text),
    }
    // A reader that has seen enough is no reason to fail.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

/// The hosts of the clusters that nobody has to look for, as if all of them had
/// passed their health checks.
fn configured_hosts(snapshot: &Snapshot, store: &Store) -> Vec<(ClusterId, Arc<HostSet>)> {
    let mut unchecked = snapshot.clone();
    for cluster in &mut unchecked.clusters {
        if cluster.health_check.is_some() {
            Arc::make_mut(cluster).health_check = None;
        }
    }
    let runtime = snapshot.runtime.values(&snapshot.names.runtime_keys);
    let prepared = Prepared::default();
    let manager = ClusterManager::new(&unchecked, Arc::new(runtime), &prepared, store);
    let known = manager
        .shared()
        .filter(|cluster| !cluster.config.discovery.has_to_look());
    known
        .map(|cluster| (cluster.config.id, cluster.hosts()))
        .collect()
}
