//! Ending the process: no new connections, requests in flight finished.
//!
//! Envoy exits on SIGTERM at once and cuts requests off. Ringway closes the
//! listeners, lets every connection finish its request, and gives up only
//! after `--drain-time-s`.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::publish::Publisher;
use crate::worker::Change;

/// How often to look whether the last connection is gone.
const POLL: Duration = Duration::from_millis(10);

/// Closes the listeners and waits until no connection is left, or `limit` is
/// over. Returns how many connections were left.
pub async fn drain(publisher: &mut Publisher, limit: Duration) -> u64 {
    let deadline = Instant::now() + limit;
    let changes = |_| {
        vec![
            Change::StopListeners {
                inbound_only: false,
            },
            Change::Drain,
        ]
    };
    let epoch = publisher.publish(changes).await;
    publisher.applied(epoch).await;
    // The workers' counts are fresh from one poll on.
    sleep(2 * POLL).await;
    while publisher.connections() > 0 && Instant::now() < deadline {
        sleep(POLL).await;
    }
    publisher.connections()
}
