//! The tokio subjects, on one thread with a `LocalSet`: tokio's streams for the plain bytes, hyper's client connection
//! for the HTTP exchange.

use std::io;
use std::mem;
use std::net::Ipv4Addr;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{LocalSet, spawn_local};

use super::{READ_SIZE, Run, Script};

pub(crate) fn bytes(script: Script, connections: usize) -> Run {
    let (runtime, local) = runtime();
    let streams = local.block_on(&runtime, connect(script, connections)).expect("loopback works");
    repeat(runtime, local, streams, move |stream, count| ask(stream, script, count))
}

pub(crate) fn exchange(script: Script, connections: usize) -> Run {
    let (runtime, local) = runtime();
    let senders = local.block_on(&runtime, async {
        let mut senders = Vec::with_capacity(connections);
        for stream in connect(script, connections).await.expect("loopback works") {
            let (sender, connection) =
                handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.expect("nothing is sent yet");
            spawn_local(connection);
            senders.push(sender);
        }
        senders
    });
    repeat(runtime, local, senders, exchanges)
}

async fn exchanges(mut sender: SendRequest<Empty<Bytes>>, count: u64) -> SendRequest<Empty<Bytes>> {
    for _ in 0..count {
        let request = http::Request::get("/").header("host", "127.0.0.1").body(Empty::new());
        sender.ready().await.expect("the peer is there");
        let sent = sender.send_request(request.expect("the request is sound"));
        let mut response = sent.await.expect("the exchange succeeds");
        assert_eq!(response.status(), 200);
        while let Some(frame) = response.frame().await {
            frame.expect("the exchange succeeds");
        }
    }
    sender
}

async fn ask(mut stream: TcpStream, script: Script, count: u64) -> TcpStream {
    let mut buffer = [0; READ_SIZE];
    for _ in 0..count {
        stream.write_all(script.request).await.expect("the peer is there");
        let mut received = 0;
        while received < script.response.len() {
            let size = stream.read(&mut buffer).await.expect("the peer is there");
            assert!(size > 0, "the peer stays");
            received += size;
        }
    }
    stream
}

async fn answer(mut stream: TcpStream, script: Script) -> io::Result<()> {
    let mut buffer = [0; READ_SIZE];
    let mut received = 0;
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            size => received += size,
        }
        while received >= script.request.len() {
            received -= script.request.len();
            stream.write_all(script.response).await?;
        }
    }
}

/// In each run, does `work` on all connections concurrently, and keeps the connections for the next run.
fn repeat<C, F>(
    runtime: Runtime,
    local: LocalSet,
    mut clients: Vec<C>,
    work: impl Fn(C, u64) -> F + 'static,
) -> Run
where
    C: 'static,
    F: Future<Output = C> + 'static,
{
    Box::new(move |count| {
        let free = mem::take(&mut clients);
        local.block_on(&runtime, async {
            let start = Instant::now();
            let tasks: Vec<_> = free.into_iter().map(|client| spawn_local(work(client, count))).collect();
            for task in tasks {
                clients.push(task.await.expect("the task does not panic"));
            }
            start.elapsed()
        })
    })
}

async fn connect(script: Script, connections: usize) -> io::Result<Vec<TcpStream>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let mut streams = Vec::with_capacity(connections);
    for _ in 0..connections {
        let stream = TcpStream::connect(address).await?;
        let (accepted, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        accepted.set_nodelay(true)?;
        spawn_local(answer(accepted, script));
        streams.push(stream);
    }
    Ok(streams)
}

fn runtime() -> (Runtime, LocalSet) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be set up here");
    (runtime, LocalSet::new())
}
