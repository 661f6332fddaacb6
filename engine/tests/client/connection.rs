//! A connection used by itself, over a simulated network: what its documentation says of dropped futures and refused bodies.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use ringtide::error::RequestError;
use ringtide::runtime::{self, JoinHandle, Worker};
use ringtide::stream::{Listener, Stream};
use ringtide::{Address, Connection, Error, PreparedRequest};
use ringtide_driver::sim::{Sim, SimOptions};

/// Much more than the sockets between the two hold.
const BODY_SIZE: usize = 200_000;

/// Runs `main` with a connection and its peer. That one reads nothing for a second; then everything until `end` comes, answers
/// with `answer`, and gives what it has read, and the stream, which is open until then.
fn with_peer(
    end: &'static [u8],
    answer: Vec<u8>,
    main: impl AsyncFnOnce(Connection, JoinHandle<(Vec<u8>, Stream)>),
) {
    let sim = Sim::new(SimOptions { socket_buffer_size: 10_000, ..SimOptions::default() });
    Worker::simulated(sim).unwrap().block_on(async {
        let mut listener = Listener::bind(&Address::Tcp("127.0.0.1:80".parse().unwrap()), false).unwrap();
        let address = listener.local_address().unwrap();
        let peer = runtime::spawn(async move {
            let mut stream = listener.accept().await.unwrap();
            runtime::sleep(Duration::from_secs(1)).await;
            let mut read = Vec::new();
            while !read.ends_with(end) {
                let Some(lease) = stream.receive().await.unwrap() else { return (read, stream) };
                read.extend_from_slice(&lease);
            }
            stream.send(answer).await.unwrap();
            (read, stream)
        });
        main(Connection::connect(&address).await.unwrap(), peer).await;
    });
}

fn streamed(length: Option<u64>) -> PreparedRequest {
    PreparedRequest::with_streamed_body(&Request::post("http://h/").body(()).unwrap(), length).unwrap()
}

/// Polls `future` once, which is not ready by then, and drops it.
async fn begin(future: impl Future) {
    let mut future = pin!(future);
    poll_fn(|context| {
        assert!(future.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
}

#[test]
fn a_dropped_end_of_a_body_is_sent_all_the_same() {
    for again in [false, true] {
        let answer = b"HTTP/1.1 204 No Content\r\n\r\n".to_vec();
        with_peer(b"0\r\n\r\n", answer, async move |mut connection, peer| {
            connection.start(&streamed(None)).unwrap();
            begin(connection.send_data(Bytes::from(vec![b'x'; BODY_SIZE]))).await;
            begin(connection.finish_body()).await;
            if again {
                connection.finish_body().await.unwrap();
            }
            assert_eq!(connection.response().await.unwrap().status(), 204);
            assert!(connection.is_reusable());
            let (read, _stream) = peer.await.unwrap();
            assert_eq!(read.split(|byte| *byte != b'x').map(<[u8]>::len).max(), Some(BODY_SIZE));
            assert_eq!(read.windows(5).filter(|bytes| bytes == b"0\r\n\r\n").count(), 1);
        });
    }
}

#[test]
fn what_was_read_of_a_body_that_is_too_large_is_lost_and_what_follows_is_not() {
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY_SIZE}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + BODY_SIZE, b'y');
    with_peer(b"\r\n\r\n", answer, async |mut connection, _peer| {
        let get = PreparedRequest::new(&Request::get("http://h/").body(Bytes::new()).unwrap()).unwrap();
        let mut response = connection.send(&get).await.unwrap();
        assert_eq!(response.body(1_000).await.unwrap(), None);
        let rest = response.body(BODY_SIZE).await.unwrap().expect("it is smaller");
        assert!((1..BODY_SIZE).contains(&rest.len()), "{}", rest.len());
        drop(response);
        assert!(connection.is_reusable());
    });
}

#[test]
fn a_body_of_another_length_than_announced_leaves_its_beginning_sent() {
    for (given, wanted) in [(11, (5, 11)), (0, (5, 0))] {
        with_peer(b"never", Vec::new(), async move |mut connection, peer| {
            connection.start(&streamed(Some(10))).unwrap();
            assert!(matches!(connection.start(&streamed(None)), Err(Error::Request(RequestError::Busy))));
            connection.send_data(Bytes::from_static(b"first")).await.unwrap();
            let error = match given {
                0 => connection.finish_body().await,
                size => connection.send_data(Bytes::from(vec![b'x'; size])).await,
            };
            match error {
                Err(Error::Request(RequestError::BodyLength { announced, given })) => {
                    assert_eq!((announced, given), wanted);
                }
                other => panic!("{other:?}"),
            }
            drop(connection);
            let read = String::from_utf8(peer.await.unwrap().0).unwrap();
            assert!(read.starts_with("POST / ") && read.ends_with("\r\n\r\nfirst"), "{read}");
        });
    }
}
