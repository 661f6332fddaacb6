//! The features `futures-io` and `tokio`: crates of the ecosystem run on a stream, plain and with TLS.
//!
//! To run it: `cargo test -p ringtide --features futures-io,tokio --test stream_traits`.

use std::io::IoSlice;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::time::Duration;

use futures_util::future::join;
use futures_util::{SinkExt, StreamExt};
use ringtide::runtime::{self, Worker, WorkerOptions};
use ringtide::stream::Stream;
use ringtide::tls::{ClientTls, ClientTlsOptions, Identity, ServerTls, ServerTlsOptions, Trust};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::codec::{Framed, LinesCodec};

/// Runs `test` with the two ends of a stream: one that is plain, and one with TLS.
fn on_both(test: impl AsyncFn(Stream, Stream)) {
    let identity = Identity::self_signed(&["localhost"]).unwrap();
    let server_tls = ServerTls::new(&ServerTlsOptions::default().identity(identity.clone())).unwrap();
    let options = ClientTlsOptions::default().trust(Trust::Given).authorities(identity.chain().to_vec());
    let client_tls = ClientTls::new(&options).unwrap();
    for secure in [false, true] {
        Worker::new(&WorkerOptions::default()).unwrap().block_on(async {
            let run = async {
                let (client, server) = UnixStream::pair().unwrap();
                let mut client = Stream::adopt(client.into()).unwrap();
                let mut server = Stream::adopt(server.into()).unwrap();
                if secure {
                    let begin = async {
                        let mut client = client.start_tls("localhost", &client_tls).await.unwrap();
                        client.flush().await.unwrap();
                        client
                    };
                    let accept = async { server.accept_tls(&server_tls).await.unwrap() };
                    (client, server) = join(begin, accept).await;
                }
                assert_eq!(client.tls().is_some(), secure);
                test(client, server).await;
            };
            runtime::timeout(Duration::from_secs(20), run).await.expect("it hangs");
        });
    }
}

#[test]
fn a_websocket_of_tungstenite_runs_on_a_stream() {
    let sizes = [0, 1, 125, 126, 16_384, 65_536, 300_000];
    on_both(async |client, server| {
        let serve = async {
            let mut socket = tokio_tungstenite::accept_async(server).await.unwrap();
            while let Some(message) = socket.next().await {
                match message.unwrap() {
                    Message::Binary(bytes) => socket.send(Message::Binary(bytes)).await.unwrap(),
                    Message::Close(_) => break,
                    other => panic!("{other:?}"),
                }
            }
            // RFC 6455 §7.1.1: the server closes first. The flush sends the answer to the closing frame.
            socket.flush().await.unwrap();
            socket.into_inner().close().await.unwrap();
        };
        let ask = async {
            let (mut socket, response) =
                tokio_tungstenite::client_async("ws://localhost/chat", client).await.unwrap();
            assert_eq!(response.status(), 101);
            for size in sizes {
                let message = Message::binary((0..size).map(|at| at as u8).collect::<Vec<_>>());
                socket.send(message.clone()).await.unwrap();
                assert!(socket.next().await.unwrap().unwrap() == message, "{size}");
            }
            socket.close(None).await.unwrap();
            while let Some(message) = socket.next().await {
                assert!(
                    matches!(message, Ok(Message::Close(_)) | Err(Error::ConnectionClosed)),
                    "{message:?}"
                );
            }
        };
        join(serve, ask).await;
    });
}

#[test]
fn a_codec_of_tokio_util_runs_on_a_stream() {
    on_both(async |client, server| {
        let (mut client, mut server) =
            (Framed::new(client, LinesCodec::new()), Framed::new(server, LinesCodec::new()));
        let write = async {
            for number in 0..20_000 {
                client.feed(format!("line {number}")).await.unwrap();
            }
            SinkExt::<String>::close(&mut client).await.unwrap();
        };
        let read = async {
            for number in 0..20_000 {
                assert_eq!(server.next().await.unwrap().unwrap(), format!("line {number}"));
            }
            assert!(server.next().await.is_none());
        };
        join(write, read).await;
    });
}

#[test]
fn copies_of_both_crates_move_all_bytes() {
    let bytes: Vec<u8> = (0..1_000_000_usize).map(|at| (at * 7 + at / 251) as u8).collect();
    on_both(async |mut client, mut server| {
        let write = async {
            tokio::io::copy(&mut &bytes[..], &mut client).await.unwrap();
            futures_util::io::copy(&bytes[..], &mut client).await.unwrap();
            tokio::io::AsyncWriteExt::shutdown(&mut client).await.unwrap();
        };
        let read = async {
            let mut first = vec![0; 1_000_000];
            tokio::io::AsyncReadExt::read_exact(&mut server, &mut first).await.unwrap();
            let mut rest = Vec::new();
            futures_util::AsyncReadExt::read_to_end(&mut server, &mut rest).await.unwrap();
            assert!(first == bytes && rest == bytes);
        };
        join(write, read).await;
        futures_util::AsyncWriteExt::close(&mut server).await.unwrap();
    });
}

#[test]
fn buffered_reads_and_vectored_writes_work_by_both_traits() {
    on_both(async |mut client, mut server| {
        let parts = [IoSlice::new(b"one\n"), IoSlice::new(b""), IoSlice::new(b"two\nthree")];
        let count = std::future::poll_fn(|context| {
            tokio::io::AsyncWrite::poll_write_vectored(Pin::new(&mut client), context, &parts)
        });
        assert_eq!(count.await.unwrap(), 13);
        let count = std::future::poll_fn(|context| {
            futures_util::AsyncWrite::poll_write_vectored(Pin::new(&mut client), context, &parts)
        });
        assert_eq!(count.await.unwrap(), 13);
        tokio::io::AsyncWriteExt::flush(&mut client).await.unwrap();
        assert_eq!(client.unsent_size(), 0);
        futures_util::AsyncWriteExt::flush(&mut client).await.unwrap();
        drop(client.close().await);
        let (mut line, mut text) = (String::new(), String::new());
        tokio::io::AsyncBufReadExt::read_line(&mut server, &mut line).await.unwrap();
        assert_eq!(line, "one\n");
        line.clear();
        futures_util::AsyncBufReadExt::read_line(&mut server, &mut line).await.unwrap();
        assert_eq!(line, "two\n");
        tokio::io::AsyncReadExt::read_to_string(&mut server, &mut text).await.unwrap();
        assert_eq!(text, "threeone\ntwo\nthree");
    });
}
