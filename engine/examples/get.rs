//! Prints what is at a URL: `cargo run -p ringtide --example get -- http://127.0.0.1:8080/`

use std::error::Error;
use std::io::{self, Write};

use ringtide::Client;
use ringtide::runtime::{Worker, WorkerOptions};

fn main() {
    let Some(url) = std::env::args().nth(1) else { return eprintln!("usage: get URL") };
    if let Err(error) = get(&url) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn get(url: &str) -> Result<(), Box<dyn Error>> {
    Worker::new(&WorkerOptions::default())?.block_on(async {
        let response = Client::default().get(url).await?;
        println!("{:?} {}", response.version(), response.status());
        for (name, value) in response.headers() {
            println!("{name}: {}", String::from_utf8_lossy(value.as_bytes()));
        }
        println!();
        let mut body = response.into_body();
        while let Some(piece) = body.chunk().await? {
            io::stdout().write_all(&piece)?;
        }
        Ok(())
    })
}
