//! What arrives, in which pieces, and what a read that is dropped leaves.

use std::io;

use futures_util::future::join;
use ringtide::stream::{IncompleteRead, LimitExceeded};
use ringtide_driver::sim::Faults;

use crate::{on_all, pattern, poll_and_drop};

/// Sizes around those of a receive buffer, a TLS record with and without its overhead, and several of them.
const SIZES: [usize; 16] = [
    1, 5, 1_000, 4_095, 4_096, 4_097, 16_383, 16_384, 16_385, 16_406, 16_407, 32_768, 32_769, 40_000, 65_537,
    200_000,
];

#[test]
fn bytes_of_all_sizes_arrive_in_order() {
    on_all(async |mut client, mut server, _| {
        let write = async {
            for (number, size) in SIZES.into_iter().enumerate() {
                client.write_all(&pattern(number, size)).await.unwrap();
            }
            client.shutdown().await.unwrap();
        };
        let read = async {
            for (number, size) in SIZES.into_iter().enumerate() {
                let mut bytes = vec![0; size];
                server.read_exact(&mut bytes).await.unwrap();
                assert!(bytes == pattern(number, size), "{size} bytes");
            }
            assert!(server.receive().await.unwrap().is_none());
            assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
            assert!(!server.fill().await.unwrap());
        };
        join(write, read).await;
    });
}

#[test]
fn a_read_takes_what_is_there_and_no_more_than_fits() {
    on_all(async |mut client, mut server, _| {
        client.send("abcdef").await.unwrap();
        assert_eq!(server.read(&mut []).await.unwrap(), 0);
        let mut bytes = Vec::new();
        while bytes.len() < 6 {
            let mut buffer = [0; 4];
            let size = server.read(&mut buffer).await.unwrap();
            assert!((1..=4).contains(&size), "{size}");
            bytes.extend_from_slice(&buffer[..size]);
        }
        assert_eq!(bytes, b"abcdef");
    });
}

#[test]
fn lines_and_delimiters_are_found_however_they_arrive() {
    let text = b"one\r\ntwo\n\n\rthree\r\n--a-b--c--";
    on_all(async |mut client, mut server, _| {
        let write = async {
            for byte in text {
                client.send(vec![*byte]).await.unwrap();
            }
            client.send(&text[..]).await.unwrap();
            client.close().await.unwrap();
        };
        let read = async {
            for _ in 0..2 {
                for line in [&b"one"[..], b"two", b"", b"\rthree"] {
                    assert_eq!(&*server.read_line(100).await.unwrap().unwrap(), line);
                }
                for part in [&b"--"[..], b"a-b--", b"c--"] {
                    assert_eq!(&*server.read_until(b"--", 100).await.unwrap(), part);
                }
            }
            assert!(server.read_line(100).await.unwrap().is_none());
        };
        join(write, read).await;
    });
}

#[test]
fn a_limit_keeps_the_bytes() {
    on_all(async |mut client, mut server, _| {
        client.send("123456\nrest\n").await.unwrap();
        for _ in 0..2 {
            let error = server.read_line(6).await.unwrap_err();
            assert_eq!(LimitExceeded::of_io(&error).unwrap().size_max, 6);
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(IncompleteRead::of_io(&error).is_none());
        }
        assert!(server.buffered().starts_with(b"123456"));
        assert_eq!(&*server.read_line(7).await.unwrap().unwrap(), b"123456");
        // Without any delimiter in sight.
        while server.buffered().len() < 5 {
            server.fill().await.unwrap();
        }
        let error = server.read_until(b"x", 5).await.unwrap_err();
        assert!(LimitExceeded::of_io(&error).is_some(), "{error}");
        assert_eq!(&*server.read_line(5).await.unwrap().unwrap(), b"rest");
    });
}

#[test]
fn an_early_end_has_the_partial_bytes() {
    on_all(async |mut client, mut server, _| {
        client.write_all(b"abc").await.unwrap();
        client.shutdown().await.unwrap();
        let error = server.read_exact(&mut [0; 5]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let cut = IncompleteRead::of_io(&error).unwrap();
        assert_eq!((&cut.partial[..], cut.expected), (&b"abc"[..], Some(5)));
        assert_eq!(error.to_string(), "the stream has ended after 3 of 5 bytes");
        let error = server.read_exact(&mut [0; 5]).await.unwrap_err();
        assert!(IncompleteRead::of_io(&error).unwrap().partial.is_empty());
        assert!(server.read_line(5).await.unwrap().is_none());
        // In the other direction: a line without its end.
        server.write_all(b"line").await.unwrap();
        server.shutdown().await.unwrap();
        let error = client.read_line(100).await.unwrap_err();
        let cut = IncompleteRead::of_io(&error).unwrap();
        assert_eq!((&cut.partial[..], cut.expected), (&b"line"[..], None));
        let error = client.read_until(b"\n", 100).await.unwrap_err();
        assert!(IncompleteRead::of_io(&error).unwrap().partial.is_empty());
    });
}

/// Each read is dropped while it waits, again and again, while its bytes arrive one by one.
#[test]
fn a_dropped_read_loses_nothing() {
    let text = b"exactly8line\r\nuntil;";
    on_all(async |mut client, mut server, _| {
        for round in 0..text.len() {
            let arrived = server.buffered().len();
            assert_eq!(arrived, round);
            // All but those that are content with what is there.
            if round < 8 {
                poll_and_drop(server.read_exact(&mut [0; 8]));
            }
            if round < 14 {
                poll_and_drop(server.read_line(100));
            }
            if round < text.len() {
                poll_and_drop(server.read_until(b";", 100));
                poll_and_drop(server.fill());
            }
            if round == 0 {
                poll_and_drop(server.read(&mut [0; 8]));
                poll_and_drop(server.receive());
            }
            client.send(vec![text[round]]).await.unwrap();
            assert!(server.fill().await.unwrap());
        }
        let mut exact = [0; 8];
        server.read_exact(&mut exact).await.unwrap();
        assert_eq!(&exact, b"exactly8");
        assert_eq!(&*server.read_line(100).await.unwrap().unwrap(), b"line");
        assert_eq!(&*server.read_until(b";", 100).await.unwrap(), b"until;");
        assert!(server.buffered().is_empty());
    });
}

#[test]
fn a_codec_takes_bytes_where_they_lie() {
    on_all(async |mut client, mut server, _| {
        client.send("headbody").await.unwrap();
        while server.buffered().len() < 8 {
            assert!(server.fill().await.unwrap());
        }
        server.consume(2);
        let taken = server.take(2);
        assert_eq!((&*taken, server.buffered()), (&b"ad"[..], &b"body"[..]));
        let none = server.take(0);
        assert!(none.is_empty());
        assert_eq!(&*server.receive().await.unwrap().unwrap(), b"body");
        assert!(server.buffered().is_empty());
    });
}

#[test]
#[should_panic(expected = "consume 3 of 2 bytes")]
fn what_has_not_arrived_cannot_be_consumed() {
    crate::Carrier { seed: Some(0), tls: None }.worker(Faults::default()).block_on(async {
        let (mut client, mut server) = crate::Carrier { seed: Some(0), tls: None }.pair().await;
        client.send("ab").await.unwrap();
        server.fill().await.unwrap();
        server.consume(3);
    });
}
