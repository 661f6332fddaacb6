//! Connects to a host that has several addresses: a small Happy Eyeballs (RFC 8305).

use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::pin::Pin;
use std::task::Poll;

use ringtide_driver::Address;

use crate::error::Error;
use crate::runtime::{self, Timer};
use crate::stream::Stream;

/// Delay after which the next attempt starts beside a pending one (RFC 8305 §5).
const CONNECTION_ATTEMPT_DELAY_NS: u64 = 250_000_000;

type Attempt<'a> = (&'a Address, Pin<Box<dyn Future<Output = io::Result<Stream>> + 'a>>);

/// Connects to the first of `addresses` that accepts.
///
/// It tries them in order. It starts the next attempt when one has failed or is slow. The first attempt to connect
/// wins, and the others are dropped.
///
/// # Cancel safety
/// Cancel-safe: dropping the future drops all attempts.
///
/// # Errors
/// [`Error::Connect`] with the last failure, if all attempts failed.
///
/// # Panics
/// Panics if `addresses` is empty.
pub(super) async fn connect(addresses: &[Address]) -> Result<Stream, Error> {
    let mut untried = addresses.iter();
    let mut attempts: Vec<Attempt<'_>> = Vec::with_capacity(1);
    let mut failure = None;
    let mut delay = Timer::new();
    let mut next_is_due = true;
    poll_fn(|context| {
        loop {
            if mem::take(&mut next_is_due) || delay.poll_elapsed(context).is_ready() {
                if let Some(address) = untried.next() {
                    attempts.push((address, Box::pin(Stream::connect(address))));
                    delay.set(runtime::now_ns().saturating_add(CONNECTION_ATTEMPT_DELAY_NS));
                } else if attempts.is_empty() {
                    let (address, source): (&Address, _) = failure.take().expect("`addresses` is not empty");
                    return Poll::Ready(Err(Error::Connect { address: address.clone(), source }));
                } else {
                    delay.unset();
                }
            }
            let mut ended = None;
            for (index, (_, attempt)) in attempts.iter_mut().enumerate() {
                if let Poll::Ready(outcome) = attempt.as_mut().poll(context) {
                    ended = Some((index, outcome));
                    break;
                }
            }
            match ended {
                Some((_, Ok(stream))) => return Poll::Ready(Ok(stream)),
                Some((index, Err(error))) => {
                    failure = Some((attempts.remove(index).0, error));
                    next_is_due = true;
                }
                None if delay.poll_elapsed(context).is_ready() => {}
                None => return Poll::Pending,
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::runtime::{Worker, WorkerOptions};

    fn connect_to(addresses: &[SocketAddr]) -> (Result<Address, Error>, u64) {
        let addresses: Vec<_> = addresses.iter().copied().map(Address::Tcp).collect();
        Worker::new(&WorkerOptions::default()).unwrap().block_on(async {
            let start_ns = runtime::now_ns();
            let outcome = connect(&addresses).await.map(|stream| stream.peer_address().unwrap());
            (outcome, runtime::now_ns() - start_ns)
        })
    }

    fn refusing() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    #[test]
    fn the_next_address_is_tried_at_once_after_a_failure() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = listener.local_addr().unwrap();
        let (outcome, took_ns) = connect_to(&[refusing(), refusing(), there, refusing()]);
        assert_eq!(outcome.unwrap(), there.into());
        assert!(took_ns < CONNECTION_ATTEMPT_DELAY_NS, "{took_ns}");
    }

    #[test]
    fn the_next_address_is_tried_beside_one_that_does_not_answer() {
        // The accept queue is full, so the kernel drops further SYNs.
        let silent = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        silent.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        silent.listen(0).unwrap();
        let silent_address = silent.local_addr().unwrap().as_socket().unwrap();
        let _queued = TcpStream::connect(silent_address).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = listener.local_addr().unwrap();
        let (outcome, took_ns) = connect_to(&[silent_address, refusing(), there]);
        assert_eq!(outcome.unwrap(), there.into());
        assert!(took_ns >= CONNECTION_ATTEMPT_DELAY_NS, "{took_ns}");
    }

    #[test]
    fn the_last_failure_is_returned_when_all_fail() {
        let last = refusing();
        let error = connect_to(&[refusing(), last]).0.unwrap_err();
        assert!(matches!(error, Error::Connect { address, .. } if address == last.into()));
    }
}
