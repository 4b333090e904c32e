//! A limit of N lets N in, whatever the number of workers and whichever of them
//! has served the requests before.

use crate::client::Client;
use crate::origin::{Origin, Reply};
use crate::{await_true, on_every_driver, proxy, stat};
use ringway_tests::bootstrap::cluster;

/// More clients than the limit allows, by so many.
const TOO_MANY: usize = 20;

#[test]
fn a_limit_of_requests_is_exact_with_any_number_of_workers() {
    on_every_driver(|program| {
        for workers in [1, 2, 4] {
            for limit in [3, 200] {
                let origin = Origin::start(|_| Reply::Hold);
                let more = format!(
                    "circuit_breakers: {{ thresholds: [ {{ max_requests: {limit}, \
                     max_connections: 9999, max_pending_requests: 9999, \
                     track_remaining: true }} ] }}"
                );
                let clusters = cluster("origin", origin.address.port(), &more);
                let process = proxy(program, &clusters, workers);
                let address = process.listener("main");
                let count = limit + TOO_MANY;
                let mut clients: Vec<_> = (0..count).map(|_| Client::connect(address)).collect();
                let open = "circuit_breakers.default.rq_open";
                let remaining = "circuit_breakers.default.remaining_rq";
                for round in 0..3 {
                    let refused_before = stat(&process, "upstream_rq_active_overflow");
                    // Others of the clients, and so other workers, are refused
                    // in each round.
                    clients.rotate_left(round * limit / 2);
                    for client in &mut clients {
                        client.send("GET", "/");
                    }
                    await_true("all clients are served or refused", || {
                        origin.held() == limit
                            && stat(&process, "upstream_rq_active_overflow") - refused_before
                                == TOO_MANY as u64
                    });
                    assert_eq!((stat(&process, open), stat(&process, remaining)), (1, 0));
                    origin.release();
                    let answers: Vec<_> = clients
                        .iter_mut()
                        .map(|client| client.answer().expect("an answer").status)
                        .collect();
                    let served = answers.iter().filter(|status| **status == 200).count();
                    assert_eq!(served, limit, "{workers} workers, round {round}");
                    await_true("nothing is in flight", || {
                        stat(&process, "upstream_rq_active") == 0
                            && (stat(&process, open), stat(&process, remaining))
                                == (0, limit as u64)
                    });
                    origin.hold();
                }
            }
        }
    });
}
