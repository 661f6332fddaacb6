//! With a peer that is rustls over blocking calls, and so can do what our own streams do not.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use ringtide::runtime::{self, Worker, WorkerOptions};
use ringtide::stream::Stream;
use ringtide::tls::{self, Version, rustls};

use crate::{pattern, tls as configs};

/// Accepts a client.
fn accept(mut socket: &UnixStream) -> rustls::ServerConnection {
    let mut session = rustls::ServerConnection::new(Arc::clone(configs(Version::Tls13).1.config())).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut socket).unwrap();
    }
    session
}

async fn connect(socket: UnixStream) -> Stream {
    let stream = Stream::adopt(socket.into()).unwrap();
    let mut stream = stream.start_tls("localhost", &configs(Version::Tls13).0).await.unwrap();
    stream.flush().await.unwrap();
    stream
}

fn run(main: impl Future<Output = ()>) {
    let limited = runtime::timeout(Duration::from_secs(10), main);
    Worker::new(&WorkerOptions::default()).unwrap().block_on(limited).expect("it hangs");
}

/// A record that cannot be decrypted arrives while a send is in flight. The reader has to send an alert, and waits for
/// the same send as the writer.
#[test]
fn a_reader_that_has_to_send_leaves_the_writer_its_wake() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    socket2::SockRef::from(&ours).set_send_buffer_size(4096).unwrap();
    let (go_on, may_read) = mpsc::channel::<()>();
    let peer = thread::spawn(move || {
        drop(accept(&theirs));
        theirs.write_all(b"\x17\x03\x03\x00\x20 this is not a record of ours. 32").unwrap();
        may_read.recv().unwrap();
        theirs.read_to_end(&mut Vec::new()).unwrap()
    });
    run(async {
        let (mut reading, mut writing) = connect(ours).await.split();
        let writer = runtime::spawn(async move {
            writing.write_all(&pattern(0, 100_000)).await.unwrap();
            writing.flush().await
        });
        let reader = runtime::spawn(async move { reading.receive().await.unwrap_err() });
        // Until both wait for the send.
        runtime::sleep(Duration::from_millis(100)).await;
        assert!(!writer.is_finished() && !reader.is_finished());
        go_on.send(()).unwrap();
        // Whether the bytes behind the alert can still be sent does not matter here.
        let _ = writer.await.unwrap();
        let error = reader.await.unwrap();
        assert!(tls::Error::of_io(&error).is_some(), "{error}");
    });
    // The handshake of the peer may have taken the first of them.
    assert!(peer.join().unwrap() > 80_000);
}

#[test]
fn a_key_update_is_answered() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let peer = thread::spawn(move || {
        let mut session = accept(&theirs);
        let mut socket = &theirs;
        for number in 0..5 {
            session.refresh_traffic_keys().unwrap();
            let mut stream = rustls::Stream::new(&mut session, &mut socket);
            stream.write_all(&pattern(number, 20_000)).unwrap();
            let mut answer = vec![0; 20_000];
            stream.read_exact(&mut answer).unwrap();
            assert!(answer == pattern(number, 20_000));
        }
        session.send_close_notify();
        while session.wants_write() {
            session.write_tls(&mut socket).unwrap();
        }
        assert_eq!(rustls::Stream::new(&mut session, &mut socket).read(&mut [0]).unwrap(), 0, "close_notify");
    });
    run(async {
        let mut stream = connect(ours).await;
        for _ in 0..5 {
            let mut bytes = vec![0; 20_000];
            stream.read_exact(&mut bytes).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
        }
        assert!(stream.receive().await.unwrap().is_none());
        stream.close().await.unwrap();
    });
    peer.join().unwrap();
}

/// The stream ends at each byte of a record, and once in order.
#[test]
fn an_end_within_a_record_is_no_end() {
    for kept in 0..40 {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let peer = thread::spawn(move || {
            let mut session = accept(&theirs);
            session.writer().write_all(b"0123456789").unwrap();
            let mut records = Vec::new();
            while session.wants_write() {
                session.write_tls(&mut records).unwrap();
            }
            // Type, version and length, the content with its type, and the tag.
            let data = records.len() - (5 + 10 + 1 + 16);
            (&theirs).write_all(&records[..(data + kept).min(records.len())]).unwrap();
        });
        run(async {
            let mut stream = connect(ours).await;
            let mut bytes = Vec::new();
            let error: io::Error = loop {
                match stream.receive().await {
                    Ok(piece) => bytes.extend_from_slice(&piece.expect("no end in order")),
                    Err(error) => break error,
                }
            };
            assert_eq!(bytes, if kept < 32 { &b""[..] } else { b"0123456789" });
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            assert!(matches!(tls::Error::of_io(&error), Some(tls::Error::Truncated)), "{error}");
        });
        peer.join().unwrap();
    }
}
