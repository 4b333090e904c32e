//! The control plane: everything that is not on the path of a request.
//!
//! It runs on the main thread, on tokio. [`publish`] carries configurations
//! and commands to the workers; [`discovery`] finds hosts, which
//! [`cluster_manager`] publishes; [`secret_manager`] reads
//! secrets again; [`drain`] ends the process without cutting
//! requests off.

pub mod cluster_list;
pub mod cluster_manager;
pub mod discovery;
pub mod drain;
mod file_watcher;
mod health_checkers;
mod load_weights;
mod managed_cluster;
mod on_demand;
pub mod outlier_detection;
mod pending_removal;
pub mod publish;
pub mod secret_manager;
mod sub_clusters;
mod zones;
