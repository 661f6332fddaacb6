//! Using a client on another worker of the same thread panics with a clear message.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use ringtide::Client;
use ringtide::runtime::{self, Worker, WorkerOptions};

use crate::read;
use crate::server::{Server, echo_target};

fn worker() -> Worker {
    Worker::new(&WorkerOptions::default()).unwrap()
}

/// Runs `main` on a new worker and returns the text of its panic.
fn panic_on_another_worker(main: impl Future) -> String {
    let mut other = worker();
    let limited = runtime::timeout(Duration::from_secs(5), main);
    let panic = catch_unwind(AssertUnwindSafe(|| other.block_on(limited).expect("the request hangs")));
    let panic = panic.err().expect("the request does not panic");
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).expect("the panic has no text")
}

#[test]
fn a_client_panics_on_another_worker_of_its_thread() {
    let server = Server::start(echo_target);
    let mut home = worker();
    let client = home.block_on(async {
        let client = Client::default();
        // This leaves an idle connection.
        read(client.get(&server.url("/")).await).await.unwrap();
        client
    });
    let text = panic_on_another_worker(client.get(&server.url("/")));
    assert!(text.starts_with("this Client belongs to another worker than the one"), "{text}");
    assert!(text.contains("ClientHandle"), "{text}");
    // The client still works.
    assert_eq!(home.block_on(async { read(client.get(&server.url("/x")).await).await.unwrap() }).1, "/x");
    assert_eq!(server.accepted(), 1);
}

#[test]
fn a_reused_worker_number_does_not_match_an_old_client() {
    let client = worker().block_on(async { Client::default() });
    let text = panic_on_another_worker(client.get("http://127.0.0.1:1/"));
    assert!(text.starts_with("this Client belongs to another worker"), "{text}");
}
