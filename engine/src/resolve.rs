//! Host name look-up with getaddrinfo(3), on a few threads beside the workers because it blocks.
//!
//! There is no cache and no resolver of our own. The system's configuration decides how names are resolved, and
//! getaddrinfo(3) does not report how long a result may be cached.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use crate::error::Error;
use crate::runtime::{BlockingHandle, BlockingPool, JoinError};

/// Maximum of concurrent look-ups, each on its own thread. Further look-ups wait. A waiting look-up whose future is
/// dropped is skipped.
pub const LOOKUP_THREADS_MAX: usize = 8;

/// Looks up the addresses of `host` and returns them with `port`, in the order to try them.
///
/// The order is that of the system (RFC 6724), with the address families alternating (RFC 8305 §4). If `host` is an IP
/// address, it is returned without a look-up. An IPv6 address may be in brackets.
///
/// This works on any executor. There is no timeout except the system's.
///
/// # Cancel safety
/// Cancel-safe. A dropped look-up that has already begun occupies one of [`LOOKUP_THREADS_MAX`] threads until the
/// system returns.
///
/// # Errors
/// [`Error::Resolve`] with the system's error. A host without addresses is an error too, so the result is never empty.
///
/// # Examples
/// ```
/// use ringtide::resolve;
/// use ringtide::runtime::{Worker, WorkerOptions};
///
/// let addresses = Worker::new(&WorkerOptions::default())?.block_on(resolve::lookup("127.0.0.1", 80))?;
/// assert_eq!(addresses, ["127.0.0.1:80".parse()?]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn lookup(host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = literal.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let failed = |source| Error::Resolve { host: host.to_owned(), source };
    let question = (host.to_owned(), port);
    let lookup = LOOKUPS.spawn(move || question.to_socket_addrs().map(Vec::from_iter));
    let addresses = AbortedOnDrop(lookup).outcome().await.map_err(failed)?;
    if addresses.is_empty() {
        return Err(failed(io::Error::new(io::ErrorKind::NotFound, "the host has no address")));
    }
    Ok(alternate(&addresses))
}

/// Alternates between the families, starting with that of the first address. Keeps the order within each family.
fn alternate(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut preferred, mut other): (VecDeque<_>, VecDeque<_>) =
        addresses.iter().copied().partition(|address| address.is_ipv6() == first_is_v6);
    let mut alternating = Vec::with_capacity(addresses.len());
    while let Some(address) = preferred.pop_front() {
        // getaddrinfo may return the same address once for each name of the host.
        if !alternating.contains(&address) {
            alternating.push(address);
        }
        if !other.is_empty() {
            std::mem::swap(&mut preferred, &mut other);
        }
    }
    alternating
}

static LOOKUPS: BlockingPool = BlockingPool::new("ringtide-lookup", LOOKUP_THREADS_MAX);

/// A look-up that is skipped if this is dropped before it begins.
struct AbortedOnDrop(BlockingHandle<io::Result<Vec<SocketAddr>>>);

impl AbortedOnDrop {
    async fn outcome(&mut self) -> io::Result<Vec<SocketAddr>> {
        match (&mut self.0).await {
            Ok(outcome) => outcome,
            Err(JoinError::NoThread(kind)) => Err(kind.into()),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

impl Drop for AbortedOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_alternate_and_nothing_is_doubled_or_lost() {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
        let given = parse(&["[::1]:1", "[::2]:1", "[::1]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        let expected = parse(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]);
        assert_eq!(alternate(&given), expected);
        assert_eq!(alternate(&given[4..]), given[4..]);
        assert_eq!(alternate(&[]), []);
    }
}
