//! Tests of the worker through its public interface.

mod blocking;
#[cfg(target_os = "linux")]
mod broken;
mod connections;
mod descriptors;
mod elsewhere;
mod ending;
mod foreign;
mod join_set;
mod misplaced;
#[cfg(target_os = "linux")]
mod shortage;
mod sync;
mod tasks;
mod timers;

use ringtide::runtime::{Worker, WorkerOptions};

fn worker() -> Worker {
    Worker::new(&WorkerOptions::default()).expect("the worker is created")
}
