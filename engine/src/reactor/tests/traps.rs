//! What has gone wrong in event loops before, one test each.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::super::*;
use super::{connect, listen, on_both_drivers, on_both_drivers_owned, on_both_drivers_with, pair};
use super::{raw_listener, read_to_end, settled};

/// Few and small buffers, so that they run out.
fn scarce() -> Options {
    Options {
        buffer_count: 4,
        buffer_bytes: 4096,
        ..Options::default()
    }
}

#[test]
fn an_empty_buffer_ring_delays_receives_but_loses_none() {
    on_both_drivers_with(&scarce(), |reactor| {
        reactor.block_on(async {
            const CONNECTIONS: usize = 64;
            const BYTES: usize = 20_000;
            let listener = listen();
            let address = listener.local_addr().unwrap().into();
            let mut clients = Vec::new();
            let mut servers = Vec::new();
            for _ in 0..CONNECTIONS {
                clients.push(connect(&address).await.unwrap());
                servers.push(listener.accept().await.unwrap());
            }
            let turns = metrics().turns;
            for client in &clients {
                client.write(&vec![b'x'; BYTES]);
                client.shutdown_write();
            }
            for server in &servers {
                assert_eq!(read_to_end(server).await.len(), BYTES);
            }
            let after = metrics();
            assert!(after.starved_receives > 0, "the ring was never empty");
            assert_eq!(after.free_buffers, 4);
            let spent = after.turns - turns;
            assert!(spent < 10_000, "{spent} turns: the loop was spinning");
        });
    });
}

#[test]
fn unread_queues_do_not_starve_others() {
    on_both_drivers_with(&scarce(), |reactor| {
        reactor.block_on(async {
            // Nobody reads from these, and each queue would keep several buffers.
            let mut hoarders = Vec::new();
            for _ in 0..8 {
                let (client, server) = pair().await;
                client.write(&vec![b'x'; 20_000]);
                hoarders.push((client, server));
            }
            settled(|| metrics().copied_out > 0).await;
            let (client, server) = pair().await;
            client.write(b"through");
            assert_eq!(&server.recv().await.unwrap().unwrap()[..], b"through");
            for (client, server) in &hoarders {
                client.shutdown_write();
                assert_eq!(read_to_end(server).await.len(), 20_000);
            }
        });
    });
}

#[test]
fn a_slow_peer_does_not_keep_the_buffers() {
    on_both_drivers_with(&scarce(), |reactor| {
        reactor.block_on(async {
            let (source, source_end) = pair().await;
            let (slow, slow_end) = pair().await;
            slow.set_recv_limit(1);
            // More than the socket buffers of a loopback connection take.
            const BYTES: usize = 16_000_000;
            let feeder = spawn(async move {
                for _ in 0..BYTES / 4_000 {
                    source.write(&[b'x'; 4_000]);
                    source.writable(64 * 1024).await.unwrap();
                }
            });
            let forwarder = spawn(async move {
                while let Some(chunk) = source_end.recv().await.unwrap() {
                    slow_end.write_chunk(chunk);
                    slow_end.writable(100_000).await.unwrap();
                }
            });
            settled(|| metrics().copied_out > 0).await;
            assert!(!forwarder.is_finished(), "the peer took everything");
            let (client, server) = pair().await;
            for _ in 0..100 {
                client.write(&[b'y'; 3_000]);
                assert_eq!(server.recv().await.unwrap().unwrap().len(), 3_000);
            }
            // Nothing was lost by copying, nor by interrupting a send.
            let mut bytes = 0;
            while let Some(chunk) = slow.recv().await.unwrap() {
                assert!(chunk.iter().all(|byte| *byte == b'x'));
                bytes += chunk.len();
            }
            assert_eq!(bytes, BYTES);
            assert!(feeder.is_finished() && forwarder.is_finished());
        });
    });
}

#[test]
fn a_paused_receive_resumes_in_a_pool() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let (client, pooled) = pair().await;
            pooled.set_recv_limit(10_000);
            client.write(&vec![b'x'; 400_000]);
            let mut read = 0;
            while read < 400_000 {
                match pooled.try_recv() {
                    Some(chunk) => read += chunk.len(),
                    None => yield_now().await,
                }
            }
            // Nobody waits for the connection now: it reports its end by itself.
            client.write(b"z");
            settled(|| pooled.has_unread()).await;
            client.shutdown_write();
            settled(|| pooled.is_closed()).await;
        });
    });
}

#[test]
fn a_paused_connection_reports_its_end() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let (client, server) = pair().await;
            server.set_recv_limit(1);
            client.write(b"more than one byte");
            settled(|| server.has_unread()).await;
            yield_now().await;
            let closed = std::future::poll_fn(|cx| server.poll_closed(cx));
            let timer = Timer::new();
            timer.set(Some(now() + Duration::from_millis(20)));
            assert_eq!(timeout(&timer, closed).await, Err(Elapsed));
            client.shutdown_write();
            std::future::poll_fn(|cx| server.poll_closed(cx)).await;
            assert_eq!(read_to_end(&server).await, b"more than one byte");
        });
    });
}

#[test]
fn a_reader_that_stops_bounds_the_memory() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let (client, server) = pair().await;
            server.set_recv_limit(50_000);
            const BYTES: usize = 30_000_000;
            let feeder = spawn(async move {
                for _ in 0..BYTES / 10_000 {
                    client.write(&[b'x'; 10_000]);
                    client.writable(100_000).await.unwrap();
                }
            });
            sleep(Duration::from_millis(100)).await;
            assert!(!feeder.is_finished());
            // The limit, and what was under way when the receive was cancelled.
            let unread = server.bytes_received();
            assert!(unread < 50_000 + 16 * 64 * 1024, "{unread} bytes queued");
            assert_eq!(read_to_end(&server).await.len(), BYTES);
        });
    });
}

#[test]
fn dropping_operations_in_flight_is_harmless() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            for round in 0..50 {
                let (client, server) = pair().await;
                // A receive is always in flight; also a send that the peer does not take ...
                server.write(&vec![b'x'; 5_000_000]);
                client.set_recv_limit(1);
                if round % 2 == 0 {
                    yield_now().await;
                }
                // ... and both ends go in either order.
                if round % 3 == 0 {
                    drop(client);
                    drop(server);
                } else {
                    server.abort();
                    drop(client);
                }
            }
            settled(|| metrics().open_sockets == 0).await;
        });
    });
}

#[test]
fn a_receive_that_times_out_loses_no_bytes() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let (client, server) = pair().await;
            let writer = spawn(async move {
                for byte in 0..100 {
                    client.write(&[byte]);
                    sleep(Duration::from_millis(1)).await;
                }
            });
            let timer = Timer::new();
            let (mut received, mut late) = (Vec::new(), 0);
            loop {
                timer.set(Some(now() + Duration::from_micros(300)));
                match timeout(&timer, server.recv()).await {
                    Ok(Ok(Some(chunk))) => received.extend_from_slice(&chunk),
                    Ok(Ok(None)) => break,
                    Ok(Err(error)) => panic!("{error}"),
                    Err(Elapsed) => late += 1,
                }
            }
            assert_eq!(received, (0..100).collect::<Vec<u8>>());
            assert!(late > 0);
            assert!(writer.is_finished());
        });
    });
}

#[test]
fn shutting_down_waits_for_the_operations() {
    on_both_drivers_owned(|mut reactor| {
        let listener_address = Rc::new(std::cell::Cell::new(None));
        let (kept, outside) = reactor.block_on(async {
            let listener = listen();
            let address = listener.local_addr().unwrap();
            listener_address.set(Some(address));
            let outside = std::net::TcpStream::connect(address).unwrap();
            let kept = listener.accept().await.unwrap();
            // A send, receives, a connect, an accept and timers in flight.
            kept.write(&vec![b'x'; 20_000_000]);
            for _ in 0..10 {
                let (client, server) = pair().await;
                spawn(async move {
                    let _ = server.recv().await;
                    drop(client);
                });
            }
            spawn(async move {
                let _ = listener.accept().await;
            });
            spawn(sleep(Duration::from_secs(1000)));
            yield_now().await;
            (kept, outside)
        });
        let before = Instant::now();
        drop(reactor);
        // The timer that is left has a thousand.
        assert!(before.elapsed() < Duration::from_secs(60));
        let refused = std::net::TcpStream::connect(listener_address.get().unwrap());
        assert!(refused.is_err(), "the listener is closed");
        drop(kept);
        // The other end sees the end of the connection, not silence.
        let timeout = Some(Duration::from_secs(10));
        outside.set_read_timeout(timeout).unwrap();
        let copied = std::io::copy(&mut &outside, &mut std::io::sink());
        if let Err(error) = copied {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
    });
}

#[test]
fn short_sends_continue() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let (client, server) = pair().await;
            limit_send_buffer(&client, 4096);
            let body: Vec<u8> = (0..250).cycle().take(1_000_000).collect();
            for piece in body.chunks(7_000) {
                client.write_chunk(Chunk::from(piece));
            }
            client.shutdown_write();
            assert!(read_to_end(&server).await == body);
        });
    });
}

fn limit_send_buffer(stream: &Stream, bytes: libc::c_int) {
    use std::os::fd::AsRawFd;
    // SAFETY: the value is valid for the duration of the call and has the size given.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_SNDBUF,
            (&raw const bytes).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    assert_eq!(result, 0);
}

#[test]
fn writing_to_a_broken_connection_reports_it_and_stops() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let (client, server) = pair().await;
            server.abort();
            assert!(client.recv().await.is_err());
            client.write(b"into the void");
            let error = client.flushed().await.unwrap_err();
            assert!(matches!(
                error.raw_os_error(),
                Some(libc::EPIPE | libc::ECONNRESET)
            ));
            assert!(client.write_error().is_some());
            client.write(b"more");
            assert_eq!(client.queued(), 0);
        });
    });
}

#[test]
fn a_peer_that_speaks_and_leaves_before_the_connect_is_seen_is_heard() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap().into();
            let mut connecting = std::pin::pin!(connect(&address));
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(connecting.as_mut().poll(&mut cx).is_pending());
            if current_driver() == DriverKind::IoUring {
                // Connects are begun at the end of a turn there.
                yield_now().await;
            }
            // The loop stands still meanwhile.
            let (mut peer, _) = listener.accept().unwrap();
            std::io::Write::write_all(&mut peer, b"hello").unwrap();
            drop(peer);
            let stream = connecting.await.unwrap();
            assert_eq!(read_to_end(&stream).await, b"hello");
        });
    });
}

#[test]
fn a_refused_connection_is_an_error() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            // Bound but not listening, so that nobody else takes the port.
            let socket =
                socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            let any_port: SocketAddr = ([127, 0, 0, 1], 0).into();
            socket.bind(&any_port.into()).unwrap();
            let error = connect(&socket.local_addr().unwrap()).await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
            settled(|| metrics().open_sockets == 0).await;
        });
    });
}

#[test]
fn a_connection_that_times_out_is_given_up() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            // A full backlog drops further SYNs.
            let socket = raw_listener(0);
            let address = socket.local_addr().unwrap();
            let mut queued = Vec::new();
            let timer = Timer::new();
            let mut timed_out = 0;
            while timed_out < 3 {
                timer.set(Some(now() + Duration::from_millis(50)));
                match timeout(&timer, connect(&address)).await {
                    Ok(stream) => queued.push(stream.unwrap()),
                    Err(Elapsed) => timed_out += 1,
                }
                assert!(queued.len() < 10, "the backlog never fills");
            }
            let open = queued.len() as u64;
            settled(|| metrics().open_sockets == open).await;
        });
    });
}
