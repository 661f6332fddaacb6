//! Fetches URLs from tokio tasks, all at the same time. One worker on a thread of its own sends the requests:
//! `cargo run -p ringtide-examples --example from_tokio -- http://127.0.0.1:8080/ http://127.0.0.1:8080/slow`

use std::error::Error;
use std::process::ExitCode;

use ringtide::ClientOptions;
use ringtide::client::ClientHandle;
use ringtide::http::StatusCode;
use ringtide::runtime::WorkerOptions;
use tokio::task::JoinSet;

/// Larger bodies are not read.
const BODY_SIZE_MAX: usize = 16 * 1024 * 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let client = ClientHandle::spawn(ClientOptions::default(), WorkerOptions::default())?;
    let mut fetches = JoinSet::new();
    for url in std::env::args().skip(1) {
        // All clones share one worker and its connections. The handle and its futures may go to any thread.
        let client = client.clone();
        fetches.spawn(async move {
            let outcome = fetch(&client, &url).await;
            (url, outcome)
        });
    }
    if fetches.is_empty() {
        eprintln!("usage: from_tokio URL…");
        return Ok(ExitCode::from(2));
    }
    let mut code = ExitCode::SUCCESS;
    while let Some(fetched) = fetches.join_next().await {
        match fetched? {
            (url, Ok((status, size))) => println!("{status} {size} bytes {url}"),
            (url, Err(error)) => {
                eprintln!("{url}: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

async fn fetch(client: &ClientHandle, url: &str) -> Result<(StatusCode, usize), ringtide::Error> {
    let response = client.get(url).await?;
    Ok((response.status(), response.into_body().bytes(BODY_SIZE_MAX).await?.len()))
}
