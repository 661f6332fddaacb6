//! Sends each line of its input to a server, and prints the line that answers: `cargo run -p ringtide-examples --example
//! lines_client -- 127.0.0.1:7777`. It is made for `lines_server`.

use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use ringtide::Address;
use ringtide::runtime::{Worker, WorkerOptions, spawn_blocking, timeout};
use ringtide::stream::{IncompleteRead, Stream};

const LINE_SIZE_MAX: usize = 64 * 1024;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().map(|address| address.parse::<Address>());
    let seconds = arguments.next().map_or(Ok(5), |seconds| seconds.parse());
    let (Some(Ok(address)), Ok(seconds)) = (address, seconds) else {
        eprintln!("usage: lines_client ADDRESS:PORT [SECONDS]");
        return ExitCode::from(2);
    };
    match talk(&address, Duration::from_secs(seconds)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn talk(address: &Address, patience: Duration) -> Result<(), Box<dyn Error>> {
    Worker::new(&WorkerOptions::default())?.block_on(async {
        let connected = timeout(patience, Stream::connect(address)).await;
        let mut server = connected.ok_or_else(|| format!("no connection within {patience:?}"))??;
        // The standard input blocks, so it is read on another thread.
        while let Some(command) = spawn_blocking(|| io::stdin().lines().next()).await? {
            server.write_all(format!("{}\n", command?).as_bytes()).await?;
            match timeout(patience, server.read_line(LINE_SIZE_MAX)).await {
                Some(Ok(Some(answer))) => println!("{}", String::from_utf8_lossy(&answer)),
                Some(Ok(None)) => return Err("the server has ended the conversation".into()),
                Some(Err(error)) => {
                    if let Some(cut) = IncompleteRead::of_io(&error) {
                        println!("{}", String::from_utf8_lossy(&cut.partial));
                    }
                    return Err(error.into());
                }
                None => return Err(format!("no answer within {patience:?}").into()),
            }
        }
        server.close().await?;
        Ok(())
    })
}
