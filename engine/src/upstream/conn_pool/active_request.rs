//! A request, or a connection of bytes, as long as a host has it.

use super::Lease;

/// A lease that counts as an active request of its cluster and host.
pub struct ActiveRequest(Option<Lease>);

impl ActiveRequest {
    /// Counts a request that begins on a connection.
    #[must_use]
    pub fn new(lease: Lease) -> Self {
        let (cluster, host) = (lease.cluster(), lease.host());
        cluster.stats.upstream_rq_total.inc();
        cluster.stats.upstream_rq_active.inc();
        host.stats.rq_total.inc();
        host.stats.rq_active.inc();
        Self(Some(lease))
    }

    /// The connection.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        self.0
            .as_ref()
            .expect("the lease is here until the request is finished")
    }

    /// Ends the request and gives the lease out.
    pub fn finish(mut self) -> Lease {
        self.count_end();
        self.0.take().expect("a request is finished once")
    }

    fn count_end(&self) {
        let lease = self.lease();
        lease.cluster().stats.upstream_rq_active.dec();
        lease.host().stats.rq_active.dec();
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        if self.0.is_some() {
            self.count_end();
        }
    }
}
