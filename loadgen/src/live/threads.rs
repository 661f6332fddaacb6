//! What the worker threads have used so far, read from outside, so that it costs them nothing.
//!
//! Only Linux tells (proc(5)). Elsewhere nothing is known, and nothing is made up.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

/// What a thread has used since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) cpu_ns: u64,
    pub(super) run_queue_wait_ns: u64,
}

/// The threads of a run's workers.
#[derive(Debug, Default)]
pub(super) struct Threads(Vec<File>);

impl Threads {
    /// Those of the workers of this process: `worker-0` and so on; `None` if not all `workers` can be read.
    pub(super) fn of_workers(workers: usize) -> Option<Self> {
        let mut found: Vec<Option<File>> = (0..workers).map(|_| None).collect();
        for task in fs::read_dir("/proc/self/task").ok()? {
            let path = task.ok()?.path();
            // A thread may end at any time.
            let Ok(name) = fs::read_to_string(path.join("comm")) else { continue };
            let index = name.trim().strip_prefix("worker-").and_then(|index| index.parse::<usize>().ok());
            if let Some(place) = index.and_then(|index| found.get_mut(index)) {
                *place = Some(File::open(path.join("schedstat")).ok()?);
            }
        }
        found.into_iter().collect::<Option<_>>().map(Self)
    }

    /// What each has used, in the order of the workers; `None` if one has ended.
    pub(super) fn read(&self) -> Option<Vec<Usage>> {
        self.0.iter().map(usage).collect()
    }
}

/// The first two of the three figures of `schedstat`.
fn usage(file: &File) -> Option<Usage> {
    let mut bytes = [0; 80];
    let size = file.read_at(&mut bytes, 0).ok()?;
    let mut figures = std::str::from_utf8(&bytes[..size]).ok()?.split_whitespace();
    let mut next = || figures.next()?.parse().ok();
    Some(Usage { cpu_ns: next()?, run_queue_wait_ns: next()? })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_worker_is_found_by_its_name_and_its_work_is_seen() {
        let (sender, turns) = channel::<()>();
        let (told, done) = channel();
        // A number that no other test of this process has.
        let body = move || {
            for () in turns {
                let mut sum = 1_u64;
                for step in 0..60_000_000_u64 {
                    sum = std::hint::black_box(sum.wrapping_mul(step | 1));
                }
                told.send(sum).expect("it is heard");
            }
        };
        let worker = thread::Builder::new().name("worker-0".to_owned()).spawn(body).expect("a thread");
        let work = || {
            sender.send(()).expect("it is there");
            done.recv().expect("it works");
        };
        work();
        let threads = Threads::of_workers(1).expect("it is found");
        let before = threads.read().expect("readable");
        work();
        let after = threads.read().expect("readable");
        assert!(before[0].cpu_ns > 0 && after[0].cpu_ns > before[0].cpu_ns, "{before:?} {after:?}");
        drop(sender);
        worker.join().expect("no panic");
        assert!(Threads::of_workers(1000).is_none());
    }
}
