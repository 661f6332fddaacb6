//! A client and a server on one worker, over a simulated slow network: `cargo run -p ringtide-examples --example
//! simulate`

use std::error::Error;
use std::time::Duration;

use ringtide::runtime::{self, Worker};
use ringtide::sim::{Faults, Sim, SimOptions};
use ringtide::stream::{Lease, Listener, Stream};

fn main() -> Result<(), Box<dyn Error>> {
    let faults = Faults { cut_receive: 0.5, slow_link: 1.0, ..Faults::default() };
    let sim = Sim::new(SimOptions { seed: 7, faults, ..SimOptions::default() });
    Worker::simulated(sim)?.block_on(async {
        let mut listener = Listener::bind(&"127.0.0.1:0".parse()?, false)?;
        let address = listener.local_address()?;
        let server = runtime::spawn(async move {
            let mut stream = listener.accept().await?;
            stream.send("hello over a bad line").await?;
            stream.shutdown().await
        });
        let mut stream = Stream::connect(&address).await?;
        let start_ns = runtime::now_ns();
        while let Some(piece) = stream.receive().await? {
            print_piece(&piece, Duration::from_nanos(runtime::now_ns() - start_ns));
        }
        server.await??;
        Ok(())
    })
}

fn print_piece(piece: &Lease, after: Duration) {
    println!("{after:>12.1?} {:?}", String::from_utf8_lossy(piece));
}
