//! `run` over HTTP/2: what is counted of streams, what is sent again, and which limits hold, against scripted servers and
//! `serve`.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ringtide::proto::h2::{ErrorCode, Options};
use ringtide::tls::ServerTlsOptions;
use serde_json::{Value, json};

use crate::certificates::Authority;
use crate::command::{begin, float, number, report};
use crate::http2_server::{Http2, Said, start};
use crate::server::{HELLO, Server};
use crate::tls::Site;

on_both_drivers!(
    a_number_of_requests_is_sent_exactly_over_few_connections,
    our_own_server_is_spoken_to,
    tls_chooses_the_version,
    http_1_is_spoken_where_it_is_asked_for,
    what_a_goaway_excludes_is_sent_again,
    what_a_goaway_includes_is_waited_for,
    refused_streams_are_sent_again,
    a_request_that_is_always_refused_fails_in_the_end,
    resets_are_counted_by_their_code,
    a_malformed_answer_fails_alone,
    a_stream_limit_below_the_wanted_is_noted,
    room_that_the_server_makes_is_used,
    a_stuck_stream_times_out_alone,
    each_stuck_stream_has_its_own_time,
    a_connection_that_ends_fails_what_is_in_flight,
    an_open_loop_needs_few_connections,
    the_settings_are_those_of_the_flags,
    a_time_is_cut_off_in_the_middle,
    an_interrupt_is_counted_to_the_last_stream,
    a_connection_for_each_request,
    bytes_that_are_not_http2_are_no_answer,
);

/// Answers every request at once.
fn answers(http2: &mut Http2<'_>) {
    while let Some(stream) = http2.request() {
        http2.answer(stream);
    }
}

#[track_caller]
fn all_completed(report: &Value, count: u64) {
    for name in ["scheduled", "sent", "completed"] {
        assert_eq!(number(&report["requests"][name]), count, "{name} in {report}");
    }
    assert_eq!(number(&report["status"]["200"]), count, "{report}");
}

/// Takes the next `count` requests.
fn take(http2: &mut Http2<'_>, count: usize) -> Option<Vec<ringtide::proto::h2::StreamKey>> {
    (0..count).map(|_| http2.request()).collect()
}

fn a_number_of_requests_is_sent_exactly_over_few_connections(driver: &str) {
    for (count, connections, flags) in [
        (1, 3, &["-n", "1", "-c", "3"][..]),
        (1000, 2, &["-n", "1k", "-c", "2", "-p", "10"]),
        (1003, 3, &["-n", "1003", "-c", "3", "-t", "2", "-p", "7"]),
    ] {
        let server = start(Options::default(), answers);
        let mut all = vec!["--http2"];
        all.extend(flags);
        let report = report(driver, &server.url(), &all);
        let tally = server.finish();
        all_completed(&report, count);
        assert_eq!(tally.requests(), count, "{report}");
        // What is sent before the start is not counted: the preface, the settings, and a window.
        let (sent, arrived) = (number(&report["bytes_sent"]), tally.bytes_received.load(SeqCst));
        assert!(
            (arrived.saturating_sub(150 * connections)..=arrived).contains(&sent),
            "{sent} of {arrived}: {report}"
        );
        assert_eq!(tally.connections.load(SeqCst), connections, "{tally:?} {report}");
        assert_eq!(report["plan"]["http"], "2", "{report}");
        let none = json!({ "replayed": 0, "resets": {}, "goaways": {}, "streams_max_peer": 256 });
        assert_eq!(report["http2"], none, "{report}");
    }
}

fn our_own_server_is_spoken_to(driver: &str) {
    let site = Site::start_plain();
    let report = report(driver, &site.url(), &["--http2", "-c", "2", "-p", "20", "-n", "2k"]);
    all_completed(&report, 2000);
    assert_eq!(site.requests(), 2000, "{report}");
    assert!(number(&report["bytes_received"]) > 2000 * 12, "{report}");
    assert_eq!(report["tls"], Value::Null, "{report}");
}

fn tls_site(authority: &Authority) -> Site {
    let identity = authority.issue(&["127.0.0.1"], |_| {});
    Site::start(&ServerTlsOptions::default().identity(identity).alpn(["h2", "http/1.1"]))
}

fn tls_chooses_the_version(driver: &str) {
    let authority = Authority::new();
    let site = tls_site(&authority);
    let ca = authority.path();
    for flags in [&[][..], &["--http2"]] {
        let mut all = vec!["--cacert", &ca, "-c", "2", "-p", "5", "-n", "500"];
        all.extend(flags);
        let report = report(driver, &site.url(), &all);
        all_completed(&report, 500);
        assert_eq!(report["plan"]["http"], "2", "{report}");
        assert_eq!(report["http2"]["replayed"], 0, "{report}");
    }
    assert_eq!(site.requests(), 1000);
}

fn http_1_is_spoken_where_it_is_asked_for(driver: &str) {
    let authority = Authority::new();
    let site = tls_site(&authority);
    let ca = authority.path();
    let server = Server::answering(HELLO);
    for (url, flags) in [
        (site.url(), &["--http1", "--cacert", &ca][..]),
        (site.url(), &["--alpn", "http/1.1", "--cacert", &ca]),
        (server.url(), &[]),
    ] {
        let mut all = vec!["-c", "2", "-n", "100"];
        all.extend(flags);
        let report = report(driver, &url, &all);
        all_completed(&report, 100);
        assert_eq!((&report["plan"]["http"], &report["http2"]), (&json!("1.1"), &Value::Null), "{report}");
    }
    server.finish();
}

fn what_a_goaway_excludes_is_sent_again(driver: &str) {
    let server = start(Options::default(), |http2| {
        if http2.connections() > 1 {
            return answers(http2);
        }
        let Some(streams) = take(http2, 5) else { return };
        thread::sleep(Duration::from_millis(300));
        http2.go_away(streams[0].id(), ErrorCode::ENHANCE_YOUR_CALM);
        http2.answer(streams[0]);
        while http2.next().is_some() {}
    });
    let report = report(driver, &server.url(), &["--http2", "-c", "1", "-p", "5", "-n", "5"]);
    let tally = server.finish();
    all_completed(&report, 5);
    assert_eq!(tally.requests(), 9, "4 of 5 were sent twice: {report}");
    assert_eq!(report["http2"]["replayed"], 4, "{report}");
    assert_eq!(report["http2"]["goaways"], json!({ "ENHANCE_YOUR_CALM": 1 }), "{report}");
    assert_eq!(report["http2"]["resets"], json!({}), "{report}");
    let response = &report["latency_us"]["response"];
    assert!(float(&response["min"]) >= 299_000.0, "it counts from the first time: {report}");
    assert!(float(&report["latency_us"]["service"]["min"]) < 290_000.0, "{report}");
}

fn what_a_goaway_includes_is_waited_for(driver: &str) {
    // 50 requests on each connection; all of them are answered after the GOAWAY.
    let server = start(Options::default(), |http2| {
        let Some(streams) = take(http2, 5) else { return };
        http2.go_away(streams[4].id(), ErrorCode::NO_ERROR);
        http2.flush();
        for stream in streams {
            http2.answer(stream);
        }
        while http2.next().is_some() {}
    });
    let report = report(driver, &server.url(), &["--http2", "-c", "1", "-p", "5", "-n", "25"]);
    let tally = server.finish();
    all_completed(&report, 25);
    assert_eq!(tally.requests() - 25, number(&report["http2"]["replayed"]), "{report}");
    assert_eq!(report["http2"]["goaways"], json!({ "NO_ERROR": 5 }), "{report}");
}

fn refused_streams_are_sent_again(driver: &str) {
    let seen = AtomicU64::new(0);
    let server = start(Options::default(), move |http2| {
        while let Some(stream) = http2.request() {
            if seen.fetch_add(1, SeqCst).is_multiple_of(3) {
                http2.reset(stream, ErrorCode::REFUSED_STREAM);
            } else {
                http2.answer(stream);
            }
        }
    });
    let report = report(driver, &server.url(), &["--http2", "-c", "1", "-p", "4", "-n", "200"]);
    let tally = server.finish();
    all_completed(&report, 200);
    let replayed = number(&report["http2"]["replayed"]);
    assert_eq!(tally.requests(), 200 + replayed, "{report}");
    assert_eq!(replayed, tally.requests().div_ceil(3), "{report}");
    assert_eq!(report["http2"]["resets"], json!({ "REFUSED_STREAM": replayed }), "{report}");
}

fn a_request_that_is_always_refused_fails_in_the_end(driver: &str) {
    let server = start(Options::default(), |http2| {
        while let Some(stream) = http2.request() {
            http2.reset(stream, ErrorCode::REFUSED_STREAM);
        }
    });
    let report = report(driver, &server.url(), &["--http2", "-c", "1", "-n", "1"]);
    let tally = server.finish();
    assert_eq!(number(&report["requests"]["failed"]), 1, "{report}");
    assert_eq!(number(&report["errors"]["reset"]), 1, "{report}");
    assert_eq!(number(&report["http2"]["replayed"]), tally.requests() - 1, "{report}");
    assert_eq!(number(&report["http2"]["resets"]["REFUSED_STREAM"]), tally.requests(), "{report}");
    assert!(tally.requests() > 10, "{report}");
}

fn resets_are_counted_by_their_code(driver: &str) {
    let seen = AtomicU64::new(0);
    let server = start(Options::default(), move |http2| {
        while let Some(stream) = http2.request() {
            match seen.fetch_add(1, SeqCst) % 5 {
                0 => http2.reset(stream, ErrorCode::INTERNAL_ERROR),
                1 => http2.reset(stream, ErrorCode(0x1234)),
                2 => {
                    http2.begin(stream, "12");
                    http2.body(stream, b"hello", false);
                    http2.reset(stream, ErrorCode::CANCEL);
                }
                _ => http2.answer(stream),
            }
        }
    });
    let report = report(driver, &server.url(), &["--http2", "-c", "1", "-p", "4", "-n", "100"]);
    let tally = server.finish();
    assert_eq!(tally.requests(), 100, "{report}");
    assert_eq!(number(&report["requests"]["completed"]), 40, "{report}");
    assert_eq!(number(&report["requests"]["sent"]), 100, "{report}");
    assert_eq!(number(&report["errors"]["reset"]), 60, "{report}");
    let resets = json!({ "INTERNAL_ERROR": 20, "0x1234": 20, "CANCEL": 20 });
    assert_eq!((&report["http2"]["resets"], &report["http2"]["replayed"]), (&resets, &json!(0)), "{report}");
    assert_eq!(number(&report["connections_opened"]), 0, "the connection lives: {report}");
}

fn a_malformed_answer_fails_alone(driver: &str) {
    let seen = AtomicU64::new(0);
    let server = start(Options::default(), move |http2| {
        while let Some(stream) = http2.request() {
            if seen.fetch_add(1, SeqCst).is_multiple_of(4) {
                http2.begin(stream, "13");
                http2.body(stream, b"hello world\n", true);
            } else {
                http2.answer(stream);
            }
        }
    });
    let report = report(driver, &server.url(), &["--http2", "-c", "1", "-p", "4", "-n", "80"]);
    server.finish();
    assert_eq!(number(&report["requests"]["completed"]), 60, "{report}");
    assert_eq!(number(&report["errors"]["protocol"]), 20, "{report}");
    assert_eq!(report["http2"]["resets"], json!({}), "these are ours: {report}");
    assert_eq!(number(&report["connections_opened"]), 0, "the connection lives: {report}");
}

fn a_stream_limit_below_the_wanted_is_noted(driver: &str) {
    let most = Arc::new(AtomicU64::new(0));
    let server = {
        let most = Arc::clone(&most);
        start(Options::default().streams_max(4), move |http2| {
            while let Some(stream) = http2.request() {
                most.fetch_max(http2.streams() as u64, SeqCst);
                http2.answer(stream);
            }
        })
    };
    let report = report(driver, &server.url(), &["--http2", "-c", "1", "-p", "10", "-n", "500"]);
    server.finish();
    all_completed(&report, 500);
    assert_eq!(number(&report["http2"]["streams_max_peer"]), 4, "{report}");
    let notes = report["notes"].as_array().expect("a list");
    let says = |note: &Value| note.as_str().is_some_and(|note| note.contains("allows 4 streams at once"));
    assert!(notes.iter().any(says), "{report}");
    assert!(most.load(SeqCst) <= 4);
}

fn room_that_the_server_makes_is_used(driver: &str) {
    let server = start(Options::default(), |http2| {
        http2.allow_streams(0);
        http2.flush();
        // By then the client knows that it may send nothing.
        thread::sleep(Duration::from_millis(100));
        http2.allow_streams(3);
        answers(http2);
    });
    let report = report(driver, &server.url(), &["--http2", "-c", "1", "-p", "1", "-n", "20"]);
    server.finish();
    all_completed(&report, 20);
}

fn a_stuck_stream_times_out_alone(driver: &str) {
    let cancelled = Arc::new(Mutex::new(Vec::new()));
    let server = {
        let cancelled = Arc::clone(&cancelled);
        start(Options::default(), move |http2| {
            let mut seen = 0;
            let mut stuck = None;
            while let Some(said) = http2.next() {
                match said {
                    // Slower than the time limit as a whole, not one by one.
                    Said::Request(stream) => {
                        seen += 1;
                        if seen == 7 {
                            stuck = Some(stream.id());
                        } else {
                            thread::sleep(Duration::from_millis(10));
                            http2.answer(stream);
                        }
                    }
                    Said::Reset(stream, code) => {
                        assert_eq!(Some(stream.id()), stuck);
                        cancelled.lock().expect("no panic").push(code);
                    }
                }
            }
        })
    };
    let flags = ["--http2", "-c", "1", "-p", "4", "-n", "120", "--timeout", "400ms"];
    let report = report(driver, &server.url(), &flags);
    let tally = server.finish();
    assert_eq!(number(&report["requests"]["completed"]), 119, "{report}");
    assert_eq!(number(&report["errors"]["timeout"]), 1, "{report}");
    assert_eq!(tally.requests(), 120, "{report}");
    assert_eq!(*cancelled.lock().expect("no panic"), [ErrorCode::CANCEL], "{report}");
    assert_eq!(number(&report["connections_opened"]), 0, "the connection lives: {report}");
    for name in ["response", "service"] {
        assert_eq!(number(&report["latency_us"][name]["censored"]), 1, "{report}");
    }
}

fn each_stuck_stream_has_its_own_time(driver: &str) {
    // Of every ten requests one gets no answer, at another time each.
    let times = Arc::new(Mutex::new(Vec::new()));
    let server = {
        let times = Arc::clone(&times);
        start(Options::default(), move |http2| {
            let mut stuck = Vec::new();
            let mut seen = 0;
            while let Some(said) = http2.next() {
                match said {
                    Said::Request(stream) if seen % 10 == 3 => {
                        stuck.push((stream.id(), std::time::Instant::now()));
                        seen += 1;
                    }
                    Said::Request(stream) => {
                        seen += 1;
                        thread::sleep(Duration::from_millis(1));
                        http2.answer(stream);
                    }
                    Said::Reset(stream, _) => {
                        let (_, since) =
                            stuck.iter().find(|(id, _)| *id == stream.id()).expect("it was stuck");
                        times.lock().expect("no panic").push(since.elapsed());
                    }
                }
            }
        })
    };
    let flags = ["--http2", "-c", "1", "-p", "20", "-n", "100", "--timeout", "400ms"];
    let report = report(driver, &server.url(), &flags);
    server.finish();
    assert_eq!(number(&report["requests"]["completed"]), 90, "{report}");
    assert_eq!(number(&report["errors"]["timeout"]), 10, "{report}");
    let times = times.lock().expect("no panic");
    assert_eq!(times.len(), 10, "{times:?}");
    // A server that sleeps sees a request late, so it sees less than the limit.
    assert!(times.iter().all(|time| *time > Duration::from_millis(100)), "{times:?}");
    assert_eq!(number(&report["connections_opened"]), 0, "the connection lives: {report}");
}

fn a_connection_that_ends_fails_what_is_in_flight(driver: &str) {
    let server = start(Options::default(), |http2| {
        if http2.connections() > 1 {
            return answers(http2);
        }
        let Some(streams) = take(http2, 6) else { return };
        http2.answer(streams[1]);
        http2.begin(streams[3], "12");
        http2.body(streams[3], b"hello", false);
        http2.flush();
    });
    let report = report(driver, &server.url(), &["--http2", "-c", "1", "-p", "6", "-n", "20"]);
    server.finish();
    let errors = &report["errors"];
    // The answer may make the client send one more before it sees the end.
    let failed = number(&report["requests"]["failed"]);
    assert!((5..=6).contains(&failed), "{report}");
    // If it does, the server's kernel may reset the connection.
    if number(&errors["reset"]) == 0 {
        assert_eq!(number(&errors["incomplete"]), 1, "{report}");
        assert_eq!(number(&errors["closed"]), failed - 1, "{report}");
    }
    assert_eq!(number(&report["requests"]["completed"]), 20 - failed, "{report}");
}

fn an_open_loop_needs_few_connections(driver: &str) {
    let site = Site::start_plain();
    let url = format!("{}delay/20", site.url());
    // 1,000 a second of 20 ms each are 20 in flight.
    let flags = ["--http2", "-c", "2", "-p", "50", "-R", "1k", "-d", "500ms"];
    let report = report(driver, &url, &flags);
    assert_eq!(number(&report["requests"]["scheduled"]), 500, "{report}");
    assert!(number(&report["requests"]["completed"]) > 400, "{report}");
    assert_eq!(number(&report["requests"]["failed"]), 0, "{report}");
    assert_eq!(number(&report["connections_opened"]), 0, "{report}");
    assert_eq!(number(&report["connections_opened_before_start"]), 2, "{report}");
    // With one request for each connection they would have waited for hundreds of milliseconds.
    assert!(float(&report["latency_us"]["queue_wait"]["p50"]) < 1000.0, "{report}");
}

fn the_settings_are_those_of_the_flags(driver: &str) {
    let defaults = Options::default();
    for (flags, window, table) in [
        (&[][..], defaults.stream_window, 4096),
        (&["--h2-window", "2MiB"], 2 * 1024 * 1024, 4096),
        (&["--h2-header-table-size", "0"], defaults.stream_window, 0),
    ] {
        let (seen, wait) = channel();
        let server = start(Options::default(), move |http2| {
            while let Some(stream) = http2.request() {
                let settings = http2.settings();
                let _ = seen.send((settings.stream_window, settings.header_table_size));
                http2.answer(stream);
            }
        });
        let mut all = vec!["--http2", "-c", "1", "-n", "30"];
        all.extend(flags);
        let report = report(driver, &server.url(), &all);
        server.finish();
        all_completed(&report, 30);
        assert!(wait.iter().all(|settings| settings == (window, table)), "{report}");
        assert_eq!(number(&report["plan"]["h2_header_table_size"]), u64::from(table), "{report}");
    }
}

fn a_time_is_cut_off_in_the_middle(driver: &str) {
    let seen = AtomicU64::new(0);
    let server = start(Options::default(), move |http2| {
        while let Some(stream) = http2.request() {
            if seen.fetch_add(1, SeqCst) % 100 != 50 {
                http2.answer(stream);
            }
        }
    });
    let report = report(driver, &server.url(), &["--http2", "-c", "2", "-p", "200", "-d", "300ms"]);
    let tally = server.finish();
    let requests = &report["requests"];
    assert_eq!(number(&requests["sent"]), tally.requests(), "{report}");
    assert_eq!(
        number(&requests["censored"]),
        number(&requests["scheduled"]) - number(&requests["completed"])
    );
    assert!(number(&requests["censored"]) > 0, "{report}");
    assert_eq!(number(&requests["failed"]), 0, "{report}");
}

fn an_interrupt_is_counted_to_the_last_stream(driver: &str) {
    let (seen, wait) = channel();
    let server = start(Options::default(), move |http2| {
        while http2.request().is_some() {
            let _ = seen.send(());
        }
    });
    let flags = ["--http2", "-c", "3", "-p", "5", "-d", "50s", "--format", "json"];
    let running = begin(driver, &server.url(), &flags);
    for _ in 0..15 {
        wait.recv_timeout(Duration::from_secs(20)).expect("requests come");
    }
    running.interrupt();
    let report = running.wait().report(130);
    assert_eq!(server.finish().requests(), 15);
    assert_eq!(number(&report["requests"]["censored"]), 15, "{report}");
    assert_eq!(number(&report["requests"]["sent"]), 15, "{report}");
}

fn a_connection_for_each_request(driver: &str) {
    let server = start(Options::default(), answers);
    let report = report(driver, &server.url(), &["--http2", "-c", "2", "-n", "20", "--no-keepalive"]);
    let tally = server.finish();
    all_completed(&report, 20);
    assert!(tally.connections.load(SeqCst) >= 20, "{tally:?} {report}");
}

fn bytes_that_are_not_http2_are_no_answer(driver: &str) {
    let server = Server::answering(HELLO);
    let report = report(driver, &server.url(), &["--http2", "-c", "1", "-n", "3"]);
    server.finish();
    assert_eq!(number(&report["requests"]["completed"]), 0, "{report}");
    assert_eq!(number(&report["errors"]["protocol"]), 3, "{report}");
}
