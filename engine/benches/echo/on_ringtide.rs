//! Ringtide's streams, on the driver that `RINGTIDE_DRIVER` names, or else on io_uring.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use ringtide::runtime::{self, Worker, WorkerOptions};
use ringtide::stream::{Listener, Stream};

use super::{FRAME, Plan, announce, check};

pub(crate) fn serve() -> io::Result<Infallible> {
    worker()?.block_on(async {
        let mut listener = Listener::bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into(), false)?;
        announce(listener.local_address()?)?;
        loop {
            runtime::spawn(answer(listener.accept().await?));
        }
    })
}

pub(crate) fn ask(plan: Plan) -> io::Result<u64> {
    worker()?.block_on(async {
        let mut tasks = Vec::with_capacity(plan.connections);
        for _ in 0..plan.connections {
            tasks.push(runtime::spawn(repeat(Stream::connect(&plan.server.into()).await?, plan.end)));
        }
        let mut echoes = 0;
        for task in tasks {
            echoes += task.await.expect("the task does not panic")?;
        }
        Ok(echoes)
    })
}

async fn repeat(mut stream: Stream, end: Instant) -> io::Result<u64> {
    let mut echoes = 0;
    let mut frame = [0; FRAME.len()];
    while Instant::now() < end {
        stream.write_all(FRAME).await?;
        stream.read_exact(&mut frame).await?;
        check(0, &frame)?;
        echoes += 1;
    }
    Ok(echoes)
}

async fn answer(mut stream: Stream) -> io::Result<()> {
    while let Some(lease) = stream.receive().await? {
        stream.write_all(&lease).await?;
    }
    Ok(())
}

fn worker() -> io::Result<Worker> {
    Worker::new(&WorkerOptions::default()).map_err(io::Error::other)
}
