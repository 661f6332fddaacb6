//! What a worker does with connections when it is idle, when it ends, and when the kernel refuses a send.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::task::Poll;
use std::time::Duration;

use ringtide::runtime::{self, DriverChoice, Worker, WorkerOptions};
use ringtide::stream::Stream;
use ringtide::{Connection, ConnectionOptions, PreparedRequest};

use super::worker;

/// Completes an exchange over `ours`. Then leaves the connection open until the peer, which holds `theirs`, closes it.
async fn leave_to_peer(ours: UnixStream, mut theirs: &UnixStream) {
    theirs.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let stream = Stream::adopt(OwnedFd::from(ours)).unwrap();
    let mut connection = Connection::new(stream, &ConnectionOptions::default());
    theirs.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    let request = http::Request::get("http://localhost/").body(bytes::Bytes::new()).unwrap();
    let request = PreparedRequest::new(&request).unwrap();
    connection.send(&request).await.unwrap().discard().await.unwrap();
    connection.close_after_peer();
}

#[test]
fn a_connection_left_to_its_peer_is_closed_with_the_worker() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut worker = worker();
    worker.block_on(leave_to_peer(ours, &theirs));
    drop(worker);
    theirs.read_to_end(&mut Vec::new()).expect("the peer sees the end after the worker was dropped");
}

#[test]
fn a_connection_left_to_its_peer_is_closed_in_time_by_an_idle_worker() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let outcome = worker().block_on(async {
        leave_to_peer(ours, &theirs).await;
        let (sender, receiver) = mpsc::channel();
        let mut reader = Some((theirs, sender));
        poll_fn(|context| {
            if let Some((mut theirs, sender)) = reader.take() {
                let waker = context.waker().clone();
                std::thread::spawn(move || {
                    sender.send(theirs.read_to_end(&mut Vec::new())).unwrap();
                    waker.wake();
                });
            }
            // Only this wake makes the worker run. It comes when the peer has seen the end, or when its read has timed
            // out.
            receiver.try_recv().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    });
    outcome.expect("the peer sees the end although the worker is idle");
}

/// The peer resets the connection before the request starts, so the kernel accepts none of it, and there is no time of
/// sending. The second request is sent before the connection ends, and has such a time.
#[test]
fn a_request_that_the_kernel_refused_has_no_time_of_sending() {
    for driver in [DriverChoice::Auto, DriverChoice::Fallback] {
        for pipelining in [false, true] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap().into();
            let request = http::Request::get("http://h/").body(bytes::Bytes::new()).unwrap();
            let request = PreparedRequest::new(&request).unwrap().leak();
            let mut worker = Worker::new(&WorkerOptions { driver, ..WorkerOptions::default() }).unwrap();
            worker.block_on(async {
                let options = ConnectionOptions::default().pipelining(pipelining);
                let mut connection = Connection::new(Stream::connect(&address).await.unwrap(), &options);
                let (peer, _) = listener.accept().unwrap();
                socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
                drop(peer);
                let id = connection.start(&request).unwrap();
                connection.response().await.unwrap_err();
                assert_eq!(connection.in_flight_sent_ns().collect::<Vec<_>>(), [(id, None)], "{driver}");

                let mut connection = Connection::new(Stream::connect(&address).await.unwrap(), &options);
                let (mut peer, _) = listener.accept().unwrap();
                let before_ns = runtime::now_ns();
                connection.start(&request).unwrap();
                let mut bytes = vec![0; request.bytes().len()];
                // Makes the connection submit the request. The peer closes after it has received it.
                poll_fn(|context| {
                    assert!(connection.poll_completion(context).is_pending());
                    Poll::Ready(())
                })
                .await;
                runtime::yield_now().await;
                peer.read_exact(&mut bytes).unwrap();
                drop(peer);
                connection.response().await.unwrap_err();
                let sent_ns: Vec<_> = connection.in_flight_sent_ns().collect();
                assert!(matches!(sent_ns[..], [(_, Some(sent_ns))] if sent_ns >= before_ns), "{sent_ns:?}");
            });
        }
    }
}
