//! How streams end: in order, cut, and in every state.

use std::io;
use std::time::Duration;

use futures_util::future::join;
use ringtide::runtime;
use ringtide::stream::{IncompleteRead, Stream};
use ringtide::tls;
use ringtide_driver::sim::Faults;

use crate::{Carrier, on_all, pattern, poll_and_drop};

async fn read_all(stream: &mut Stream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(piece) = stream.receive().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

#[test]
fn either_side_can_still_send_after_the_other_has_ended() {
    on_all(async |mut client, mut server, _| {
        client.write_all(b"question").await.unwrap();
        assert!(!client.is_closing() && !client.is_closed());
        client.shutdown().await.unwrap();
        client.shutdown().await.unwrap();
        assert!(client.is_closing() && !client.is_closed());
        for error in [
            client.write_all(b"more").await.unwrap_err(),
            client.write_bytes("more").await.unwrap_err(),
            client.send("more").await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        }
        assert_eq!(read_all(&mut server).await.unwrap(), b"question");
        assert!(!server.is_closing());
        let (closed, read) = join(
            async { (server.write_all(&pattern(0, 300_000)).await, server.close().await) },
            read_all(&mut client),
        )
        .await;
        closed.0.unwrap();
        closed.1.unwrap();
        assert!(read.unwrap() == pattern(0, 300_000));
        assert!(client.is_closed());
    });
}

#[test]
fn a_shutdown_that_is_dropped_can_be_repeated() {
    on_all(async |mut client, mut server, _| {
        client.set_watermarks(0, usize::MAX);
        client.write_all(&pattern(0, 600_000)).await.unwrap();
        poll_and_drop(client.shutdown());
        assert!(client.is_closing());
        assert_eq!(client.write_all(b"more").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let (shut_down, read) = join(client.shutdown(), read_all(&mut server)).await;
        shut_down.unwrap();
        assert!(read.unwrap() == pattern(0, 600_000));
    });
}

/// A close with unread bytes would reset the connection, and the peer might lose what it has not read.
#[test]
fn a_close_with_unread_bytes_still_delivers() {
    on_all(async |mut client, mut server, _| {
        client.write_all(b"nobody reads this").await.unwrap();
        client.flush().await.unwrap();
        server.fill().await.unwrap();
        client.write_all(b"nor this").await.unwrap();
        client.flush().await.unwrap();
        server.write_all(b"answer").await.unwrap();
        server.close().await.unwrap();
        assert_eq!(read_all(&mut client).await.unwrap(), b"answer");
    });
}

#[test]
fn streams_close_in_every_state() {
    on_all(async |client, server, _| {
        // Before anything was sent.
        let (closed, other) = join(client.close(), server.close()).await;
        closed.unwrap();
        other.unwrap();
    });
    on_all(async |client, mut server, _| {
        // After the other side.
        client.close().await.unwrap();
        assert!(server.receive().await.unwrap().is_none());
        server.close().await.unwrap();
    });
    on_all(async |client, mut server, _| {
        // In a read, and after the other side is gone without a word. A close may then fail, but it ends.
        poll_and_drop(server.read_line(10));
        drop(client);
        runtime::sleep(Duration::from_millis(50)).await;
        let _ = server.close().await;
    });
    on_all(async |mut client, server, _| {
        // With bytes that nobody takes: dropped while it waits.
        client.set_watermarks(0, usize::MAX);
        client.write_all(&pattern(0, 900_000)).await.unwrap();
        poll_and_drop(client.close());
        drop(server);
    });
}

#[test]
fn a_stream_that_is_dropped_ends_in_order_only_if_it_is_plain() {
    on_all(async |mut client, mut server, carrier| {
        // After this, the client has read its tickets. A drop with unread bytes resets the connection.
        server.send("hello").await.unwrap();
        assert_eq!(&*client.read_until(b"o", 5).await.unwrap(), b"hello");
        client.send("abc").await.unwrap();
        drop(client);
        let error = server.read_exact(&mut [0; 5]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        if carrier.tls.is_none() {
            assert_eq!(IncompleteRead::of_io(&error).unwrap().partial, b"abc");
            assert!(server.receive().await.unwrap().is_none());
            return;
        }
        for error in
            [error, server.fill().await.unwrap_err(), server.read_exact(&mut [0; 5]).await.unwrap_err()]
        {
            assert!(matches!(tls::Error::of_io(&error), Some(tls::Error::Truncated)), "{error}");
        }
        assert!(server.is_closed() && server.is_closing());
        // What arrived before can be read.
        assert_eq!(server.buffered(), b"abc");
        assert_eq!(&*server.receive().await.unwrap().unwrap(), b"abc");
        server.receive().await.unwrap_err();
    });
}

/// The connection is reset at a random time. What was read until then is a prefix, and there is never an end in order.
#[test]
fn a_reset_connection_never_looks_complete() {
    let mut cut = 0;
    for seed in 0..60 {
        let tls = if seed % 2 == 0 { None } else { Some(tls::Version::Tls13) };
        let carrier = Carrier { seed: Some(seed), tls };
        carrier.worker(Faults { reset: 0.7, slow_link: 0.5, ..Faults::default() }).block_on(async {
            // The handshake may fail as well, and then panics; that is not the subject here.
            let (mut client, mut server) = Carrier { tls: None, ..carrier }.pair().await;
            if let Some(version) = carrier.tls {
                let (client_tls, server_tls) = crate::tls(version);
                let begin = async {
                    let mut client = client.start_tls("localhost", client_tls).await?;
                    client.flush().await?;
                    Ok::<_, io::Error>(client)
                };
                let (Ok(secured), Ok(accepted)) = join(begin, server.accept_tls(server_tls)).await else {
                    return;
                };
                (client, server) = (secured, accepted);
            }
            let write = async {
                for number in 0..50 {
                    client.write_all(&pattern(number, 10_000)).await?;
                }
                client.shutdown().await
            };
            let mut received = Vec::new();
            let read = async {
                while let Some(piece) = server.receive().await? {
                    received.extend_from_slice(&piece);
                }
                Ok::<_, io::Error>(())
            };
            let (_, ended) = join(write, read).await;
            let all = (0..50).flat_map(|number| pattern(number, 10_000)).collect::<Vec<_>>();
            assert!(all.starts_with(&received));
            assert_eq!(ended.is_ok(), received.len() == all.len(), "seed {seed}: {} bytes", received.len());
            if ended.is_err() {
                assert!(server.is_closed() && server.is_closing());
                cut += 1;
            }
        });
    }
    assert!(cut > 5, "only {cut} were cut");
}
