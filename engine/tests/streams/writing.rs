//! When written bytes leave, and when a write waits.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join;
use ringtide::limits::{UNSENT_HIGH_SIZE, UNSENT_LOW_SIZE};
use ringtide::runtime;
use ringtide_driver::sim::Faults;

use crate::{on_all, pattern, poll_and_drop};

/// Longer than the network needs for a send, in virtual time as well.
const LONG: Duration = Duration::from_millis(100);

#[test]
fn a_peer_that_does_not_read_holds_writes_back() {
    const SIZE: usize = 10_000;
    on_all(async |mut client, mut server, _| {
        let mut written = 0;
        while runtime::timeout(LONG, client.write_all(&pattern(written, SIZE))).await.is_some() {
            written += 1;
            assert!(client.unsent_size() <= UNSENT_HIGH_SIZE + SIZE);
            assert!(written < 1_000, "nothing holds it back");
        }
        // It waits for the low watermark.
        assert!(client.unsent_size() > UNSENT_LOW_SIZE);
        // The write that timed out, and those that wait now, have queued nothing.
        poll_and_drop(client.write_all(b"lost"));
        poll_and_drop(client.write_bytes("lost"));
        poll_and_drop(client.write_vectored(&["lost", "lost"]));
        poll_and_drop(client.send("lost"));
        let unsent = client.unsent_size();
        let write = async {
            client.write_all(b"next").await.unwrap();
            assert!(client.unsent_size() <= UNSENT_LOW_SIZE + 4, "{unsent}, {}", client.unsent_size());
            client.flush().await.unwrap();
            assert_eq!(client.unsent_size(), 0);
        };
        let read = async {
            for number in 0..written {
                let mut bytes = vec![0; SIZE];
                server.read_exact(&mut bytes).await.unwrap();
                assert!(bytes == pattern(number, SIZE), "{number} of {written}");
            }
            let mut bytes = [0; 4];
            server.read_exact(&mut bytes).await.unwrap();
            assert_eq!(&bytes, b"next");
        };
        join(write, read).await;
        poll_and_drop(server.read(&mut [0]));
    });
}

#[test]
fn watermarks_can_be_set() {
    on_all(async |mut client, mut server, _| {
        client.set_watermarks(0, 0);
        // Nothing is unsent, so it does not wait; the next one does.
        client.write_all(&pattern(0, 10)).await.unwrap();
        assert_eq!(client.unsent_size(), 10);
        poll_and_drop(client.write_all(b"lost"));
        client.write_all(&pattern(1, 10)).await.unwrap();
        assert_eq!(client.unsent_size(), 10);
        client.set_watermarks(0, usize::MAX);
        for number in 2..100 {
            client.write_all(&pattern(number, 10)).await.unwrap();
        }
        for number in 0..100 {
            let mut bytes = [0; 10];
            let read = server.read_exact(&mut bytes);
            join(client.flush(), read).await.1.unwrap();
            assert_eq!(bytes[..], pattern(number, 10));
        }
    });
}

#[test]
#[should_panic(expected = "the low watermark is 2 bytes, the high one 1")]
fn the_low_watermark_is_not_above_the_high_one() {
    crate::Carrier { seed: Some(0), tls: None }.worker(Faults::default()).block_on(async {
        let (mut client, _server) = crate::Carrier { seed: Some(0), tls: None }.pair().await;
        client.set_watermarks(2, 1);
    });
}

#[test]
fn all_kinds_of_writes_keep_their_order() {
    on_all(async |mut client, mut server, _| {
        let large = Bytes::from(pattern(0, 50_000));
        let write = async {
            client.write_all(b"copied ").await.unwrap();
            client.write_bytes("static ").await.unwrap();
            client.write_bytes(large.clone()).await.unwrap();
            client.write_vectored(&["of ", "", "parts "]).await.unwrap();
            client.write_vectored(&[&large[..], b"!"]).await.unwrap();
            client.write_vectored::<&str>(&[]).await.unwrap();
            client.send(large.clone()).await.unwrap();
            client.close().await.unwrap();
        };
        let read = async {
            let mut bytes = Vec::new();
            while let Some(piece) = server.receive().await.unwrap() {
                bytes.extend_from_slice(&piece);
            }
            assert!(
                bytes == [b"copied static ", &large[..], b"of parts ", &large, b"!", &large].concat(),
                "{} bytes",
                bytes.len()
            );
        };
        join(write, read).await;
    });
}

/// The rest of a request is queued behind a send that the peer has not taken. It leaves although its task only reads.
#[test]
fn queued_bytes_leave_while_the_task_reads() {
    on_all(async |mut client, mut server, _| {
        client.set_watermarks(0, usize::MAX);
        for number in 0..40 {
            client.write_all(&pattern(number, 10_000)).await.unwrap();
        }
        let ask = async {
            assert!(client.unsent_size() > 100_000, "it was sent before");
            let mut answer = [0; 2];
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"ok");
        };
        let answer = async {
            for number in 0..40 {
                let mut bytes = vec![0; 10_000];
                server.read_exact(&mut bytes).await.unwrap();
                assert!(bytes == pattern(number, 10_000));
            }
            server.send("ok").await.unwrap();
        };
        join(ask, answer).await;
    });
}

#[test]
fn a_flush_that_is_dropped_can_be_repeated() {
    on_all(async |mut client, mut server, _| {
        client.set_watermarks(0, usize::MAX);
        client.write_all(&pattern(0, 600_000)).await.unwrap();
        poll_and_drop(client.flush());
        poll_and_drop(client.flush());
        let mut bytes = vec![0; 600_000];
        let (flushed, read) = join(client.flush(), server.read_exact(&mut bytes)).await;
        flushed.unwrap();
        read.unwrap();
        assert!(bytes == pattern(0, 600_000));
    });
}
