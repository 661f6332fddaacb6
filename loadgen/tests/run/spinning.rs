//! Spinning for answers: what it costs, and that it ends where it does not help.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::command::{float, number, report};
use crate::server::{HELLO, Server};

on_both_drivers!(
    a_slow_server_is_slept_for,
    idle_connections_are_slept_for,
    a_given_time_is_spun_whatever_answers_take,
    without_leave_nothing_is_spun,
    fast_answers_are_spun_for,
);

fn after(delay: Duration) -> Server {
    Server::start(move |peer| {
        while peer.request().is_some() {
            thread::sleep(delay);
            peer.send(HELLO);
        }
    })
}

fn run(driver: &str, server: Server, flags: &[&str]) -> Value {
    let mut all = vec!["-t", "1"];
    all.extend(flags);
    let report = report(driver, &server.url(), &all);
    server.finish();
    assert!(number(&report["requests"]["completed"]) > 0, "{report}");
    report
}

fn spin_share(report: &Value) -> f64 {
    float(&report["generator"]["spin_share"])
}

/// Some twenty answers: the first few are spun for, 2 ms at most.
fn a_slow_server_is_slept_for(driver: &str) {
    let report = run(driver, after(Duration::from_millis(50)), &["-c", "1", "-d", "1s", "--spin", "auto"]);
    assert!(spin_share(&report) < 0.05, "{report}");
    assert!(float(&report["generator"]["cpu_utilisation"]) < 0.2, "{report}");
}

/// Four requests on four connections in a second.
fn idle_connections_are_slept_for(driver: &str) {
    let flags = ["-c", "4", "-R", "4", "-d", "1s", "--spin", "auto"];
    let report = run(driver, after(Duration::ZERO), &flags);
    assert!(spin_share(&report) < 0.02, "{report}");
    assert!(float(&report["generator"]["cpu_utilisation"]) < 0.2, "{report}");
}

/// Each wait is spun through, as long as the thread has a core. It is not work, so the verdict does not blame it.
fn a_given_time_is_spun_whatever_answers_take(driver: &str) {
    let answers = || after(Duration::from_millis(20));
    let report = run(driver, answers(), &["-c", "1", "-d", "1s", "--spin", "1s"]);
    let (share, utilisation) = (spin_share(&report), float(&report["generator"]["cpu_utilisation"]));
    assert!(share > 0.05, "{report}");
    assert!(utilisation >= share - 0.05, "spinning is a part of the CPU time: {report}");
    let per_request = float(&report["generator"]["cpu_us_per_request"]);
    assert!(per_request > 1_000.0, "it counts: {report}");
    assert!(!report["verdict"]["reasons"].to_string().contains("% of its core: the requests/s"), "{report}");
    // At most 50 µs for each of some 50 answers.
    let report = run(driver, answers(), &["-c", "1", "-d", "1s", "--spin", "50us"]);
    assert!((f64::MIN_POSITIVE..0.01).contains(&spin_share(&report)), "{report}");
}

fn without_leave_nothing_is_spun(driver: &str) {
    for load in [&["-c", "1", "-d", "300ms"][..], &["-c", "4", "-R", "500", "-d", "300ms"]] {
        let mut flags = load.to_vec();
        flags.extend(["--spin", "off"]);
        let report = run(driver, after(Duration::ZERO), &flags);
        assert!(spin_share(&report).abs() < f64::EPSILON, "{report}");
        // What it misses by that is known.
        assert!(float(&report["generator"]["wakeup_us"]) > 0.0, "{report}");
        let syscalls = float(&report["generator"]["syscalls_per_request"]);
        // One call sends a request and waits for its answer; a few are for the timers.
        assert!(driver != "io_uring" || load.len() > 4 || syscalls < 1.5, "{report}");
    }
}

/// At least until the worker notices that others use its core.
fn fast_answers_are_spun_for(driver: &str) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let report = run(driver, after(Duration::ZERO), &["-c", "1", "-d", "300ms"]);
    assert_eq!(spin_share(&report) > 0.0, cores > 1, "{report}");
}
