//! The ringtide subjects: streams for the plain bytes, [`Connection`] for the HTTP exchange.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use bytes::Bytes;
use ringtide::runtime::{self, DriverChoice, Worker, WorkerOptions};
use ringtide::stream::{Listener, Stream};
use ringtide::{Connection, ConnectionOptions, PreparedRequest};

use super::{Run, Script};

pub(crate) fn bytes(script: Script, connections: usize) -> Run {
    start(DriverChoice::Auto, script, connections, |stream| stream, ask)
}

#[cfg(target_os = "linux")]
pub(crate) fn bytes_on_io_uring(script: Script, connections: usize) -> Run {
    start(DriverChoice::IoUring, script, connections, |stream| stream, ask)
}

pub(crate) fn bytes_on_fallback(script: Script, connections: usize) -> Run {
    start(DriverChoice::Fallback, script, connections, |stream| stream, ask)
}

pub(crate) fn exchange(script: Script, connections: usize) -> Run {
    let request = http::Request::get("http://127.0.0.1/").body(Bytes::new()).expect("the request is sound");
    // The memory is never freed, as in a program that sends the same request as long as it runs.
    let request = PreparedRequest::new(&request).expect("the request is sound").leak();
    assert_eq!(request.bytes(), script.request);
    start(
        DriverChoice::Auto,
        script,
        connections,
        |stream| Connection::new(stream, &ConnectionOptions::default()),
        move |mut connection, _, count| {
            let request = request.clone();
            async move {
                for _ in 0..count {
                    let mut response = connection.send(&request).await.expect("the exchange succeeds");
                    assert_eq!(response.status(), 200);
                    response.discard().await.expect("the exchange succeeds");
                }
                connection
            }
        },
    )
}

async fn ask(mut stream: Stream, script: Script, count: u64) -> Stream {
    for _ in 0..count {
        stream.send(Bytes::from_static(script.request)).await.expect("the peer is there");
        let mut received = 0;
        while received < script.response.len() {
            let lease = stream.receive().await.expect("the peer is there").expect("the peer stays");
            received += lease.len();
        }
    }
    stream
}

async fn answer(mut stream: Stream, script: Script) -> io::Result<()> {
    let mut received = 0;
    while let Some(lease) = stream.receive().await? {
        received += lease.len();
        drop(lease);
        while received >= script.request.len() {
            received -= script.request.len();
            stream.send(Bytes::from_static(script.response)).await?;
        }
    }
    Ok(())
}

/// In each run, does `work` on all connections concurrently, and keeps the connections for the next run.
fn start<C, F>(
    driver: DriverChoice,
    script: Script,
    connections: usize,
    prepare: impl Fn(Stream) -> C,
    work: impl Fn(C, Script, u64) -> F + 'static,
) -> Run
where
    C: 'static,
    F: Future<Output = C> + 'static,
{
    let options = WorkerOptions { driver, ..WorkerOptions::default() };
    let mut worker = Worker::new(&options).expect("the driver can be set up here");
    let streams = worker.block_on(connect(script, connections)).expect("loopback works");
    let mut clients: Vec<C> = streams.into_iter().map(prepare).collect();
    Box::new(move |count| {
        let free = mem::take(&mut clients);
        let work = &work;
        worker.block_on(async {
            let start = Instant::now();
            let tasks: Vec<_> =
                free.into_iter().map(|client| runtime::spawn(work(client, script, count))).collect();
            for task in tasks {
                clients.push(task.await.expect("the task does not panic"));
            }
            start.elapsed()
        })
    })
}

async fn connect(script: Script, connections: usize) -> io::Result<Vec<Stream>> {
    let mut listener = Listener::bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into(), false)?;
    let address = listener.local_address()?;
    let mut streams = Vec::with_capacity(connections);
    for _ in 0..connections {
        streams.push(Stream::connect(&address).await?);
        runtime::spawn(answer(listener.accept().await?, script));
    }
    Ok(streams)
}
