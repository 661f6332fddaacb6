//! Our HTTP/2 client and our HTTP/2 server against each other on a simulated network, over thousands of seeds: each seed is
//! another network with other faults, other options on both sides, and other requests.
//!
//! `RINGTIDE_H2_SEEDS` says how many seeds each test runs, `RINGTIDE_H2_SEED` runs one. A failure prints its seed.

mod client;
mod connection;
mod frames;
mod ledger;
mod observer;
mod random;
mod server;
mod settle;
mod world;

use std::cell::RefCell;
use std::env;
use std::rc::Rc;
use std::time::Duration;

use ringtide::Address;
use ringtide::runtime::{self, Worker};
use ringtide_driver::BufferPool;
use ringtide_driver::sim::Sim;

use crate::ledger::Ledger;
use crate::observer::Observer;
use crate::world::World;

/// Virtual time after which a run is stuck. The slowest networks need some minutes.
const STUCK: Duration = Duration::from_hours(2);

/// What happened in many runs, so that a test can say that it has tested something.
#[derive(Clone, Copy, Debug, Default)]
struct Coverage {
    answered: u64,
    cancelled: u64,
    unprocessed: u64,
    failed: u64,
    go_aways: u64,
    resets: u64,
    continuations: u64,
    settled: u64,
}

impl Coverage {
    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.cancelled += other.cancelled;
        self.unprocessed += other.unprocessed;
        self.failed += other.failed;
        self.go_aways += other.go_aways;
        self.resets += other.resets;
        self.continuations += other.continuations;
        self.settled += other.settled;
    }
}

/// Says which seed it was, and how to run it again.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {0}: run it again with RINGTIDE_H2_SEED={0}", self.0);
        }
    }
}

/// What the drivers of the requests share.
#[derive(Clone)]
struct Run {
    world: Rc<World>,
    ledger: Rc<RefCell<Ledger>>,
    observer: Observer,
    /// Where the client connects to.
    address: Address,
}

/// Runs one seed. `drive` sends the requests; the server answers them.
fn run<F: Future<Output = ()>>(seed: u64, drive: impl FnOnce(Run) -> F) -> (Coverage, u64) {
    let _seed = Seed(seed);
    let world = Rc::new(World::new(seed));
    let pool = BufferPool::new();
    let mut worker = Worker::simulated(Sim::with_pool(world.sim, pool.clone())).unwrap();
    let outcome = worker.block_on(async {
        let ledger = Rc::new(RefCell::new(Ledger::new(world.requests)));
        let observer = Observer::default();
        let servers = server::Servers::start(Rc::clone(&world), Rc::clone(&ledger));
        let address = if world.is_observed {
            observer.listen(servers.address().clone())
        } else {
            servers.address().clone()
        };
        let all = Run { world: Rc::clone(&world), ledger: Rc::clone(&ledger), observer, address };
        let text = || ledger.borrow().text(&world);
        let driven = runtime::timeout(STUCK, drive(all.clone())).await;
        assert!(driven.is_some(), "stuck: {world:?}{}", text());
        let stopped = runtime::timeout(STUCK, servers.stop()).await;
        assert!(stopped.is_some(), "the server does not end: {world:?}{}", text());
        // What closes in the background.
        runtime::sleep(Duration::from_secs(5)).await;
        all.observer.check();
        let mut coverage = ledger.borrow().check(&world);
        all.observer.count(&mut coverage);
        (coverage, runtime::now_ns())
    });
    drop(worker);
    assert_eq!(pool.lent(), 0, "receive buffers that nobody gives back");
    outcome
}

/// Runs as many seeds as the environment says.
fn seeds<F: Future<Output = ()>>(count: u64, drive: impl Fn(Run) -> F) -> Option<Coverage> {
    if let Ok(seed) = env::var("RINGTIDE_H2_SEED") {
        run(seed.parse().expect("RINGTIDE_H2_SEED is a number"), &drive);
        return None;
    }
    let count = env::var("RINGTIDE_H2_SEEDS")
        .map_or(count, |count| count.parse().expect("RINGTIDE_H2_SEEDS is a number"));
    let mut coverage = Coverage::default();
    for seed in 0..count {
        coverage.add(run(seed, &drive).0);
    }
    println!("{count} seeds: {coverage:?}");
    Some(coverage)
}

#[test]
fn a_client_and_a_server_keep_to_each_request_under_faults() {
    let Some(coverage) = seeds(1_000, client::drive) else { return };
    let Coverage { answered, cancelled, unprocessed, failed, go_aways, resets, continuations, settled } =
        coverage;
    assert!(
        [answered, cancelled, unprocessed, failed, go_aways, resets, continuations, settled]
            .iter()
            .all(|&count| count > 20)
    );
}

#[test]
fn a_connection_and_a_server_keep_to_each_request_under_faults() {
    let Some(coverage) = seeds(1_000, connection::drive) else { return };
    let Coverage { answered, cancelled, failed, go_aways, resets, settled, .. } = coverage;
    assert!([answered, cancelled, failed, go_aways, resets, settled].iter().all(|&count| count > 20));
}

#[test]
fn a_seed_gives_the_same_run_again() {
    for seed in [3, 8, 13, 21] {
        assert_eq!(run(seed, client::drive).1, run(seed, client::drive).1, "seed {seed}");
        assert_eq!(run(seed, connection::drive).1, run(seed, connection::drive).1, "seed {seed}");
    }
}
