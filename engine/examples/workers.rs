//! Two workers, each on a thread of its own: the first asks, the second answers. `cargo run -p ringtide-examples --example workers`

use std::error::Error;
use std::sync::mpsc;
use std::thread;

use ringtide::runtime::{self, Worker, WorkerHandle, WorkerOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let (ready, second) = mpsc::channel::<WorkerHandle>();
    let (end, ended) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let mut worker = Worker::new(&WorkerOptions::default()).expect("a worker can be made");
        ready.send(worker.handle()).expect("the first thread waits for it");
        // It answers as long as it is inside `block_on`; waiting for a channel of the standard library would block it.
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
                    // Over here again, on the first worker.
                    back.call(move || _ = answer.send(number * number)).expect("the first worker waits");
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
