//! A client that is used on another worker of its thread says so.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use ringtide::Client;
use ringtide::runtime::{self, Worker, WorkerOptions};

use crate::read;
use crate::server::{Server, echo_target};

fn worker() -> Worker {
    Worker::new(&WorkerOptions::default()).unwrap()
}

/// What `main` panics with on a worker of its own.
fn panic_on_another_worker(main: impl Future) -> String {
    let mut other = worker();
    let limited = runtime::timeout(Duration::from_secs(5), main);
    let panic = catch_unwind(AssertUnwindSafe(|| other.block_on(limited).expect("it hangs")));
    let panic = panic.err().expect("it panics");
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).expect("with a text")
}

#[test]
fn a_client_on_another_worker_of_its_thread_says_so() {
    let server = Server::start(echo_target);
    let mut home = worker();
    let client = home.block_on(async {
        let client = Client::default();
        // There is an idle connection.
        read(client.get(&server.url("/")).await).await.unwrap();
        client
    });
    let text = panic_on_another_worker(client.get(&server.url("/")));
    assert!(text.starts_with("this Client belongs to another worker than the one"), "{text}");
    assert!(text.contains("ClientHandle"), "{text}");
    // It is as good as before.
    assert_eq!(home.block_on(async { read(client.get(&server.url("/x")).await).await.unwrap() }).1, "/x");
    assert_eq!(server.accepted(), 1);
}

#[test]
fn a_number_that_is_given_again_does_not_make_two_workers_one() {
    let client = worker().block_on(async { Client::default() });
    let text = panic_on_another_worker(client.get("http://127.0.0.1:1/"));
    assert!(text.starts_with("this Client belongs to another worker"), "{text}");
}
