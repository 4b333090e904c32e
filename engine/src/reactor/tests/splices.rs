//! Bytes that go from one stream to another by splice.

use std::future::poll_fn;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::task::Poll;

use super::super::*;
use super::{listen, on_both_drivers, pair, read_to_end, settled};

/// What may be on the way.
const LIMIT: usize = 256 * 1024;

fn text(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at % 251) as u8).collect()
}

/// Carries from one to the other, by splice as long as there is one, and ends the other behind
/// the end.
async fn carry(from: &Stream, to: &Stream) -> std::io::Result<()> {
    let mut splice = Splice::begin(from, to);
    poll_fn(|cx| {
        loop {
            if let Some(one) = &mut splice
                && one.is_clear(cx)
            {
                if !one.poll(LIMIT, LIMIT, cx).is_over {
                    return Poll::Pending;
                }
                splice = None;
            }
            match from.poll_recv(cx) {
                Poll::Ready(Ok(Some(chunk))) => to.write_chunk(chunk),
                Poll::Ready(Ok(None)) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => match to.poll_writable(cx, usize::MAX) {
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    _ => return Poll::Pending,
                },
            }
        }
    })
    .await?;
    drop(splice);
    to.shutdown_write();
    Ok(())
}

/// A client, the two ends of a proxy, a host.
async fn four() -> (Stream, Rc<Stream>, Rc<Stream>, Stream) {
    let (client, front) = pair().await;
    let (back, host) = pair().await;
    (client, Rc::new(front), Rc::new(back), host)
}

fn spawn_carry(from: &Rc<Stream>, to: &Rc<Stream>) -> TaskHandle {
    let (from, to) = (Rc::clone(from), Rc::clone(to));
    spawn(async move {
        // An error ends the direction; the tests look at the streams.
        let _ = carry(&from, &to).await;
    })
}

#[test]
fn everything_comes_in_order_and_then_the_end() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let (client, front, back, host) = four().await;
            // Received before the splice begins, and queued in front of it.
            client.write(b"received ");
            settled(|| front.has_unread()).await;
            back.write(b"queued ");
            let carrying = spawn_carry(&front, &back);
            let sent = text(8_000_000);
            client.write(&sent);
            client.shutdown_write();
            let expected = [b"queued received ", &sent[..]].concat();
            assert!(read_to_end(&host).await == expected);
            settled(|| carrying.is_finished()).await;
            assert!(metrics().spliced_bytes > 7_000_000);
            assert_eq!(front.bytes_received(), sent.len() as u64 + 9);
            assert_eq!(back.bytes_sent(), expected.len() as u64);
            assert_eq!(metrics().free_buffers, 512);
        });
    });
}

#[test]
fn both_directions_at_once() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let (client, front, back, host) = four().await;
            spawn_carry(&front, &back);
            spawn_carry(&back, &front);
            let sent = text(5_000_000);
            for stream in [&client, &host] {
                stream.write(&sent);
                stream.shutdown_write();
            }
            let at_client = Rc::new(client);
            let reading = Rc::clone(&at_client);
            let expected = sent.clone();
            let task = spawn(async move { assert!(read_to_end(&reading).await == expected) });
            assert!(read_to_end(&host).await == sent);
            settled(|| task.is_finished()).await;
            assert!(metrics().spliced_bytes > 9_000_000);
        });
    });
}

/// Of a splice that is given up, what was on the way is written.
#[test]
fn what_is_on_the_way_is_not_lost() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let (client, front, back, host) = four().await;
            // The host reads nothing for now.
            host.set_recv_limit(0);
            let sent = text(24_000_000);
            client.write(&sent);
            client.shutdown_write();
            let mut splice = Splice::begin(&front, &back).unwrap();
            let mut most = 0;
            let begun = now();
            poll_fn(|cx| {
                if splice.is_clear(cx) {
                    assert!(!splice.poll(LIMIT, LIMIT, cx).is_over);
                } else if let Poll::Ready(Ok(Some(chunk))) = front.poll_recv(cx) {
                    back.write_chunk(chunk);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                most = most.max(splice.queued());
                assert!(now() - begun < Duration::from_secs(20), "never full");
                match splice.queued() {
                    LIMIT.. => Poll::Ready(()),
                    _ => {
                        cx.waker().wake_by_ref();
                        Poll::Pending
                    }
                }
            })
            .await;
            assert_eq!(most, LIMIT);
            drop(splice);
            assert!(back.queued() >= LIMIT);
            host.set_recv_limit(usize::MAX);
            let rest = spawn_carry(&front, &back);
            assert!(read_to_end(&host).await == sent);
            settled(|| rest.is_finished()).await;
        });
    });
}

#[test]
fn small_messages_end_it_and_are_received_again() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let (client, front, back, host) = four().await;
            spawn_carry(&front, &back);
            for number in 0..20u8 {
                client.write(&[number; 3]);
                let mut got = Vec::new();
                while got.len() < 3 {
                    got.extend_from_slice(&host.recv().await.unwrap().unwrap());
                }
                assert_eq!(got, [number; 3]);
            }
            let spliced = metrics().spliced_bytes;
            assert!((1..=15).contains(&spliced), "{spliced} bytes");
        });
    });
}

/// Sockets of a splice do not block; what else is done with them goes on as on others.
#[test]
fn the_other_direction_goes_on_without_one() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let (client, front, back, host) = four().await;
            let splice = Splice::begin(&front, &back).unwrap();
            let sent = text(6_000_000);
            // More than the kernel takes at once, to a client that reads later.
            client.set_recv_limit(0);
            front.write(&sent);
            front.shutdown_write();
            // And more than may wait to be read, so that receiving stops and begins again.
            back.set_recv_limit(10_000);
            host.write(&sent);
            host.shutdown_write();
            for _ in 0..50 {
                yield_now().await;
            }
            client.set_recv_limit(usize::MAX);
            assert!(read_to_end(&client).await == sent);
            assert!(read_to_end(&back).await == sent);
            drop(splice);
        });
    });
}

#[test]
fn resets_of_either_side_are_told() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            for by_host in [false, true] {
                let (client, front, back, host) = four().await;
                let carrying = spawn_carry(&front, &back);
                client.write(&text(1_000_000));
                let mut got = 0;
                while got < 1_000_000 {
                    got += host.recv().await.unwrap().unwrap().len();
                }
                match by_host {
                    false => client.abort(),
                    true => {
                        host.abort();
                        client.write(&text(1_000_000));
                    }
                }
                settled(|| carrying.is_finished()).await;
                let ended = match by_host {
                    false => front.recv().await.map(drop),
                    true => back.flushed().await,
                };
                let kind = ended.unwrap_err().kind();
                assert_eq!(kind, std::io::ErrorKind::ConnectionReset, "{by_host}");
            }
        });
    });
}

/// A splice does not get past urgent data, and must not ask for it for ever.
#[test]
fn urgent_data_holds_nothing_up() {
    on_both_drivers(|reactor| {
        reactor.block_on(async {
            let listener = listen();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let front = Rc::new(listener.accept().await.unwrap());
            let (back, host) = pair().await;
            let carrying = spawn_carry(&front, &Rc::new(back));
            client.write_all(&text(100_000)).unwrap();
            // SAFETY: the byte is valid for the duration of the call.
            let sent =
                unsafe { libc::send(client.as_raw_fd(), [b'!'].as_ptr().cast(), 1, libc::MSG_OOB) };
            assert_eq!(sent, 1);
            client.write_all(&text(100_000)).unwrap();
            drop(client);
            let turns = metrics().turns;
            let expected = [text(100_000), text(100_000)].concat();
            assert!(read_to_end(&host).await == expected);
            settled(|| carrying.is_finished()).await;
            assert!(metrics().turns - turns < 10_000, "the loop was spinning");
        });
    });
}

/// Streams may outlive their reactor, and a splice its sockets.
#[test]
fn a_reactor_ends_in_the_middle() {
    super::on_both_drivers_owned(|mut reactor| {
        let kept = reactor.block_on(async {
            let (client, front, back, host) = four().await;
            client.write(&text(4_000_000));
            spawn_carry(&front, &back);
            host.set_recv_limit(0);
            for _ in 0..50 {
                yield_now().await;
            }
            (client, front, back, host)
        });
        drop(reactor);
        drop(kept);
    });
}
