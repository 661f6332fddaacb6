//! The two halves of a stream, in two tasks.

use std::io;

use futures_util::future::join;
use ringtide::runtime;
use ringtide::stream::{ReadHalf, ReuniteError, WriteHalf};

use crate::{on_all, pattern, poll_and_drop};

const PIECES: usize = 60;
const PIECE_SIZE: usize = 9_000;

async fn write(mut half: WriteHalf) -> WriteHalf {
    for number in 0..PIECES {
        half.write_all(&pattern(number, PIECE_SIZE)).await.unwrap();
    }
    half.flush().await.unwrap();
    half
}

async fn read(mut half: ReadHalf) -> ReadHalf {
    for number in 0..PIECES {
        let mut bytes = vec![0; PIECE_SIZE];
        half.read_exact(&mut bytes).await.unwrap();
        assert!(bytes == pattern(number, PIECE_SIZE), "{number}");
    }
    half
}

#[test]
fn both_directions_flow_at_once_in_four_tasks() {
    on_all(async |client, server, _| {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        let writing_tasks = [client_write, server_write].map(|half| runtime::spawn(write(half)));
        let reading_tasks = [client_read, server_read].map(|half| runtime::spawn(read(half)));
        let mut reads = Vec::new();
        for reader in reading_tasks {
            reads.push(reader.await.unwrap());
        }
        let mut written = Vec::new();
        for writer in writing_tasks {
            written.push(writer.await.unwrap());
        }
        // Joined again, the streams work as before.
        let (server_read, server_write) = (reads.pop().unwrap(), written.pop().unwrap());
        let (client_read, client_write) = (reads.pop().unwrap(), written.pop().unwrap());
        let ReuniteError(client_read, server_write) = client_read.reunite(server_write).unwrap_err();
        let mut client = client_read.reunite(client_write).unwrap();
        let mut server = server_read.reunite(server_write).unwrap();
        client.send("once more").await.unwrap();
        client.shutdown().await.unwrap();
        let mut bytes = [0; 9];
        server.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"once more");
        assert!(server.receive().await.unwrap().is_none());
        server.close().await.unwrap();
        assert!(client.receive().await.unwrap().is_none());
    });
}

/// The halves keep what was buffered, and what was shut down.
#[test]
fn halves_keep_the_state_of_their_stream() {
    on_all(async |mut client, mut server, _| {
        client.send("line\nrest").await.unwrap();
        while server.buffered().len() < 9 {
            server.fill().await.unwrap();
        }
        let (mut reading, mut writing) = server.split();
        assert_eq!(&*reading.read_line(10).await.unwrap().unwrap(), b"line");
        assert_eq!(reading.buffered(), b"rest");
        reading.consume(1);
        assert_eq!(&*reading.take(1), b"e");
        assert!(!writing.is_closing());
        writing.write_vectored(&["an", "swer"]).await.unwrap();
        writing.shutdown().await.unwrap();
        assert!(writing.is_closing() && !writing.is_closed());
        let mut server = reading.reunite(writing).unwrap();
        assert_eq!(server.buffered(), b"st");
        assert!(server.is_closing());
        assert_eq!(server.write_all(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(&*client.read_until(b"r", 10).await.unwrap(), b"answer");
        assert!(!client.fill().await.unwrap());
    });
}

/// What is queued behind a send leaves while the other half reads, even if the writing half is idle, or gone.
#[test]
fn queued_bytes_leave_while_the_other_half_reads() {
    for keep in [true, false] {
        on_all(async |client, mut server, _| {
            let (mut reading, mut writing) = client.split();
            writing.set_watermarks(0, usize::MAX);
            for number in 0..PIECES {
                writing.write_all(&pattern(number, PIECE_SIZE)).await.unwrap();
            }
            assert!(writing.unsent_size() > 100_000, "it was sent before");
            // A writer that has given up waiting must not take the wake with it.
            poll_and_drop(writing.flush());
            let writing = keep.then_some(writing);
            let ask = runtime::spawn(async move {
                let mut answer = [0; 2];
                reading.read_exact(&mut answer).await.unwrap();
                assert_eq!(&answer, b"ok");
            });
            let answer = async {
                for number in 0..PIECES {
                    let mut bytes = vec![0; PIECE_SIZE];
                    server.read_exact(&mut bytes).await.unwrap();
                    assert!(bytes == pattern(number, PIECE_SIZE), "{number}");
                }
                server.send("ok").await.unwrap();
            };
            join(async { ask.await.unwrap() }, answer).await;
            drop(writing);
        });
    }
}

/// The reader waits already when the bytes are queued, and nobody waits for the send before them.
#[test]
fn queued_bytes_leave_while_the_other_half_reads_already() {
    on_all(async |client, mut server, _| {
        let (mut reading, mut writing) = client.split();
        let ask = runtime::spawn(async move {
            let mut answer = [0; 2];
            reading.read_exact(&mut answer).await.unwrap();
        });
        runtime::yield_now().await;
        runtime::yield_now().await;
        writing.write_all(&pattern(0, PIECE_SIZE)).await.unwrap();
        writing.write_all(&pattern(1, PIECE_SIZE)).await.unwrap();
        for number in 0..2 {
            let mut bytes = vec![0; PIECE_SIZE];
            server.read_exact(&mut bytes).await.unwrap();
            assert!(bytes == pattern(number, PIECE_SIZE), "{number}");
        }
        server.send("ok").await.unwrap();
        ask.await.unwrap();
        drop(writing);
    });
}

#[test]
fn a_half_alone_still_works() {
    on_all(async |client, server, _| {
        let (client_read, mut client_write) = client.split();
        let (mut server_read, server_write) = server.split();
        drop(client_read);
        drop(server_write);
        client_write.send("abc").await.unwrap();
        client_write.shutdown().await.unwrap();
        assert_eq!(&*server_read.read_until(b"c", 3).await.unwrap(), b"abc");
        assert!(server_read.receive().await.unwrap().is_none());
    });
}
