//! Fetches a URL and prints the response: `cargo run -p ringtide-examples --example get -- http://127.0.0.1:8080/`

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use ringtide::Client;
use ringtide::runtime::{Worker, WorkerOptions};

fn main() -> ExitCode {
    let Some(url) = std::env::args().nth(1) else {
        eprintln!("usage: get URL");
        return ExitCode::from(2);
    };
    match get(&url) {
        Ok(()) => ExitCode::SUCCESS,
        // Only printing fails with an `io::Error`. The reader of a pipe, such as `head`, may close it early; this is no
        // failure.
        Err(error) if error.downcast_ref().map(io::Error::kind) == Some(io::ErrorKind::BrokenPipe) => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn get(url: &str) -> Result<(), Box<dyn Error>> {
    Worker::new(&WorkerOptions::default())?.block_on(async {
        let response = Client::default().get(url).await?;
        let mut out = io::stdout();
        writeln!(out, "{:?} {}", response.version(), response.status())?;
        for (name, value) in response.headers() {
            writeln!(out, "{name}: {}", String::from_utf8_lossy(value.as_bytes()))?;
        }
        writeln!(out)?;
        let mut body = response.into_body();
        while let Some(piece) = body.data().await? {
            out.write_all(&piece)?;
        }
        Ok(())
    })
}
