//! Connecting to a host that has several addresses: a small Happy Eyeballs (RFC 8305).

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::Poll;

use ringtide_driver::Address;

use crate::error::Error;
use crate::runtime::{self, Timer};
use crate::stream::Stream;

/// How long an attempt has for itself before the next one starts beside it (RFC 8305 §5).
const CONNECTION_ATTEMPT_DELAY_NS: u64 = 250_000_000;

type Attempt<'a> = (&'a Address, Pin<Box<dyn Future<Output = io::Result<Stream>> + 'a>>);

/// Tries `addresses` in order: the next one when one has failed or is slow. The first that connects is taken, the others
/// are given up. Cancel-safe.
///
/// # Errors
/// [`Error::Connect`] with the last failure when all have failed.
///
/// # Panics
/// When `addresses` is empty.
pub(super) async fn connect(addresses: &[Address]) -> Result<Stream, Error> {
    let mut untried = addresses.iter();
    let mut attempts: Vec<Attempt<'_>> = Vec::with_capacity(1);
    let mut failure = None;
    let mut delay = Timer::new();
    poll_fn(|context| {
        loop {
            if attempts.is_empty() || delay.poll_elapsed(context).is_ready() {
                if let Some(address) = untried.next() {
                    attempts.push((address, Box::pin(Stream::connect(address))));
                    delay.set(runtime::now_ns().saturating_add(CONNECTION_ATTEMPT_DELAY_NS));
                } else if attempts.is_empty() {
                    let (address, source): (&Address, _) =
                        failure.take().expect("there is an address to try");
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
                    // The next one need not wait for its time.
                    delay.set(0);
                    if !attempts.is_empty() {
                        if let Some(address) = untried.next() {
                            attempts.push((address, Box::pin(Stream::connect(address))));
                        }
                        delay.set(runtime::now_ns().saturating_add(CONNECTION_ATTEMPT_DELAY_NS));
                    }
                }
                None if delay.poll_elapsed(context).is_ready() => {}
                None => return Poll::Pending,
            }
        }
    })
    .await
}
