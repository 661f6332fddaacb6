//! From a host's name to its addresses: getaddrinfo(3), which blocks, on a few threads beside the workers.
//!
//! No cache and no resolver of our own: what the system is configured to do is what happens, and how long an answer
//! may be kept is not told by it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use crate::error::Error;

/// Threads that look hosts up at the same time. Further look-ups wait; those that nobody waits for any more are skipped.
pub const LOOKUP_THREADS_MAX: usize = 8;

/// How long a thread stays when there is nothing to look up.
const THREAD_IDLE_MAX: Duration = Duration::from_secs(10);

/// The addresses of `host` with `port`, in the order to try them: the system's (RFC 6724), with the families
/// alternating (RFC 8305 §4). An IP address, an IPv6 one with or without its brackets, is its own answer and
/// costs nothing.
///
/// Works on any executor. Cancel-safe. There is no timeout of its own but the system's; a dropped look-up that has begun
/// occupies one of [`LOOKUP_THREADS_MAX`] threads until the system has given up.
///
/// ```
/// use ringtide::resolve;
/// use ringtide::runtime::{Worker, WorkerOptions};
///
/// let addresses = Worker::new(&WorkerOptions::default())?.block_on(resolve::lookup("127.0.0.1", 80))?;
/// assert_eq!(addresses, ["127.0.0.1:80".parse()?]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Resolve`], with what the system said; never an empty answer.
pub async fn lookup(host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = literal.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let failed = |source| Error::Resolve { host: host.to_owned(), source };
    let question = Arc::new(Question { host: host.to_owned(), port, state: Mutex::default() });
    QUEUE.push(&question).map_err(failed)?;
    let addresses = poll_fn(|context| {
        let mut state = lock(&question.state);
        if let Some(answer) = state.answer.take() {
            return Poll::Ready(answer);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    })
    .await
    .map_err(failed)?;
    if addresses.is_empty() {
        return Err(failed(io::Error::new(io::ErrorKind::NotFound, "the host has no address")));
    }
    Ok(alternate(&addresses))
}

/// One family after the other, beginning with that of the first address; the order within each stays.
fn alternate(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut preferred, mut other): (VecDeque<_>, VecDeque<_>) =
        addresses.iter().copied().partition(|address| address.is_ipv6() == first_is_v6);
    let mut alternating = Vec::with_capacity(addresses.len());
    while let Some(address) = preferred.pop_front() {
        // getaddrinfo may name an address once for each of the host's names.
        if !alternating.contains(&address) {
            alternating.push(address);
        }
        if !other.is_empty() {
            std::mem::swap(&mut preferred, &mut other);
        }
    }
    alternating
}

struct Question {
    host: String,
    port: u16,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    answer: Option<io::Result<Vec<SocketAddr>>>,
    waker: Option<Waker>,
}

static QUEUE: Queue = Queue {
    state: Mutex::new(QueueState { questions: VecDeque::new(), threads: 0, idle: 0 }),
    filled: Condvar::new(),
};

/// What waits to be looked up, and how many threads there are for it.
struct Queue {
    state: Mutex<QueueState>,
    filled: Condvar,
}

struct QueueState {
    /// Weak: whoever asked may have gone.
    questions: VecDeque<Weak<Question>>,
    threads: usize,
    idle: usize,
}

impl Queue {
    /// Queues a question, and starts a thread if none is free and there may be one more.
    fn push(&'static self, question: &Arc<Question>) -> io::Result<()> {
        let mut state = lock(&self.state);
        if state.idle <= state.questions.len() && state.threads < LOOKUP_THREADS_MAX {
            let started = thread::Builder::new().name("ringtide-lookup".to_owned()).spawn(|| self.work());
            match started {
                Ok(_) => state.threads += 1,
                // Those that run will come to it.
                Err(_) if state.threads > 0 => {}
                Err(error) => return Err(error),
            }
        }
        state.questions.push_back(Arc::downgrade(question));
        self.filled.notify_one();
        Ok(())
    }

    /// What a thread does: it ends after some time without work.
    fn work(&self) {
        let mut state = lock(&self.state);
        loop {
            if let Some(question) = state.questions.pop_front() {
                drop(state);
                if let Some(question) = question.upgrade() {
                    question.answer();
                }
                state = lock(&self.state);
                continue;
            }
            state.idle += 1;
            let (woken, timeout) = self
                .filled
                .wait_timeout_while(state, THREAD_IDLE_MAX, |state| state.questions.is_empty())
                .unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if timeout.timed_out() && state.questions.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

impl Question {
    fn answer(&self) {
        let answer = (self.host.as_str(), self.port).to_socket_addrs().map(Iterator::collect);
        let waker = {
            let mut state = lock(&self.state);
            state.answer = Some(answer);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
