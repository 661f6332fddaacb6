//! The open loop: one even schedule, independent of the server, and how its times are attributed.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::command::{begin, float, number, once_in_five, report, run};
use crate::server::{HELLO, Server};

on_both_drivers!(
    a_stall_is_in_the_response_and_not_in_the_service,
    what_no_connection_was_free_for_is_not_forgotten,
    the_generators_own_pause_is_its_lag_whether_it_connects_or_not,
    a_ramp_has_as_many_requests_as_its_mean,
    arrivals_are_one_schedule_for_all_connections,
    a_closed_loop_has_one_latency,
    a_rate_lasts_for_the_whole_time,
    warm_up_times_do_not_count,
    a_closed_loop_of_one_connection_waits_for_each_answer,
);

fn at(report: &Value, name: &str, value: &str) -> f64 {
    float(&report["latency_us"][name][value])
}

/// The generator is stopped for 300 ms. With a connection per request, it opens these connections only afterwards.
fn the_generators_own_pause_is_its_lag_whether_it_connects_or_not(driver: &str) {
    for flags in [&[][..], &["--no-keepalive"]] {
        let measured = || {
            let (seen, wait) = channel();
            let server = Server::start(move |peer| {
                while peer.request().is_some() {
                    let _ = seen.send(());
                    peer.send(HELLO);
                }
            });
            let mut all = vec!["-R", "200", "-d", "1s", "-c", "80", "-t", "1", "--format", "json"];
            all.extend(flags);
            let running = begin(driver, &server.url(), &all);
            for _ in 0..20 {
                wait.recv_timeout(Duration::from_secs(20)).expect("requests come");
            }
            running.pause(Duration::from_millis(300));
            let report = running.wait().report(0);
            server.finish();
            report
        };
        // Requests that came due during the pause were late by up to that much. Each of them had a free connection.
        let report = once_in_five(measured, |report| {
            at(report, "schedule_lag", "max") > 250_000.0
                && at(report, "schedule_lag", "p90") > 100_000.0
                && at(report, "queue_wait", "p90") < 100_000.0
        });
        assert_eq!(report["verdict"]["valid"], false, "{flags:?}: {report}");
    }
}

/// The server responds at once, except to one request, which takes 300 ms. All requests that come due in this time wait
/// for it.
fn a_stall_is_in_the_response_and_not_in_the_service(driver: &str) {
    let server = Server::start(|peer| {
        for number in 0.. {
            if peer.request().is_none() {
                break;
            }
            if number == 50 {
                thread::sleep(Duration::from_millis(300));
            }
            peer.send(HELLO);
        }
    });
    let report = report(driver, &server.url(), &["-R", "500", "-d", "1s", "-c", "1"]);
    server.finish();
    assert_eq!(number(&report["requests"]["scheduled"]), 500, "{report}");
    // 150 of 500 came due during the stall and waited 150 ms on average.
    assert!(at(&report, "response", "p75") > 20_000.0, "{report}");
    assert!(at(&report, "response", "p90") > 100_000.0, "{report}");
    assert!(at(&report, "response", "p99") > 250_000.0, "{report}");
    // Only one of 500 took that long to serve.
    assert!(at(&report, "service", "max") >= 250_000.0, "{report}");
    assert!(at(&report, "service", "p99") < 100_000.0, "{report}");
    // The server kept them waiting; the generator was not late.
    assert!(at(&report, "queue_wait", "p90") > 100_000.0, "{report}");
    assert!(at(&report, "schedule_lag", "p90") < 50_000.0, "{report}");
    // The mean of the response is the sum of its parts' means.
    let parts = ["service", "queue_wait", "schedule_lag"].map(|name| at(&report, name, "mean"));
    let (sum, whole) = (parts.iter().sum::<f64>(), at(&report, "response", "mean"));
    assert!((sum - whole).abs() < whole * 0.02 + 5.0, "{sum} {whole} {report}");
}

fn what_no_connection_was_free_for_is_not_forgotten(driver: &str) {
    // The first request gets a response, and then each connection hangs.
    let first = AtomicBool::new(true);
    let server = Server::start(move |peer| {
        while peer.request().is_some() {
            if first.swap(false, SeqCst) {
                peer.send(HELLO);
            }
        }
    });
    let report = report(driver, &server.url(), &["-R", "200", "-d", "500ms", "-c", "2", "-t", "1"]);
    assert_eq!(server.finish().requests(), 3);
    let requests = &report["requests"];
    assert_eq!(number(&requests["scheduled"]), 100, "{report}");
    assert_eq!(number(&requests["sent"]), 3, "{report}");
    assert_eq!(number(&requests["censored"]), 99, "{report}");
    // They came due evenly over 500 ms and waited until the end, which a busy machine may notice late.
    let late_us = float(&report["duration_s"]) * 1e6 - 500_000.0;
    assert!(late_us >= 0.0, "{report}");
    for name in ["response", "queue_wait"] {
        let waited_us = at(&report, name, "p50") - late_us;
        assert!((200_000.0..300_000.0).contains(&waited_us), "{name} {waited_us}: {report}");
    }
    assert_eq!(number(&report["latency_us"]["service"]["count"]), 3, "{report}");
}

fn a_ramp_has_as_many_requests_as_its_mean(driver: &str) {
    for (rate, count) in [("100:700", 200), ("700:100", 200), ("0:800", 200)] {
        let server = Server::answering(HELLO);
        let report = report(driver, &server.url(), &["-R", rate, "-d", "500ms", "-c", "4", "-t", "2"]);
        let scheduled = number(&report["requests"]["scheduled"]);
        assert!(scheduled.abs_diff(count) <= 1, "{rate}: {report}");
        assert_eq!(server.finish().requests(), number(&report["requests"]["sent"]), "{report}");
    }
}

/// The server sees one schedule of 40 requests per second, not a schedule per connection.
fn arrivals_are_one_schedule_for_all_connections(driver: &str) {
    once_in_five(|| gaps_of_arrivals(driver), |gaps| is_even(gaps));
}

/// With ten separate schedules, half of the gaps would be near 0.
fn is_even(gaps: &[Duration]) -> bool {
    let median = gaps[gaps.len() / 2];
    let short = gaps.iter().filter(|gap| **gap < Duration::from_millis(10)).count();
    (Duration::from_millis(20)..Duration::from_millis(30)).contains(&median) && short < gaps.len() / 4
}

/// Returns the gaps between the requests of two seconds, in ascending order. 80 are due; a busy machine may send the last too late.
fn gaps_of_arrivals(driver: &str) -> Vec<Duration> {
    let (seen, wait) = channel();
    let seen = Mutex::new(seen);
    let server = Server::start(move |peer| {
        let seen = seen.lock().expect("no panic").clone();
        while peer.request().is_some() {
            seen.send(Instant::now()).expect("the test waits");
            peer.send(HELLO);
        }
    });
    let report = report(driver, &server.url(), &["-R", "40", "-d", "2s", "-c", "10", "-t", "2"]);
    server.finish();
    let mut arrivals: Vec<Instant> = wait.iter().collect();
    let requests = &report["requests"];
    assert_eq!(
        (number(&requests["scheduled"]), number(&requests["sent"])),
        (80, arrivals.len() as u64),
        "{report}"
    );
    arrivals.sort_unstable();
    let mut gaps: Vec<Duration> = arrivals.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_unstable();
    gaps
}

fn a_closed_loop_has_one_latency(driver: &str) {
    let server = Server::answering(HELLO);
    let report = report(driver, &server.url(), &["-n", "300", "-c", "3"]);
    server.finish();
    assert_eq!(report["latency_us"]["response"], report["latency_us"]["service"], "{report}");
    for name in ["queue_wait", "schedule_lag"] {
        assert!(at(&report, name, "max").abs() < f64::EPSILON, "{name}: {report}");
    }
}

/// The last of ten requests is due after 0.9 s, but the rate is still ten per second.
fn a_rate_lasts_for_the_whole_time(driver: &str) {
    let server = Server::answering(HELLO);
    let report = report(driver, &server.url(), &["-R", "10", "-d", "1s", "--warmup", "200ms", "-c", "2"]);
    assert_eq!(server.finish().requests(), 12, "{report}");
    assert_eq!(number(&report["requests"]["completed"]), 10, "{report}");
    // A busy machine may notice the end late.
    let (duration_s, rate) = (float(&report["duration_s"]), float(&report["requests_per_second"]));
    assert!(duration_s >= 1.0 && (rate * duration_s - 10.0).abs() < 0.01, "{report}");
}

/// The first response on each connection is slow and arrives during the warm-up.
fn warm_up_times_do_not_count(driver: &str) {
    let server = Server::start(move |peer| {
        let mut time = Duration::from_millis(500);
        while peer.request().is_some() {
            thread::sleep(std::mem::take(&mut time));
            peer.send(HELLO);
        }
    });
    let flags = ["-d", "300ms", "--warmup", "900ms", "-c", "2"];
    let result = report(driver, &server.url(), &flags);
    let tally = server.finish();
    assert!(at(&result, "response", "max") < 500_000.0, "{result}");
    assert!(tally.requests() > number(&result["requests"]["sent"]), "{result}");
    assert!((0.3..0.9).contains(&float(&result["duration_s"])), "{result}");
    // The run still measures if the warm-up gets no response.
    let server = Server::start(|peer| while peer.request().is_some() {});
    let flags = ["-d", "200ms", "--warmup", "100ms", "-c", "2", "--format", "json"];
    let silent = run(driver, &server.url(), &flags).report(0);
    assert_eq!(number(&silent["requests"]["completed"]), 0, "{silent}");
    server.finish();
}

fn a_closed_loop_of_one_connection_waits_for_each_answer(driver: &str) {
    let server = Server::start(|peer| {
        while peer.request().is_some() {
            thread::sleep(Duration::from_millis(20));
            peer.send(HELLO);
        }
    });
    let report = report(driver, &server.url(), &["-d", "500ms", "-c", "1"]);
    let tally = server.finish();
    assert_eq!(tally.connections.load(SeqCst), 1);
    assert!(number(&report["requests"]["completed"]) <= 25, "{report}");
    assert!(at(&report, "service", "p50") >= 20_000.0, "{report}");
}
