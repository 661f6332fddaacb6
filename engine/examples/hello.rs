//! A server with two pages, on all cores. Ctrl-C ends it once the requests in flight have their responses:
//! `cargo run -p ringtide-examples --example hello -- 127.0.0.1:8080`

use std::error::Error;
use std::time::Duration;

use ringtide::http::StatusCode;
use ringtide::runtime;
use ringtide::server::{Answered, Exchange, Server, ServerOptions};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned()).parse()?;
    // From here on, these signals no longer end the process.
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let server = Server::start(&[address], &ServerOptions::default(), page)?;
    println!("listening at {}", server.addresses()[0]);
    signals.forever().next();
    server.shutdown().begin();
    server.join();
    Ok(())
}

/// Responds to one request, on the core that accepted its connection.
async fn page(exchange: Exchange<'_>) -> Result<Answered, ringtide::Error> {
    const TEXT: (&str, &str) = ("Content-Type", "text/plain");
    match exchange.head().path() {
        "/" => exchange.respond(StatusCode::OK, &[TEXT], "hello world\n"),
        "/slow" => {
            runtime::sleep(Duration::from_secs(3)).await;
            exchange.respond(StatusCode::OK, &[TEXT], "hello at last\n")
        }
        _ => exchange.respond(StatusCode::NOT_FOUND, &[TEXT], "no such page\n"),
    }
}
