//! Echoing, half-close, order of data and end, addresses, Unix domain sockets.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use super::super::*;
use super::{connect, listen, on_both_drivers, on_both_drivers_owned, pair, read_to_end, settled};

#[test]
fn an_echo_comes_back() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let (client, server) = pair().await;
            let task = spawn(async move {
                while let Ok(Some(chunk)) = server.recv().await {
                    server.write_chunk(chunk);
                }
            });
            for size in [1, 100, 4_096, 100_000, 3_000_000] {
                let sent: Vec<u8> = (0..=255).cycle().take(size).collect();
                client.write(&sent);
                let mut received = Vec::new();
                while received.len() < size {
                    received.extend_from_slice(&client.recv().await.unwrap().expect("no end yet"));
                }
                assert!(received == sent, "{size} bytes");
            }
            assert_eq!(client.bytes_sent(), client.bytes_received());
            drop(client);
            while !task.is_finished() {
                yield_now().await;
            }
        });
    });
}

#[test]
fn several_writes_of_a_turn_are_one_send() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let (client, server) = pair().await;
            let before = metrics().submissions;
            client.write(b"one ");
            client.write_static(b"two ");
            client.write_with(|tail| tail.extend_from_slice(b"three "));
            client.write_chunk(Chunk::from(&b"four"[..]));
            assert_eq!(client.queued(), 18);
            let chunk = server.recv().await.unwrap().unwrap();
            assert_eq!(&chunk[..], b"one two three four");
            assert_eq!(metrics().submissions - before, 1);
        });
    });
}

#[test]
fn data_comes_before_the_end_and_half_close_works_both_ways() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let (client, server) = pair().await;
            client.write(b"request");
            client.shutdown_write();
            client.write(b"discarded");
            assert_eq!(read_to_end(&server).await, b"request");
            assert!(server.is_closed());
            assert!(!client.is_closed());
            // The other direction is still open.
            sleep(Duration::from_millis(5)).await;
            server.write(b"response");
            server.shutdown_write();
            assert_eq!(read_to_end(&client).await, b"response");
        });
    });
}

#[test]
fn dropping_a_stream_still_sends_what_was_written() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let (client, server) = pair().await;
            let body = vec![b'x'; 5_000_000];
            server.write(&body);
            drop(server);
            assert_eq!(read_to_end(&client).await.len(), body.len());
        });
    });
}

#[test]
fn abort_resets_the_connection() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let (client, server) = pair().await;
            server.write(b"never sent");
            server.abort();
            let error = client.recv().await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
            assert!(client.is_closed());
        });
    });
}

#[test]
fn a_write_that_fails_wakes_who_waits_for_that_only() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let (client, server) = pair().await;
            let client = Rc::new(client);
            drop(server);
            assert!(client.recv().await.unwrap().is_none());
            let (polls, watched) = (Rc::new(Cell::new(0)), Rc::clone(&client));
            let counted = Rc::clone(&polls);
            let watching = spawn(poll_fn(move |cx| {
                counted.set(counted.get() + 1);
                watched.poll_write_error(cx).map(drop)
            }));
            // The first is sent, and comes back as a reset.
            settled(|| {
                client.write(b"more");
                watching.is_finished()
            })
            .await;
            assert_eq!(polls.get(), 2);
            let error = client.write_error().unwrap();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        });
    });
}

#[test]
fn who_waits_for_room_and_for_an_error_is_woken_by_either() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let (client, server) = pair().await;
            let client = Rc::new(client);
            client.write(&vec![b'x'; 16_000_000]);
            let writer = Rc::clone(&client);
            let waiting = spawn(poll_fn(move |cx| {
                let room = writer.poll_writable(cx, 1);
                assert!(writer.poll_write_error(cx).is_pending());
                room.map(drop)
            }));
            let mut received = 0;
            while received < 16_000_000 {
                received += server.recv().await.unwrap().unwrap().len();
            }
            settled(|| waiting.is_finished()).await;
        });
    });
}

#[test]
fn unread_bytes_come_first() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let (client, server) = pair().await;
            client.write(b"abcdef");
            let mut chunk = server.recv().await.unwrap().unwrap();
            let tail = {
                let head = chunk.split_to(2);
                assert_eq!(&head[..], b"ab");
                chunk
            };
            assert!(!server.has_unread());
            server.unread(tail);
            assert!(server.has_unread());
            client.write(b"gh");
            client.shutdown_write();
            assert_eq!(read_to_end(&server).await, b"cdefgh");
        });
    });
}

#[test]
fn the_end_is_seen_behind_unread_data() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let (client, server) = pair().await;
            client.write(b"unread");
            client.shutdown_write();
            std::future::poll_fn(|cx| server.poll_closed(cx)).await;
            assert_eq!(&server.try_recv().unwrap()[..], b"unread");
            assert!(server.recv().await.unwrap().is_none());
        });
    });
}

#[test]
fn addresses_agree() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let listener = listen();
            let address = listener.local_addr().unwrap().into();
            let client = connect(&address).await.unwrap();
            let server = listener.accept().await.unwrap();
            assert_eq!(client.peer_addr().unwrap(), server.local_addr().unwrap());
            assert_eq!(server.peer_addr().unwrap(), client.local_addr().unwrap());
            assert_eq!(server.peer_addr().unwrap(), client.local_addr().unwrap());
        });
    });
}

#[test]
fn unix_domain_sockets_work_too() {
    on_both_drivers(|reactor| {
        let directory = tempfile::tempdir().unwrap();
        let address = socket2::SockAddr::unix(directory.path().join("socket")).unwrap();
        reactor.block_on(async {
            let domain = socket2::Domain::UNIX;
            let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
            socket.bind(&address).unwrap();
            socket.listen(8).unwrap();
            let listener = Listener::from_socket(socket).unwrap();
            let client = connect(&address).await.unwrap();
            let server = listener.accept().await.unwrap();
            client.write(b"over the file system");
            drop(client);
            assert_eq!(read_to_end(&server).await, b"over the file system");
            assert!(server.peer_addr().is_err());
        });
    });
}

#[test]
fn write_with_may_use_other_streams() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let (client, server) = pair().await;
            let (client, server) = (Rc::new(client), Rc::new(server));
            client.write_with(|tail| {
                server.write(b"inner");
                tail.extend_from_slice(b"outer");
            });
            assert_eq!(&server.recv().await.unwrap().unwrap()[..], b"outer");
            assert_eq!(&client.recv().await.unwrap().unwrap()[..], b"inner");
        });
    });
}

#[test]
fn a_stream_that_outlives_its_reactor_reports_errors() {
    on_both_drivers_owned(|mut reactor| {
        let (client, server) = reactor.block_on(pair());
        let chunk = reactor.block_on(async {
            client.write(b"kept");
            server.recv().await.unwrap().unwrap()
        });
        drop(reactor);
        assert_eq!(&chunk[..], b"kept");
        client.write(b"lost");
        assert_eq!(client.queued(), 0);
        assert!(client.is_closed());
        let waker = std::task::Waker::noop();
        let poll = server.poll_recv(&mut Context::from_waker(waker));
        assert!(matches!(poll, Poll::Ready(Err(_))));
        assert!(server.peer_addr().is_err());
    });
}

#[test]
fn auto_falls_back_and_says_why() {
    let options = Options {
        // No size for a ring shared with the kernel.
        buffer_count: 3,
        ..Options::default()
    };
    let reactor = Reactor::new(&options).unwrap();
    assert_eq!(reactor.driver(), DriverKind::Epoll);
    let reason = reactor.driver_fallback_reason().unwrap();
    assert!(reason.contains("power of two"), "{reason}");
    assert!(
        Reactor::new(&Options {
            driver: DriverChoice::IoUring,
            ..options
        })
        .is_err()
    );
}
