//! How a worker may spin: the choice of its user.

/// Whether a worker may spin instead of sleeping in the kernel, and for how long.
///
/// Without spinning, a wake-up from the kernel comes tens of microseconds late. A worker that may spin does so in two
/// cases: before the deadlines of [precise](super::Timer::precise) timers, and while a peer is expected to send
/// something soon.
///
/// A peer is expected to send from the moment when something was sent to it until something of it is received; in the
/// middle of an answer, as long as the client waits for the rest. For a client these are its requests in flight. For a
/// server it is the next request of a client that was just answered. While nothing is expected, the worker sleeps.
///
/// Spinning takes the whole core. It is for workers that have a core of their own, and it is up to the caller to leave a
/// core to the peer if both are on the same machine: [`Learnt`](Self::Learnt) notices a core that it shares only after
/// some milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spin {
    /// Never spin. The core is left to others.
    #[default]
    Off,
    /// Spin for this many nanoseconds before a deadline, and for at most as long after the last send or receive while
    /// a peer is expected to send, whatever experience says.
    For(u64),
    /// Spin for as long as experience says that it helps.
    ///
    /// - Before a deadline: as long as recent wake-ups were late, at most 200 µs.
    /// - While a peer is expected to send: at most 2 ms a time, as long as most of the recent waits were shorter
    ///   than this, and at most 8 connections are waited for. With more, their bytes come in batches, and a wake-up is
    ///   shared by many.
    /// - Not for a while (100 ms, up to 1.6 s if it stays so) after the thread has waited more than an eighth of 20 ms for
    ///   its core because others had it, where the system tells (Linux: `/proc/thread-self/schedstat`).
    Learnt,
}

/// On the simulated network, a message takes 10 µs, and a look at the driver 1 µs of virtual time.
#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::time::Duration;

    use bytes::Bytes;
    use ringtide_driver::sim::{Sim, SimOptions};

    use super::super::driver::AnyDriver;
    use super::super::worker::Worker;
    use super::Spin;
    use crate::client::HttpVersion;
    use crate::limits::ANSWER_SPIN_NS_MAX;
    use crate::runtime;
    use crate::stream::{Listener, Stream};
    use crate::{Address, Client, ClientOptions, Connection, ConnectionOptions, PreparedRequest};

    const MILLISECOND_NS: u64 = 1_000_000;

    /// Runs `main` on a simulated worker. Returns the virtual time that it took, and the part that was spun.
    fn spun<F: Future<Output = ()>>(spin: Spin, main: F) -> (u64, u64) {
        let sim = AnyDriver::Sim(Sim::new(SimOptions::default()));
        let mut worker = Worker::over(sim, spin, None).expect("a simulation only needs memory");
        let elapsed_ns = worker.block_on(async {
            let start_ns = runtime::now_ns();
            main.await;
            runtime::now_ns() - start_ns
        });
        (elapsed_ns, worker.statistics().spin_ns)
    }

    /// A stream to a peer that answers each byte with a byte, after `delay`.
    async fn peer(delay: Duration) -> Stream {
        let mut listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), false).unwrap();
        let address = listener.local_address().unwrap();
        runtime::spawn(async move {
            while let Ok(mut stream) = listener.accept().await {
                runtime::spawn(async move {
                    while let Ok(1..) = stream.read(&mut [0]).await {
                        if !delay.is_zero() {
                            runtime::sleep(delay).await;
                        }
                        stream.send("a").await.unwrap();
                    }
                });
            }
        });
        Stream::connect(&address).await.unwrap()
    }

    async fn ask(stream: &mut Stream) {
        stream.send("q").await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 1);
    }

    /// `count` questions, one at a time.
    async fn exchange(count: usize, delay: Duration) {
        let mut stream = peer(delay).await;
        for _ in 0..count {
            ask(&mut stream).await;
        }
    }

    #[test]
    fn answers_that_come_soon_are_spun_for() {
        for delay_us in [0, 100] {
            let (elapsed_ns, spun_ns) = spun(Spin::Learnt, exchange(200, Duration::from_micros(delay_us)));
            assert!(elapsed_ns >= 200 * (20 + delay_us) * 1_000, "{elapsed_ns} ns");
            assert!(spun_ns > elapsed_ns / 2, "{spun_ns} of {elapsed_ns} ns after {delay_us} µs each");
        }
    }

    #[test]
    fn slow_answers_are_slept_for() {
        let exchange = async {
            let mut stream = peer(Duration::from_millis(50)).await;
            for _ in 0..200 {
                ask(&mut stream).await;
                // The server is on the same worker. It should not have its next question soon either.
                runtime::sleep(Duration::from_millis(1)).await;
            }
        };
        let (elapsed_ns, spun_ns) = spun(Spin::Learnt, exchange);
        assert!(elapsed_ns >= 200 * 50 * MILLISECOND_NS, "{elapsed_ns} ns");
        assert!((1..=15 * ANSWER_SPIN_NS_MAX).contains(&spun_ns), "{spun_ns} ns");
    }

    #[test]
    fn a_worker_with_nothing_in_flight_sleeps() {
        let idle = async {
            let mut stream = peer(Duration::ZERO).await;
            ask(&mut stream).await;
            let spun_ns = runtime::statistics().spin_ns;
            // The client expects nothing. The server expects the next question for a moment, and never again.
            for _ in 0..1_000 {
                runtime::sleep(Duration::from_millis(1)).await;
            }
            let spun_ns = runtime::statistics().spin_ns - spun_ns;
            assert!(spun_ns <= ANSWER_SPIN_NS_MAX, "{spun_ns} ns");
            // Fast answers are spun for again.
            for _ in 0..100 {
                ask(&mut stream).await;
            }
        };
        let (_, spun_ns) = spun(Spin::Learnt, idle);
        assert!(spun_ns > MILLISECOND_NS, "{spun_ns} ns of at least 2 ms");
    }

    #[test]
    fn a_given_time_bounds_each_wait() {
        const BOUND_NS: u64 = 50_000;
        let (_, spun_ns) = spun(Spin::For(BOUND_NS), exchange(200, Duration::from_millis(1)));
        // The client waits for each answer that long, the server for the next question less.
        assert!((200 * BOUND_NS * 9 / 10..=200 * BOUND_NS * 2).contains(&spun_ns), "{spun_ns} ns");
    }

    #[test]
    fn without_leave_nothing_is_spun() {
        let (_, spun_ns) = spun(Spin::Off, exchange(200, Duration::ZERO));
        assert_eq!(spun_ns, 0);
    }

    /// The head of the response comes at once, its body in pieces, 100 µs apart.
    async fn answer_in_pieces(mut listener: Listener, head: &[u8], pieces: &[&[u8]]) {
        let mut stream = listener.accept().await.unwrap();
        stream.read(&mut [0; 1024]).await.unwrap();
        stream.send(head.to_vec()).await.unwrap();
        for piece in pieces {
            runtime::sleep(Duration::from_micros(100)).await;
            stream.send(piece.to_vec()).await.unwrap();
        }
        // The server itself expects nothing more.
        stream.shutdown().await.unwrap();
    }

    const PIECES: usize = 20;
    type Answer = (&'static [u8], [&'static [u8]; PIECES]);
    const HTTP1: &Answer = &(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n", [b"x"; PIECES]);
    /// SETTINGS, and the HEADERS of the first stream (`:status: 200`); DATA frames, of which the last ends the stream.
    const HTTP2: &Answer = &{
        let mut pieces: [&[u8]; PIECES] = [b"\0\0\x01\0\0\0\0\0\x01x"; PIECES];
        pieces[PIECES - 1] = b"\0\0\x01\0\x01\0\0\0\x01x";
        (b"\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\x04\0\0\0\x01\x88", pieces)
    };

    /// Runs `read`, which reads the answer from the address that it gets. Most of the time must be spun.
    fn spins_for_all_of(answer: &'static Answer, read: impl AsyncFnOnce(&Address)) {
        let exchange = async {
            let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), false).unwrap();
            let address = listener.local_address().unwrap();
            let server = runtime::spawn(async move {
                answer_in_pieces(listener, answer.0, &answer.1).await;
            });
            read(&address).await;
            server.await.unwrap();
        };
        let (elapsed_ns, spun_ns) = spun(Spin::Learnt, exchange);
        assert!(elapsed_ns >= PIECES as u64 * 100_000, "{elapsed_ns} ns");
        assert!(spun_ns > elapsed_ns * 3 / 4, "{spun_ns} of {elapsed_ns} ns");
    }

    #[test]
    fn the_rest_of_an_answer_is_expected_too() {
        for (answer, version) in [(HTTP1, HttpVersion::Http1), (HTTP2, HttpVersion::Http2)] {
            spins_for_all_of(answer, async |address| {
                let stream = Stream::connect(address).await.unwrap();
                let options = ConnectionOptions::default().version(version);
                let mut connection = Connection::new(stream, &options);
                let request = http::Request::get("http://h/").body(Bytes::new()).unwrap();
                let mut response = connection.send(&PreparedRequest::new(&request).unwrap()).await.unwrap();
                let mut size = 0;
                while let Some(data) = response.data().await.unwrap() {
                    size += data.len();
                }
                assert_eq!(size, PIECES);
            });
        }
    }

    #[test]
    fn the_rest_of_an_answer_on_a_shared_connection_is_expected_too() {
        spins_for_all_of(HTTP2, async |address| {
            let client = Client::new(ClientOptions::default().http_version(HttpVersion::Http2));
            let response = client.get(&format!("http://{address}/")).await.unwrap();
            assert_eq!(response.into_body().bytes(100).await.unwrap().len(), PIECES);
        });
    }
}
