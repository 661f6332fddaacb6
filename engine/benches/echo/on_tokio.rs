//! tokio's streams, on one thread with a `LocalSet`.

use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{LocalSet, spawn_local};

use super::{FRAME, Plan, READ_SIZE, announce, check};

pub(crate) fn serve() -> io::Result<Infallible> {
    LocalSet::new().block_on(&runtime()?, async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        announce(listener.local_addr()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            spawn_local(answer(stream));
        }
    })
}

pub(crate) fn ask(plan: Plan) -> io::Result<u64> {
    LocalSet::new().block_on(&runtime()?, async {
        let mut tasks = Vec::with_capacity(plan.connections);
        for _ in 0..plan.connections {
            let stream = TcpStream::connect(plan.server).await?;
            stream.set_nodelay(true)?;
            tasks.push(spawn_local(repeat(stream, plan.end)));
        }
        let mut echoes = 0;
        for task in tasks {
            echoes += task.await.expect("the task does not panic")?;
        }
        Ok(echoes)
    })
}

async fn repeat(mut stream: TcpStream, end: Instant) -> io::Result<u64> {
    let mut buffer = [0; READ_SIZE];
    let mut echoes = 0;
    while Instant::now() < end {
        stream.write_all(FRAME).await?;
        let mut received = 0;
        while received < FRAME.len() {
            let size = stream.read(&mut buffer).await?;
            received = check(received, &buffer[..size])?;
        }
        echoes += 1;
    }
    Ok(echoes)
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; READ_SIZE];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            size => stream.write_all(&buffer[..size]).await?,
        }
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}
