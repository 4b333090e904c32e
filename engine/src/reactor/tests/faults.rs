//! The fault-injecting layer, and the reactor under it.

use std::time::Duration;

use super::super::*;
use super::{on_both_drivers_with, pair, read_to_end};

fn with_faults(plan: fault::Plan) -> Options {
    Options {
        faults: Some(plan),
        ..Options::default()
    }
}

#[test]
fn pieces_and_delays_change_nothing_but_the_pieces() {
    for seed in 0..5 {
        let options = with_faults(fault::Plan {
            seed,
            recv_max: Some(700),
            send_max: Some(900),
            delay: Some(Duration::from_millis(2)),
            ..fault::Plan::default()
        });
        on_both_drivers_with(&options, |reactor| {
            reactor.block_on(async {
                let (client, server) = pair().await;
                let body: Vec<u8> = (0..=255).cycle().take(30_000).collect();
                client.write(&body);
                client.shutdown_write();
                let mut received = Vec::new();
                while let Some(chunk) = server.recv().await.unwrap() {
                    assert!(chunk.len() <= 700);
                    received.extend_from_slice(&chunk);
                }
                assert!(received == body, "seed {seed}");
            });
        });
    }
}

#[test]
fn connections_break_at_the_chosen_byte() {
    for after in [0, 1, 99, 100, 5_000] {
        let options = with_faults(fault::Plan {
            side: fault::Side::Accepted,
            reset_after: Some(after),
            recv_max: Some(64),
            ..fault::Plan::default()
        });
        on_both_drivers_with(&options, |reactor| {
            reactor.block_on(async {
                let (client, server) = pair().await;
                client.write(&[b'x'; 6_000]);
                let mut received = 0;
                let error = loop {
                    match server.recv().await {
                        Ok(Some(chunk)) => received += chunk.len() as u64,
                        Ok(None) => panic!("no end was sent"),
                        Err(error) => break error,
                    }
                };
                assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
                assert_eq!(received, after);
            });
        });
    }
}

#[test]
fn sends_break_at_the_chosen_byte_on_one_side_only() {
    let options = with_faults(fault::Plan {
        side: fault::Side::Connected,
        reset_sends_after: Some(1_000),
        ..fault::Plan::default()
    });
    on_both_drivers_with(&options, |reactor| {
        reactor.block_on(async {
            let (client, server) = pair().await;
            server.write(&[b'y'; 3_000]);
            server.shutdown_write();
            assert_eq!(read_to_end(&client).await.len(), 3_000);
            client.write(&[b'x'; 3_000]);
            let error = client.flushed().await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
            assert_eq!(client.bytes_sent(), 1_000);
            drop(client);
            assert_eq!(read_to_end(&server).await.len(), 1_000);
        });
    });
}
