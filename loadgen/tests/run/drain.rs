//! `--drain`: what is in flight at the end is waited for, nothing more is sent, and the rate stays that of the measured part.

use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use ringtide::proto::h2::{ErrorCode, Options};
use serde_json::{Value, json};

use crate::command::{begin, float, number, report, run};
use crate::http2_server::start;
use crate::server::{HELLO, Peer, Server};

on_both_drivers!(
    what_is_in_flight_is_waited_for,
    a_schedule_ends_before_the_drain_and_what_is_unsent_stays_censored,
    streams_are_waited_for,
    what_a_goaway_excludes_is_not_sent_again_in_the_drain,
    what_is_not_answered_in_time_is_cut_off_then,
    failures_count_in_the_drain,
    an_interrupt_ends_the_drain,
    without_anything_in_flight_nothing_is_waited_for,
);

const SLOW: Duration = Duration::from_secs(1);

fn slow(peer: &mut Peer) {
    while peer.request().is_some() {
        thread::sleep(SLOW);
        peer.send(HELLO);
    }
}

#[track_caller]
fn counts(report: &Value) -> [u64; 5] {
    ["scheduled", "sent", "completed", "failed", "censored"].map(|name| number(&report["requests"][name]))
}

fn what_is_in_flight_is_waited_for(driver: &str) {
    for (flags, count) in [
        (&["-c", "4", "-t", "2"][..], 4),
        (&["-c", "2", "-t", "1", "-p", "3"], 6),
        (&["-c", "3", "-t", "1", "--no-keepalive"], 3),
        (&["-c", "2", "-t", "1", "--warmup", "50ms"], 0),
    ] {
        let server = Server::start(slow);
        let report = report(driver, &server.url(), &[flags, &["-d", "100ms", "--drain", "20s"]].concat());
        let tally = server.finish();
        // Nothing was sent after the end. What the warm-up has sent is waited for, and is not measured.
        assert_eq!(counts(&report), [count, count, count, 0, 0], "{flags:?}: {report}");
        assert_eq!(tally.requests(), count.max(2), "{flags:?}: {report}");
        assert_eq!(number(&report["drain"]["completed"]), count, "{flags:?}: {report}");
        assert!((0.1..20.0).contains(&float(&report["drain"]["took_s"])), "{report}");
        // None of them came in the measured part.
        assert!((0.1..1.0).contains(&float(&report["duration_s"])), "{report}");
        assert_eq!(report["requests_per_second"], 0.0, "{report}");
        assert_eq!(report["bytes_received_per_second"], 0.0, "{report}");
        assert_eq!(number(&report["bytes_received"]), count * HELLO.len() as u64, "{report}");
        if count > 0 {
            let least = &report["latency_us"]["response"]["min"];
            assert!(float(least) >= 990_000.0, "its true time: {report}");
            assert_eq!(report["success"], 1.0, "{report}");
        }
        assert_eq!(report["plan"]["drain_s"], 20.0, "{report}");
    }
}

fn a_schedule_ends_before_the_drain_and_what_is_unsent_stays_censored(driver: &str) {
    let server = Server::start(slow);
    let flags = ["-R", "20", "-d", "2500ms", "-c", "3", "-t", "1", "--drain", "20s"];
    let report = report(driver, &server.url(), &flags);
    let tally = server.finish();
    let [scheduled, sent, completed, failed, censored] = counts(&report);
    assert_eq!((scheduled, failed), (50, 0), "{report}");
    // Each connection takes one at 0, 1 and 2 s.
    assert!((3..=9).contains(&sent), "{report}");
    assert_eq!((completed, censored, tally.requests()), (sent, 50 - sent, sent), "{report}");
    let after = number(&report["drain"]["completed"]);
    assert!((1..=3).contains(&after), "{report}");
    let rate = (completed - after) as f64 / float(&report["duration_s"]);
    assert!((float(&report["requests_per_second"]) - rate).abs() < 0.01, "{report}");
    // They are given up at the end, and not after the drain.
    let waited = float(&report["latency_us"]["queue_wait"]["max"]) / 1e6;
    assert!(waited <= float(&report["duration_s"]) + 0.001, "{report}");
}

fn streams_are_waited_for(driver: &str) {
    for mode in [&["-d", "100ms"][..], &["-d", "100ms", "-R", "100k"]] {
        let server = start(Options::default(), |http2| {
            let mut streams = Vec::new();
            while streams.len() < 5 {
                let Some(stream) = http2.request() else { return };
                streams.push(stream);
            }
            thread::sleep(SLOW);
            for stream in streams {
                http2.answer(stream);
            }
            while http2.next().is_some() {}
        });
        let flags = [mode, &["--http2", "-c", "2", "-t", "1", "-p", "5", "--drain", "20s"]].concat();
        let report = report(driver, &server.url(), &flags);
        let tally = server.finish();
        let [scheduled, sent, completed, failed, censored] = counts(&report);
        assert_eq!((sent, completed, failed, tally.requests()), (10, 10, 0, 10), "{report}");
        assert_eq!(censored, scheduled - 10, "{report}");
        assert_eq!(number(&report["drain"]["completed"]), 10, "{report}");
        assert!(float(&report["latency_us"]["service"]["min"]) >= 990_000.0, "{report}");
    }
}

fn what_a_goaway_excludes_is_not_sent_again_in_the_drain(driver: &str) {
    let server = start(Options::default(), |http2| {
        let (Some(first), Some(_)) = (http2.request(), http2.request()) else { return };
        thread::sleep(SLOW);
        http2.go_away(first.id(), ErrorCode::NO_ERROR);
        http2.answer(first);
        while http2.next().is_some() {}
    });
    let flags = ["--http2", "-d", "100ms", "-c", "1", "-p", "2", "--drain", "20s"];
    let report = report(driver, &server.url(), &flags);
    assert_eq!(server.finish().requests(), 2, "{report}");
    assert_eq!(counts(&report), [2, 2, 1, 0, 1], "{report}");
}

fn what_is_not_answered_in_time_is_cut_off_then(driver: &str) {
    let server = Server::start(|peer| {
        peer.request();
        peer.wait_for_end();
    });
    let report = report(driver, &server.url(), &["-d", "100ms", "-c", "3", "-t", "2", "--drain", "300ms"]);
    server.finish();
    assert_eq!(counts(&report), [3, 3, 0, 0, 3], "{report}");
    assert!(float(&report["drain"]["took_s"]) >= 0.299, "{report}");
    assert_eq!(report["drain"]["completed"], 0, "{report}");
}

fn failures_count_in_the_drain(driver: &str) {
    let server = Server::start(|peer| {
        peer.request();
        thread::sleep(SLOW);
    });
    let flags =
        ["-d", "100ms", "-c", "2", "-t", "1", "--drain", "20s", "--max-errors", "2", "--format", "json"];
    let report = run(driver, &server.url(), &flags).report(3);
    server.finish();
    assert_eq!(counts(&report), [2, 2, 0, 2, 0], "{report}");
    assert_eq!(report["drain"]["failed"], 2, "{report}");
    assert_eq!(
        (&report["errors"]["closed"], &report["ended_by"]),
        (&json!(2), &json!("max_errors")),
        "{report}"
    );
    // The timeout of a request goes on.
    let server = Server::start(|peer| {
        peer.request();
        peer.wait_for_end();
    });
    let flags = ["-d", "100ms", "-c", "1", "--drain", "20s", "--timeout", "300ms", "--format", "json"];
    let report = run(driver, &server.url(), &flags).report(0);
    assert_eq!(server.finish().connections.load(SeqCst), 1, "{report}");
    assert_eq!((counts(&report), &report["errors"]["timeout"]), ([1, 1, 0, 1, 0], &json!(1)), "{report}");
}

fn an_interrupt_ends_the_drain(driver: &str) {
    let server = Server::start(|peer| {
        peer.request();
        peer.wait_for_end();
    });
    let begun = Instant::now();
    let flags =
        ["-d", "100ms", "-c", "2", "-t", "1", "--drain", "10h", "--timeout", "10h", "--format", "json"];
    let running = begin(driver, &server.url(), &flags);
    thread::sleep(Duration::from_millis(1500));
    running.interrupt();
    let ended = running.wait();
    server.finish();
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(counts(&ended.report(130))[4], 2, "{ended:?}");
}

fn without_anything_in_flight_nothing_is_waited_for(driver: &str) {
    let server = Server::answering(HELLO);
    let ended = run(driver, &server.url(), &["-n", "7", "-c", "2", "--drain", "10h"]);
    server.finish();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("0 completed and 0 failed"), "{ended:?}");
    let server = Server::answering(HELLO);
    let report = report(driver, &server.url(), &["-n", "7", "-c", "2"]);
    server.finish();
    assert_eq!(report["drain"], Value::Null, "{report}");
}
