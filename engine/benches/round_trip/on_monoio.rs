//! The monoio subject, on its io_uring driver.

use std::io;
use std::mem;
use std::net::Ipv4Addr;
use std::time::Instant;

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder, spawn};

use super::{READ_SIZE, Run, Script};

/// In each run, all clients make `count` requests concurrently.
pub(crate) fn bytes(script: Script, connections: usize) -> Run {
    let mut runtime =
        RuntimeBuilder::<IoUringDriver>::new().build().expect("monoio's io_uring driver can be set up here");
    let mut clients = runtime.block_on(connect(script, connections)).expect("loopback works");
    Box::new(move |count| {
        let free = mem::take(&mut clients);
        runtime.block_on(async {
            let start = Instant::now();
            let tasks: Vec<_> = free.into_iter().map(|client| spawn(ask(client, script, count))).collect();
            for task in tasks {
                clients.push(task.await);
            }
            start.elapsed()
        })
    })
}

async fn ask(mut stream: TcpStream, script: Script, count: u64) -> TcpStream {
    let mut buffer = vec![0; READ_SIZE];
    for _ in 0..count {
        let (sent, _) = stream.write_all(script.request).await;
        sent.expect("the peer is there");
        let mut received = 0;
        while received < script.response.len() {
            let (size, back) = stream.read(buffer).await;
            buffer = back;
            let size = size.expect("the peer is there");
            assert!(size > 0, "the peer stays");
            received += size;
        }
    }
    stream
}

async fn answer(mut stream: TcpStream, script: Script) -> io::Result<()> {
    let mut buffer = vec![0; READ_SIZE];
    let mut received = 0;
    loop {
        let (size, back) = stream.read(buffer).await;
        buffer = back;
        match size? {
            0 => return Ok(()),
            size => received += size,
        }
        while received >= script.request.len() {
            received -= script.request.len();
            let (sent, _) = stream.write_all(script.response).await;
            sent?;
        }
    }
}

async fn connect(script: Script, connections: usize) -> io::Result<Vec<TcpStream>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let mut streams = Vec::with_capacity(connections);
    for _ in 0..connections {
        let stream = TcpStream::connect_addr(address).await?;
        let (accepted, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        accepted.set_nodelay(true)?;
        spawn(answer(accepted, script));
        streams.push(stream);
    }
    Ok(streams)
}
