//! The runtime of the process: its layers, what `/runtime_modify` did to them,
//! and the values that workers are told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringway_config::names::Names;
use ringway_config::runtime::{BadValue, RuntimeLayers, RuntimeValues};

use crate::stats::Store;
use crate::stats::server::RuntimeStats;

/// The layers and their current values. Main and admin thread share it; neither
/// holds its lock for longer than a change takes.
pub struct Runtime {
    state: Mutex<State>,
    names: Arc<Names>,
    stats: RuntimeStats,
    store: Store,
}

struct State {
    layers: RuntimeLayers,
    values: Arc<RuntimeValues>,
}

impl Runtime {
    /// The runtime as the file has it.
    pub fn new(layers: RuntimeLayers, names: Arc<Names>, store: &Store) -> Self {
        let values = Arc::new(layers.values(&names.runtime_keys));
        let runtime = Self {
            state: Mutex::new(State { layers, values }),
            names,
            stats: RuntimeStats::new(store, "runtime."),
            store: store.clone(),
        };
        // Envoy loads twice: before its clusters and after them.
        for _ in 0..2 {
            runtime.count_load(&runtime.state());
        }
        runtime
    }

    /// The layers as they are now.
    pub fn layers(&self) -> RuntimeLayers {
        self.state().layers.clone()
    }

    /// The values as they are now.
    pub fn values(&self) -> Arc<RuntimeValues> {
        Arc::clone(&self.state().values)
    }

    /// Changes the admin layer; the new values are for the workers.
    ///
    /// # Errors
    /// See [`RuntimeLayers::modify`].
    pub fn modify(&self, changes: &[(String, String)]) -> Result<Arc<RuntimeValues>, BadValue> {
        let mut state = self.state();
        state.layers.modify(changes)?;
        state.values = Arc::new(state.layers.values(&self.names.runtime_keys));
        self.count_load(&state);
        Ok(Arc::clone(&state.values))
    }

    fn count_load(&self, state: &State) {
        self.stats.load_success.inc();
        self.stats.override_dir_not_exists.inc();
        let set = |gauge, value| self.store.set(gauge, value);
        set(
            self.stats.admin_overrides_active,
            u64::from(state.layers.is_overridden()),
        );
        set(self.stats.num_keys, state.layers.entries().len() as u64);
        set(self.stats.num_layers, state.layers.layers().len() as u64);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A change is complete or has not begun, whoever panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
