//! Connections that are opened to the hosts which the next requests get
//! (`preconnect_policy.predictive_preconnect_ratio`): as many as Envoy opens,
//! to the same hosts.

use crate::client::Client;
use crate::http2::Host;
use crate::origin::{Origin, Reply};
use crate::{await_true, on_all_programs, on_every_driver, proxy, stat};
use ringway_tests::comparison::as_in_envoy;
use ringway_tests::process::{Process, Program};

/// A proxy before so many hosts that hold every request.
struct Held {
    origins: Vec<Origin>,
    process: Process,
    clients: Vec<Client>,
}

impl Held {
    /// `weight` is that of a host by its place, `more` are fields of the
    /// cluster.
    fn start(program: &Program, hosts: usize, weight: fn(usize) -> usize, more: &str) -> Self {
        Self::start_with(program, (hosts, 1), weight, more)
    }

    fn start_with(
        program: &Program,
        (hosts, workers): (usize, u32),
        weight: fn(usize) -> usize,
        more: &str,
    ) -> Self {
        let origins: Vec<_> = (0..hosts).map(|_| Origin::start(|_| Reply::Hold)).collect();
        let endpoints: Vec<_> = (origins.iter().enumerate())
            .map(|(place, origin)| {
                format!(
                    "{{ load_balancing_weight: {}, endpoint: {{ address: {{ socket_address: {{ \
                     address: 127.0.0.1, port_value: {} }} }} }} }}",
                    weight(place),
                    origin.address.port()
                )
            })
            .collect();
        let text = format!(
            "- {{ name: origin, type: STATIC, {more}, load_assignment: {{ cluster_name: origin, \
             endpoints: [ {{ lb_endpoints: [ {} ] }} ] }} }}\n",
            endpoints.join(", ")
        );
        Self {
            origins,
            process: proxy(program, &text, workers),
            clients: Vec::new(),
        }
    }

    fn send(&mut self) {
        let mut client = Client::connect(self.process.listener("main"));
        client.send("GET", "/");
        self.clients.push(client);
    }

    /// Sends a request, and waits until a host holds it.
    fn send_and_hold(&mut self) {
        self.send();
        await_true("the request is held", || {
            let held = self.origins.iter().map(Origin::held);
            held.sum::<usize>() == self.clients.len()
        });
    }

    /// Waits until the hosts have accepted as many connections as were opened,
    /// and says how many those are.
    fn connections(&self) -> usize {
        let total = || stat(&self.process, "upstream_cx_total") as usize;
        await_true("the connections are there", || {
            let accepted = self.origins.iter().map(Origin::connections);
            accepted.sum::<usize>() == total()
        });
        total()
    }

    /// The host that holds the only request.
    fn first(&self) -> usize {
        let first = self.origins.iter().position(|origin| origin.held() > 0);
        first.expect("a host holds it")
    }
}

#[test]
fn connections_are_there_for_the_next_requests() {
    let test = "connections_are_there_for_the_next_requests";
    on_all_programs(test, |program| {
        let predictive =
            |ratio: f64| format!("preconnect_policy: {{ predictive_preconnect_ratio: {ratio} }}");
        let both = "preconnect_policy: { predictive_preconnect_ratio: 2, \
                    per_upstream_preconnect_ratio: 1.5 }";
        // Connections after each request, and at the end by host: the one of
        // the first request, the one whose turn is next, and so on.
        for (hosts, more, totals, by_host) in [
            (1, predictive(2.0), [1, 2, 3, 4, 5], vec![5]),
            (2, predictive(1.5), [2, 3, 4, 5, 6], vec![3, 3]),
            (3, predictive(1.0), [1, 2, 3, 4, 5], vec![2, 2, 1]),
            (3, predictive(1.5), [3, 3, 5, 6, 8], vec![3, 3, 2]),
            (3, predictive(2.0), [3, 4, 6, 7, 8], vec![3, 3, 2]),
            (5, predictive(3.0), [4, 6, 8, 9, 10], vec![2, 2, 2, 2, 2]),
            (3, both.to_owned(), [4, 5, 7, 8, 10], vec![4, 3, 3]),
        ] {
            let mut held = Held::start(program, hosts, |_| 1, &more);
            let mut first = 0;
            for total in totals {
                held.send_and_hold();
                if held.clients.len() == 1 {
                    first = held.first();
                }
                assert_eq!(held.connections(), total, "{hosts} hosts, {more}");
            }
            let mut found: Vec<_> = held.origins.iter().map(Origin::connections).collect();
            found.rotate_left(first);
            assert_eq!(found, by_host, "{hosts} hosts, {more}");
        }
    });
}

#[test]
fn nothing_is_predicted_where_the_next_host_is_not_known() {
    let test = "nothing_is_predicted_where_the_next_host_is_not_known";
    on_all_programs(test, |program| {
        let ratio = "preconnect_policy: { predictive_preconnect_ratio: 2 }";
        for policy in ["LEAST_REQUEST", "RING_HASH", "MAGLEV"] {
            let more = format!("lb_policy: {policy}, {ratio}");
            let mut held = Held::start(program, 3, |_| 1, &more);
            for total in 1..=4 {
                held.send_and_hold();
                assert_eq!(held.connections(), total, "{policy}");
            }
        }
        let subsets = format!(
            "lb_subset_config: {{ fallback_policy: ANY_ENDPOINT, subset_selectors: [ {{ keys: [ a \
             ] }} ] }}, {ratio}"
        );
        let mut held = Held::start(program, 3, |_| 1, &subsets);
        held.send_and_hold();
        assert_eq!(held.connections(), 1, "subsets");
    });
}

#[test]
fn turns_of_chance_and_of_weights_are_predicted_too() {
    let test = "turns_of_chance_and_of_weights_are_predicted_too";
    on_all_programs(test, |program| {
        let ratio = "preconnect_policy: { predictive_preconnect_ratio: 2 }";
        for policy in ["RANDOM", "LEAST_REQUEST", "ROUND_ROBIN"] {
            let more = format!("lb_policy: {policy}, {ratio}");
            let mut held = Held::start(program, 3, |place| place + 1, &more);
            held.send_and_hold();
            // Two, and one for the request unless one of them is its host's.
            let total = held.connections();
            assert!((2..=3).contains(&total), "{policy}: {total}");
        }
    });
}

#[test]
fn limits_hold_for_what_is_predicted() {
    on_all_programs("limits_hold_for_what_is_predicted", |program| {
        let more = "preconnect_policy: { predictive_preconnect_ratio: 2 }, circuit_breakers: { \
                    thresholds: [ { max_connections: 2 } ] }";
        let mut held = Held::start(program, 3, |_| 1, more);
        // The first two connections are predictions. A host without any gets
        // one all the same.
        for overflow in 1..=3 {
            held.send_and_hold();
            assert_eq!(held.connections(), 3);
            assert_eq!(stat(&held.process, "upstream_cx_overflow"), overflow);
        }
        // Neither what is predicted nor the request itself gets a connection.
        for overflow in [5, 7] {
            held.send();
            await_true("the request waits", || {
                stat(&held.process, "upstream_cx_overflow") == overflow
            });
            assert_eq!(held.connections(), 3);
        }
    });
}

/// Hosts of HTTP/2 that hold every request, and how many connections there are
/// after each of the first requests, when the cluster lets a connection carry so
/// many.
fn connections_of_http2(program: &Program, streams: u32, ratio: f64) -> Vec<usize> {
    let hosts: Vec<_> = (0..3).map(|_| Host::start(1000)).collect();
    let endpoints = hosts.iter().map(|host| {
        format!(
            "{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} \
             }} }} }}",
            host.address.port()
        )
    });
    let text = format!(
        "- {{ name: origin, type: STATIC, preconnect_policy: {{ predictive_preconnect_ratio: {ratio} \
         }}, typed_extension_protocol_options: {{ \
         envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
         explicit_http_config: {{ http2_protocol_options: {{ max_concurrent_streams: {streams} }} }} \
         }} }}, load_assignment: {{ cluster_name: origin, endpoints: [ {{ lb_endpoints: [ {} ] }} ] \
         }} }}\n",
        endpoints.collect::<Vec<_>>().join(", ")
    );
    let process = proxy(program, &text, 1);
    let mut clients = Vec::new();
    let mut totals = Vec::new();
    for count in 1..=6 {
        let mut client = Client::connect(process.listener("main"));
        client.send("GET", "/");
        clients.push(client);
        await_true("the request is held", || {
            hosts.iter().map(Host::waiting).sum::<usize>() == count
        });
        let total = || stat(&process, "upstream_cx_total") as usize;
        await_true("the connections are there", || {
            hosts.iter().map(Host::connections).sum::<usize>() == total()
        });
        totals.push(total());
    }
    totals
}

#[test]
fn connections_of_http2_are_there_for_as_many_requests_as_they_carry() {
    let test = "connections_of_http2_are_there_for_as_many_requests_as_they_carry";
    let ways = [(1, 2.0), (2, 2.0), (2, 3.0), (4, 1.5), (100, 3.0)];
    as_in_envoy(test, |program| {
        let totals = ways.map(|(streams, ratio)| connections_of_http2(program, streams, ratio));
        // What carries many is opened once for each host.
        assert_eq!(totals[4][5], 3, "{totals:?}");
        totals
    });
}

/// As many as the ratio says for the whole process, whichever workers the requests
/// are on: those that a worker has opened are lent to others.
#[test]
fn connections_are_predicted_for_all_workers_together() {
    on_every_driver(|program| {
        for workers in [2, 4] {
            let ratio = 1.5;
            let more = format!("preconnect_policy: {{ predictive_preconnect_ratio: {ratio} }}");
            let mut held = Held::start_with(program, (3, workers), |_| 1, &more);
            for _ in 0..12 {
                held.send_and_hold();
                let asked = held.clients.len() as f64;
                let total = held.connections() as f64;
                // One more for a request whose host was not the predicted one, and
                // one that is opened while another worker's is on its way here.
                let most = (asked * ratio).ceil() + 1.0 + f64::from(workers);
                assert!(
                    (asked..=most).contains(&total),
                    "{total} connections for {asked} requests on {workers} workers"
                );
            }
            // Each worker may have counted one that another was about to take.
            let least = 12.0 * ratio - f64::from(workers);
            let total = held.connections() as f64;
            assert!(total >= least, "{total} connections on {workers} workers");
        }
    });
}
