//! Two workers, each on its own thread. The first asks, the second answers: `cargo run -p ringtide-examples --example
//! workers`

use std::error::Error;
use std::sync::mpsc;
use std::thread;

use ringtide::runtime::{self, Worker, WorkerHandle, WorkerOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let (ready, second) = mpsc::channel::<WorkerHandle>();
    let (end, ended) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let mut worker = Worker::new(&WorkerOptions::default()).expect("the worker is created");
        ready.send(worker.handle()).expect("the first thread receives the handle");
        // The worker runs tasks while it is inside `block_on`. A standard library channel would block it, so wait on
        // another thread.
        let _ = worker.block_on(runtime::spawn_blocking(move || ended.recv()));
    });
    let second = second.recv()?;
    let mut worker = Worker::new(&WorkerOptions::default())?;
    let first = worker.handle();
    worker.block_on(async {
        for number in 1..=3 {
            let (answer, answered) = mpsc::channel();
            let back = first.clone();
            second.call(move || {
                runtime::spawn(async move {
                    runtime::yield_now().await;
                    // This closure runs on the first worker again.
                    back.call(move || _ = answer.send(number * number)).expect("the first worker is running");
                });
            })?;
            let square = runtime::spawn_blocking(move || answered.recv()).await??;
            println!("{number} * {number} = {square}");
        }
        Ok::<(), Box<dyn Error>>(())
    })?;
    drop(end);
    thread.join().expect("the second worker ends");
    Ok(())
}
