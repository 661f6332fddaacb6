//! Many connections that are dropped in the middle of everything leave memory and descriptors where they were.
//!
//! `STREAM_CYCLES` is the number of connections (default: 3,000). It stands alone in its process, whose memory it counts.

#![cfg(target_os = "linux")]

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use ringtide::Address;
use ringtide::runtime::{self, Worker, WorkerOptions};
use ringtide::stream::{Listener, Stream};
use ringtide::tls::{ClientTls, ClientTlsOptions, Identity, ServerTls, ServerTlsOptions, Trust};
use ringtide_driver::allocator::CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

/// Polls `future` up to `count_max` times, then drops it.
async fn polls<F: Future>(count_max: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut count = 0;
    poll_fn(|context| {
        if count == count_max {
            return Poll::Ready(None);
        }
        count += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            // The next wake may be the last chance to drop it.
            Poll::Pending if count == count_max => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

async fn ask(address: &Address, tls: &ClientTls, size: usize) -> io::Result<()> {
    let mut stream = Stream::connect_tls(address, "localhost", tls).await?;
    stream.write_all(&vec![1; size]).await?;
    stream.read_exact(&mut vec![0; size]).await?;
    stream.close().await
}

async fn answer(stream: Stream, tls: ServerTls) -> io::Result<()> {
    let (mut reading, mut writing) = stream.accept_tls(&tls).await?.split();
    while let Some(bytes) = reading.receive().await? {
        writing.write_all(&bytes).await?;
    }
    writing.shutdown().await
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn dropped_connections_leave_nothing_behind() {
    let cycles = std::env::var("STREAM_CYCLES").map_or(3_000, |count| count.parse().unwrap());
    let identity = Identity::self_signed(&["localhost"]).unwrap();
    let server_tls =
        ServerTls::new(&ServerTlsOptions::default().identity(identity.clone()).sessions_max(16)).unwrap();
    let options = ClientTlsOptions::default()
        .trust(Trust::Given)
        .authorities(identity.chain().to_vec())
        .sessions_max(16);
    let client_tls = ClientTls::new(&options).unwrap();
    let path = std::env::temp_dir().join(format!("ringtide-cycles-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    Worker::new(&WorkerOptions::default()).unwrap().block_on(async {
        let address = Address::Unix(path.clone());
        let mut listener = Listener::bind(&address, false).unwrap();
        let open = Rc::new(Cell::new(0));
        let acceptor = runtime::spawn({
            let open = Rc::clone(&open);
            async move {
                loop {
                    let stream = listener.accept().await.unwrap();
                    let (tls, open) = (server_tls.clone(), Rc::clone(&open));
                    open.set(open.get() + 1);
                    runtime::spawn(async move {
                        // Ends in order or with an error, as soon as the client is gone.
                        let _ = answer(stream, tls).await;
                        open.set(open.get() - 1);
                    });
                }
            }
        });
        let mut complete = 0;
        let mut cycle = async |number: usize| {
            // Dropped while it connects, at each step of the handshake, while bytes flow, or not at all.
            let size = [10, 100_000, 1_000_000][number % 3];
            let asked = polls(number % 13 + 1, ask(&address, &client_tls, size)).await;
            complete += usize::from(matches!(asked, Some(Ok(()))));
            while open.get() > 0 {
                runtime::yield_now().await;
            }
        };
        let mut number = 0;
        // What is allocated once: tables, caches, pools.
        while number < 500 {
            cycle(number).await;
            number += 1;
        }
        let settle = async || {
            while runtime::sockets_closing() > 0 || open.get() > 0 {
                runtime::sleep(std::time::Duration::from_millis(10)).await;
            }
            runtime::sleep(std::time::Duration::from_millis(50)).await;
            (descriptors(), ALLOCATOR.live_bytes())
        };
        let before = settle().await;
        while number < 500 + cycles {
            cycle(number).await;
            number += 1;
        }
        let after = settle().await;
        println!("{cycles} cycles, {complete} complete; descriptors and bytes {before:?}, then {after:?}");
        assert!(complete > cycles / 50 && complete < cycles * 4 / 5, "{complete} of {cycles} were complete");
        assert_eq!(after.0, before.0, "descriptors");
        // Caches are not always equally full. A leak of 20 bytes per connection would be more.
        assert!(after.1 <= before.1 + 60_000, "{before:?} {after:?}");
        acceptor.abort();
    });
    std::fs::remove_file(path).unwrap();
}
