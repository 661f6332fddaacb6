//! monoio's streams, on its io_uring driver.

use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::time::Instant;

use monoio::buf::IoBuf;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, Runtime, RuntimeBuilder, spawn};

use super::{FRAME, Plan, READ_SIZE, announce, check};

pub(crate) fn serve() -> io::Result<Infallible> {
    runtime()?.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        announce(listener.local_addr()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            spawn(answer(stream));
        }
    })
}

pub(crate) fn ask(plan: Plan) -> io::Result<u64> {
    runtime()?.block_on(async {
        let mut tasks = Vec::with_capacity(plan.connections);
        for _ in 0..plan.connections {
            let stream = TcpStream::connect_addr(plan.server).await?;
            stream.set_nodelay(true)?;
            tasks.push(spawn(repeat(stream, plan.end)));
        }
        let mut echoes = 0;
        for task in tasks {
            echoes += task.await?;
        }
        Ok(echoes)
    })
}

async fn repeat(mut stream: TcpStream, end: Instant) -> io::Result<u64> {
    let mut buffer = vec![0; READ_SIZE];
    let mut echoes = 0;
    while Instant::now() < end {
        stream.write_all(FRAME).await.0?;
        let mut received = 0;
        while received < FRAME.len() {
            let (size, back) = stream.read(buffer).await;
            buffer = back;
            received = check(received, &buffer[..size?])?;
        }
        echoes += 1;
    }
    Ok(echoes)
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; READ_SIZE];
    loop {
        let (size, back) = stream.read(buffer).await;
        match size? {
            0 => return Ok(()),
            size => {
                let (sent, back) = stream.write_all(back.slice(..size)).await;
                sent?;
                buffer = back.into_inner();
            }
        }
    }
}

fn runtime() -> io::Result<Runtime<IoUringDriver>> {
    RuntimeBuilder::<IoUringDriver>::new().build()
}
