//! What running a request and its response through HTTP filters costs, beyond what the filters
//! themselves do, and what taking an exchange from the pool costs.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use criterion::{Criterion, criterion_group, criterion_main};
use ringway::filters::http::{FilterChain, Flow, HttpFilter, OverrideTable, StreamContext};
use ringway::filters::{WorkerContext, WorkerFacts};
use ringway::http::exchange::ExchangePool;
use ringway::stats::Store;
use ringway::stream_info::ConnectionInfo;
use ringway_codecs::header::HeaderId;
use ringway_config::core::Node;

/// The least that a filter does: look whether the message concerns it.
struct Look;

impl HttpFilter for Look {
    fn name(&self) -> &'static str {
        "bench.look"
    }

    fn request_headers(&self, stream: &mut StreamContext<'_>) -> Flow {
        // No request of this benchmark has it, as most requests have no header that a filter
        // waits for.
        if stream.exchange.request.contains(HeaderId::Expect) {
            stream.exchange.internal = true;
        }
        Flow::Continue
    }

    fn response_headers(&self, stream: &mut StreamContext<'_>) {
        if stream.exchange.response.contains(HeaderId::Expect) {
            stream.exchange.internal = true;
        }
    }
}

fn worker() -> Rc<WorkerContext> {
    let facts = WorkerFacts {
        index: 0,
        count: 1,
        local_address: Ipv4Addr::LOCALHOST.into(),
        node: Node::default(),
        drain_time: Duration::ZERO,
    };
    WorkerContext::new(facts, &Store::new())
}

fn connection() -> Rc<ConnectionInfo> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    Rc::new(ConnectionInfo::new(1, address, address))
}

fn chains(c: &mut Criterion) {
    let worker = worker();
    let mut exchange =
        ExchangePool::default().take(connection(), Instant::now(), SystemTime::now());
    exchange.request.append(HeaderId::Path, b"/");
    exchange
        .request
        .append(HeaderId::Authority, b"shop.example.com");
    exchange.response.append(HeaderId::ContentLength, b"100");
    let mut group = c.benchmark_group("filters/request and response");
    for count in [0, 1, 8] {
        let filters = (0..count).map(|_| Box::new(Look) as Box<dyn HttpFilter>);
        let chain = FilterChain::new(filters.collect(), OverrideTable::default());
        group.bench_function(format!("{count} that pass"), |b| {
            b.iter(|| {
                exchange.filters_entered = 0;
                let flow = black_box(&chain).request_headers(&mut exchange, &worker, None);
                chain.response_headers(&mut exchange, &worker);
                matches!(flow, Flow::Continue)
            });
        });
    }
    group.finish();
}

fn exchanges(c: &mut Criterion) {
    let (connection, mut pool) = (connection(), ExchangePool::default());
    let (now, wall) = (Instant::now(), SystemTime::now());
    c.bench_function("filters/take an exchange and put it back", |b| {
        b.iter(|| {
            let exchange = pool.take(Rc::clone(&connection), now, wall);
            pool.put(black_box(exchange));
        });
    });
}

criterion_group!(benches, chains, exchanges);
criterion_main!(benches);
