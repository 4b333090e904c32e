//! The bytes that count as buffered: what the last receive of each open
//! connection has brought, on either side.

use crate::client::Client;
use crate::origin::{Origin, Reply};
use crate::{await_true, on_all_programs, proxy};
use ringway_tests::bootstrap::cluster;

#[test]
fn what_was_received_last_counts_as_buffered_until_the_end() {
    on_all_programs(
        "what_was_received_last_counts_as_buffered_until_the_end",
        |program| {
            let origin = Origin::start(|asked| match asked.line.contains("/close") {
                true => Reply::Close,
                false => Reply::Ok,
            });
            let cluster = cluster("origin", origin.address.port(), "");
            let process = proxy(program, &cluster, 1);
            let stat = |name: &str| process.admin().stat(name);
            let received = || stat("cluster.origin.upstream_cx_rx_bytes_total");
            let await_buffered = |of: &str, bytes: u64| {
                await_true(&format!("{bytes} bytes of {of}"), || {
                    stat(&format!("{of}_cx_rx_bytes_buffered")) == bytes
                });
            };
            let mut client = Client::connect(process.listener("main"));
            for path in ["/", "/a-longer-path", "/"] {
                let before = (received(), stat("http.main.downstream_cx_rx_bytes_total"));
                assert_eq!(client.get(path).expect("an answer").status, 200);
                await_true("the bytes are counted", || received() > before.0);
                let answer = received() - before.0;
                await_buffered("cluster.origin.upstream", answer);
                let request = stat("http.main.downstream_cx_rx_bytes_total") - before.1;
                await_buffered("http.main.downstream", request);
            }
            assert_eq!(client.get("/close").expect("an answer").status, 503);
            await_buffered("cluster.origin.upstream", 0);
            drop(client);
            await_buffered("http.main.downstream", 0);
        },
    );
}
