//! The figures for servers with known times, when requests are cut off, fail, or have to connect first: the arithmetic
//! must agree.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::command::{float, number, once_in_five, report, run};
use crate::server::{HELLO, Peer, Server, Tally, next_request};

on_both_drivers!(
    what_the_end_cuts_off_does_not_bend_the_mean,
    timeouts_leave_open_what_is_beyond_them,
    a_hang_from_half_time_on_is_seen_in_the_tail_of_a_closed_loop,
    a_hang_from_half_time_on_bounds_all_of_an_open_loop,
    twice_the_capacity_bounds_every_response,
    a_slow_server_that_keeps_up_is_known,
    without_an_answer_there_is_no_latency,
    a_latency_gate_alone_is_told_of_failures,
    connects_are_waited_for_in_a_closed_loop,
    a_server_that_closes_has_its_connects_in_the_response,
    a_server_with_a_short_queue_is_slow_to_connect,
    connects_that_time_out_have_waited,
    a_short_run_is_not_judged,
    latencies_are_told_apart_by_status,
    success_does_not_take_what_is_stalled_for_young,
    success_excuses_what_has_not_been_sent_in_time,
    success_excuses_what_replaced_the_failed,
    queue_waits_are_those_of_the_responses,
    a_percentile_of_a_thousand_is_exact,
    a_warm_ups_bytes_are_left_out,
    what_comes_with_a_warm_ups_answer_is_counted,
    a_warm_up_that_times_out_is_counted_or_noted,
);

/// The figures of a distribution.
const FIGURES: [&str; 11] =
    ["min", "mean", "stdev", "p50", "p75", "p90", "p95", "p99", "p99_9", "p99_99", "max"];

/// Returns a figure of `response` in milliseconds, and whether it is a lower bound.
fn response(report: &Value, name: &str) -> (f64, bool) {
    figure(&report["latency_us"]["response"], name)
}

fn figure(summary: &Value, name: &str) -> (f64, bool) {
    let bounds = summary["lower_bounds"].as_array().expect("a list");
    (float(&summary[name]) / 1e3, bounds.iter().any(|bound| bound == name))
}

fn notes(report: &Value) -> String {
    report["notes"].to_string()
}

/// Responds to each request after `time`.
fn slow(time: Duration) -> impl Fn(&mut Peer) + Send + Sync {
    move |peer| {
        while peer.request().is_some() {
            thread::sleep(time);
            peer.send(HELLO);
        }
    }
}

fn what_the_end_cuts_off_does_not_bend_the_mean(driver: &str) {
    let measured = || {
        let server = Server::start(slow(Duration::from_millis(400)));
        let report = report(driver, &server.url(), &["-d", "1s", "-c", "4"]);
        server.finish();
        report
    };
    once_in_five(measured, |report| {
        let near = |name| {
            let (ms, is_bound) = response(report, name);
            (398.0..480.0).contains(&ms) && !is_bound
        };
        // Two responses on each connection; the third is cut off after about 200 ms.
        number(&report["requests"]["completed"]) == 8
            && number(&report["latency_us"]["response"]["censored"]) == 4
            && ["min", "mean", "p50", "max"].into_iter().all(near)
    });
}

fn timeouts_leave_open_what_is_beyond_them(driver: &str) {
    // Only the first request of each connection gets a response. Each of the four connections has two requests.
    let server = Server::start(|peer| {
        if peer.request().is_some() {
            peer.send(HELLO);
            while peer.request().is_some() {}
        }
    });
    let flags = ["-n", "8", "-c", "4", "--timeout", "1s"];
    let gates = ["--threshold", "p99>900ms", "--threshold", "p75<10s", "--threshold", "p50<900ms"];
    let ended = run(driver, &server.url(), &[&flags[..], &gates, &["--format", "json"]].concat());
    let report = ended.report(3);
    server.finish();
    assert_eq!(number(&report["errors"]["timeout"]), 4, "{report}");
    let service = &report["latency_us"]["service"];
    assert_eq!((number(&service["count"]), number(&service["censored"])), (8, 4), "{report}");
    // Half of them got a response at once. From there to 1 s the curve stays at one half.
    let (p50, p50_is_bound) = figure(service, "p50");
    assert!(p50 < 900.0 && !p50_is_bound, "{report}");
    // A busy machine notices a timeout late, but no request waits longer than the run lasts.
    let run_ms = float(&report["duration_s"]) * 1e3 + 1.0;
    for name in ["p75", "p99", "max"] {
        let (ms, is_bound) = figure(service, name);
        assert!((999.0..run_ms).contains(&ms) && is_bound, "{name} {ms}: {report}");
    }
    // The two requests of a connection follow one another, so their times add up to the run's at most.
    let (mean, mean_is_bound) = figure(service, "mean");
    assert!((499.0..run_ms / 2.0).contains(&mean) && mean_is_bound, "{report}");
    let met: Vec<_> =
        report["thresholds"].as_array().expect("a list").iter().map(|gate| &gate["met"]).collect();
    assert_eq!(met, [true, false, true], "{report}");
    // The observed value is 1 s, or more if the machine noticed the timeout late.
    let missed = ended.stderr.lines().find(|line| line.contains("p75<10s (observed ≥ "));
    assert!(missed.is_some_and(|line| line.contains(": cannot be shown)")), "{ended:?}");
    assert!(notes(&report).contains("lower bounds"), "{report}");
}

/// Responds at once for half a second from its first request, and then never.
fn hangs_at_half_time() -> impl Fn(&mut Peer) + Send + Sync {
    let begun = std::sync::OnceLock::new();
    move |peer| {
        while peer.request().is_some() {
            if begun.get_or_init(Instant::now).elapsed() < Duration::from_millis(500) {
                peer.send(HELLO);
            }
        }
    }
}

fn a_hang_from_half_time_on_is_seen_in_the_tail_of_a_closed_loop(driver: &str) {
    let measured = || {
        let server = Server::start(hangs_at_half_time());
        let report = report(driver, &server.url(), &["-d", "1s", "-c", "2", "-t", "1"]);
        server.finish();
        report
    };
    once_in_five(measured, |report| {
        let (p50, p50_is_bound) = response(report, "p50");
        let (max, max_is_bound) = response(report, "max");
        number(&report["requests"]["censored"]) == 2
            && (p50 < 100.0 && !p50_is_bound)
            && ((400.0..800.0).contains(&max) && max_is_bound)
            && response(report, "mean").1
    });
}

fn a_hang_from_half_time_on_bounds_all_of_an_open_loop(driver: &str) {
    let server = Server::start(hangs_at_half_time());
    let flags = ["-R", "200", "-d", "1s", "-c", "4", "-t", "2"];
    let ended = run(driver, &server.url(), &flags);
    let text = &ended.stdout;
    assert!(text.contains("the backlog grew") && text.contains("≥"), "{ended:?}");
    server.finish();
    let measured = || {
        let server = Server::start(hangs_at_half_time());
        let report = report(driver, &server.url(), &flags);
        server.finish();
        report
    };
    once_in_five(measured, |report| {
        // Half of them came due while the server was silent, and waited from 0 to 500 ms.
        let (p75, max) = (response(report, "p75").0, response(report, "max").0);
        // The time from send to response is still known.
        let (service, is_bound) = figure(&report["latency_us"]["service"], "p50");
        FIGURES.into_iter().all(|name| response(report, name).1)
            && (150.0..400.0).contains(&p75)
            && (400.0..800.0).contains(&max)
            && (service < 100.0 && !is_bound)
    });
}

fn twice_the_capacity_bounds_every_response(driver: &str) {
    for flags in [&["-c", "1"][..], &["-c", "2", "-t", "2", "--arrival", "poisson"]] {
        // The same number of responses per second in total, for any number of connections.
        let time = Duration::from_millis(if flags[1] == "1" { 10 } else { 20 });
        let measured = || {
            let server = Server::start(slow(time));
            let report = report(driver, &server.url(), &[&["-R", "200", "-d", "2s"][..], flags].concat());
            server.finish();
            report
        };
        // The waits are evenly distributed, from 0 to the time by which the server is behind at the end. This is true
        // for requests with and without a response.
        let answered = |report: &Value| {
            let requests = &report["requests"];
            number(&requests["completed"]) as f64 / number(&requests["scheduled"]) as f64
        };
        let report = once_in_five(measured, |report| {
            let behind_ms = 2000.0 * (1.0 - answered(report));
            [("p50", 0.5), ("p90", 0.9)]
                .into_iter()
                .all(|(name, share)| (response(report, name).0 / (behind_ms * share) - 1.0).abs() < 0.2)
        });
        for name in FIGURES {
            assert!(response(&report, name).1, "{name}: {report}");
        }
        assert!(figure(&report["latency_us"]["queue_wait"], "p50").1, "{report}");
        assert!(notes(&report).contains("the backlog grew"), "{report}");
        let (service, is_bound) = figure(&report["latency_us"]["service"], "p50");
        assert!(service >= 9.9 && !is_bound, "{report}");
        // The server has not kept up, so requests that it left waiting are no success.
        let success = float(&report["success"]) / answered(&report);
        assert!((success - 1.0).abs() < 1e-6, "{report}");
        // Each response time is the sum of its parts.
        let waits = &report["latency_us"]["queue_wait"];
        assert_eq!(waits["count"], report["latency_us"]["response"]["count"], "{report}");
        assert!(figure(waits, "mean").0 <= response(&report, "mean").0, "{report}");
    }
}

/// At the end a quarter of the requests have no response yet, as at any moment of the run.
fn a_slow_server_that_keeps_up_is_known(driver: &str) {
    let measured = || {
        let server = Server::start(slow(Duration::from_millis(400)));
        let flags = ["-R", "100", "-d", "1600ms", "-c", "60", "-t", "1"];
        let report = report(driver, &server.url(), &flags);
        server.finish();
        report
    };
    once_in_five(measured, |report| {
        let near = |name| (399.0..460.0).contains(&response(report, name).0);
        // A request that is cut off may have waited longer than the slowest one with a response, so the mean may be a
        // lower bound.
        (35..=50).contains(&number(&report["requests"]["censored"]))
            && near("mean")
            && near("p50")
            && !response(report, "p50").1
            && !notes(report).contains("backlog grew")
    });
}

#[track_caller]
fn has_no_latency(report: &Value) {
    for (name, summary) in report["latency_us"].as_object().expect("an object") {
        for figure in FIGURES {
            assert_eq!(summary[figure], Value::Null, "{name} {figure}: {report}");
        }
        assert_eq!(summary["lower_bounds"], serde_json::json!([]), "{name}: {report}");
    }
    let threshold = &report["thresholds"][0];
    assert_eq!((&threshold["observed"], &threshold["met"]), (&Value::Null, &false.into()), "{report}");
    assert_eq!(report["generator"]["cpu_us_per_request"], Value::Null, "{report}");
}

fn without_an_answer_there_is_no_latency(driver: &str) {
    let server = Server::start(|peer| while peer.request().is_some() {});
    let flags = ["-d", "300ms", "-c", "4", "--threshold", "p99<10ms", "--threshold", "p50>1ms"];
    let ended = run(driver, &server.url(), &flags);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(!ended.stdout.contains("Latency") && !ended.stdout.contains("p99.9"), "{ended:?}");
    assert!(ended.stdout.contains("no request was completed"), "{ended:?}");
    assert!(ended.stdout.contains("✗ p99<10ms   nothing was completed"), "{ended:?}");
    let ended = run(driver, &server.url(), &[&flags[..], &["--format", "json"]].concat());
    let report = ended.report(3);
    server.finish();
    has_no_latency(&report);
    assert_eq!(number(&report["latency_us"]["response"]["censored"]), 4, "{report}");
    assert_eq!(report["success"], 0.0, "{report}");
    assert!(
        ended.stderr.contains("ringtide: threshold missed: p99<10ms (nothing was completed)\n"),
        "{ended:?}"
    );
    // The server reads the request and closes. A few requests may be cut off, and no response was fast.
    let server = Server::start(|peer| drop(peer.request()));
    let flags = ["-d", "300ms", "-c", "4", "--threshold", "p99<10ms", "--format", "json"];
    let report = run(driver, &server.url(), &flags).report(3);
    server.finish();
    assert_eq!(number(&report["requests"]["completed"]), 0, "{report}");
    has_no_latency(&report);
}

fn a_latency_gate_alone_is_told_of_failures(driver: &str) {
    // Three of four requests fail, and the fourth is fast.
    let count = Arc::new(AtomicU64::new(0));
    let server = Server::start(move |peer| {
        while peer.request().is_some() {
            if !count.fetch_add(1, SeqCst).is_multiple_of(4) {
                return;
            }
            peer.send(HELLO);
        }
    });
    let gate = |gates: &[&str]| {
        let mut flags = vec!["-n", "40", "-c", "2", "-t", "1", "--format", "json"];
        flags.extend(gates.iter().flat_map(|gate| ["--threshold", gate]));
        run(driver, &server.url(), &flags)
    };
    let alone = gate(&["p99<10s"]).report(0);
    let advice = "add one on success, such as --threshold 'success>99.9%'";
    assert!(notes(&alone).contains(advice), "{alone}");
    let both = gate(&["p99<10s", "success>90%"]).report(3);
    assert!(!notes(&both).contains(advice), "{both}");
    let neither = gate(&["errors<100"]).report(0);
    assert!(!notes(&neither).contains(advice), "{neither}");
    server.finish();
}

/// Checks that the parts of a closed loop's response times add up, with or without connects.
#[track_caller]
fn parts_add_up(report: &Value) {
    let mean = |name: &str| float(&report["latency_us"][name]["mean"]);
    let sum = mean("queue_wait") + mean("schedule_lag") + mean("service");
    assert!((sum - mean("response")).abs() <= mean("response") * 0.005 + 2.0, "{sum}: {report}");
}

fn connects_are_waited_for_in_a_closed_loop(driver: &str) {
    let server = Server::start(|peer| {
        if peer.request().is_some() {
            peer.send(HELLO);
            peer.wait_for_end();
        }
    });
    let flags = ["-n", "200", "-c", "4", "-t", "1", "--no-keepalive"];
    let report = report(driver, &server.url(), &flags);
    assert_eq!(number(&report["requests"]["completed"]), 200, "{report}");
    // One connection was already opened before the start.
    assert_eq!(number(&report["connections_opened"]), 199, "{report}");
    assert_eq!(number(&report["connections_opened_before_start"]), 1, "{report}");
    parts_add_up(&report);
    let mean = |name: &str| float(&report["latency_us"][name]["mean"]);
    let connect = float(&report["phases_us"]["connect"]["mean"]);
    // The queue wait is the connect and the work around it.
    assert!(mean("queue_wait") >= connect * 0.9, "{connect}: {report}");
    assert!(mean("response") > mean("service"), "{report}");
    let text = run(driver, &server.url(), &flags).stdout;
    assert!(text.contains("\nConnects ") && text.contains("199 opened, and 1 before the start"), "{text}");
    server.finish();
    let server = Server::answering(HELLO);
    let text = run(driver, &server.url(), &["-n", "200", "-c", "4"]).stdout;
    assert!(!text.contains("Connects"), "{text}");
    server.finish();
}

fn a_server_that_closes_has_its_connects_in_the_response(driver: &str) {
    let server = Server::start(|peer| {
        for left in (0..5).rev() {
            if peer.request().is_none() {
                return;
            }
            peer.send(if left > 0 {
                HELLO
            } else {
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
            });
        }
    });
    let report = report(driver, &server.url(), &["-n", "100", "-c", "1"]);
    let tally = server.finish();
    assert_eq!(tally.connections.load(SeqCst), 20, "{report}");
    assert_eq!(number(&report["connections_opened"]), 19, "{report}");
    parts_add_up(&report);
    // 19 of the 100 requests had to connect.
    let (p80, p90) = (
        figure(&report["latency_us"]["queue_wait"], "p75").0,
        float(&report["latency_us"]["queue_wait"]["p90"]),
    );
    assert!(p80.abs() < 1e-9 && p90 > 0.0, "{report}");
}

/// The server's accept queue has 5 places. A connect that finds no place is repeated after a second (tcp(7),
/// `tcp_abort_on_overflow`).
fn a_server_with_a_short_queue_is_slow_to_connect(driver: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = listener.local_addr().expect("bound");
    socket2::SockRef::from(&listener).listen(5).expect("bound");
    let over = Arc::new(AtomicBool::new(false));
    let serving = {
        let over = Arc::clone(&over);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("there are descriptors");
                if over.load(SeqCst) {
                    break;
                }
                let (tally, mut buffer) = (Tally::default(), Vec::new());
                if next_request(&mut stream, &mut buffer, &tally).is_some() {
                    thread::sleep(Duration::from_millis(2));
                    let _ = stream.write_all(HELLO);
                }
            }
        })
    };
    let flags = ["-c", "50", "-t", "1", "-d", "2500ms", "--no-keepalive"];
    let report = report(driver, &format!("http://{address}/"), &flags);
    over.store(true, SeqCst);
    drop(TcpStream::connect(address));
    serving.join().expect("no panic");
    let (connect, _) = figure(&report["phases_us"]["connect"], "max");
    assert!(connect > 900.0, "{report}");
    // The requests that need these connections wait for them.
    for name in ["response", "queue_wait"] {
        assert!(figure(&report["latency_us"][name], "max").0 > 900.0, "{name}: {report}");
    }
    assert!(figure(&report["latency_us"]["service"], "p50").0 < 900.0, "{report}");
}

/// The server accepts one connection, and its accept queue is full from then on.
fn connects_that_time_out_have_waited(driver: &str) {
    for (mode, format) in [(&[][..], "json"), (&[], "text"), (&["-R", "1"], "json")] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("bound");
        socket2::SockRef::from(&listener).listen(0).expect("bound");
        let (over, wait) = channel::<()>();
        let serving = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody connects");
            // Takes the only place in the queue before the client has to connect again.
            let _taken = TcpStream::connect(address).expect("there is a place");
            let (tally, mut buffer) = (Tally::default(), Vec::new());
            next_request(&mut stream, &mut buffer, &tally).expect("it asks");
            stream.write_all(HELLO).expect("it is there");
            let _ = wait.recv();
        });
        let flags = ["-c", "1", "-t", "1", "-d", "2500ms", "--no-keepalive", "--connect-timeout", "400ms"];
        let flags = [&flags[..], mode, &["--threshold", "p95<100ms", "--format", format]].concat();
        let ended = run(driver, &format!("http://{address}/"), &flags);
        drop(over);
        serving.join().expect("no panic");
        if format == "text" {
            assert!(ended.stdout.contains("opened, and 1 before the start · "), "{ended:?}");
            assert!(ended.stdout.contains(" timed out or cut off"), "{ended:?}");
            continue;
        }
        let report = ended.report(3);
        assert_eq!(number(&report["requests"]["completed"]), 1, "{report}");
        let (failed, cut) = (number(&report["errors"]["connect"]), number(&report["requests"]["censored"]));
        assert!(failed >= 2 && failed == number(&report["requests"]["failed"]), "{report}");
        // The other connects each took 400 ms of the run, or more on a busy machine.
        let longest_ms = float(&report["duration_s"]) * 1e3 - 400.0 * (failed - 1) as f64 + 1.0;
        let latency = &report["latency_us"];
        for name in ["response", "queue_wait"] {
            assert_eq!(number(&latency[name]["censored"]), failed + cut, "{name}: {report}");
            let (ms, is_bound) = figure(&latency[name], "p95");
            assert!((399.0..2000.0).contains(&ms) && is_bound, "{name}: {report}");
        }
        assert_eq!(number(&latency["service"]["count"]), 1, "{report}");
        // The threshold is missed for certain: the requests waited longer.
        assert_eq!(report["thresholds"][0]["lower_bound"], true, "{report}");
        let connect = &report["phases_us"]["connect"];
        assert!((failed..=failed + cut).contains(&number(&connect["censored"])), "{report}");
        let (ms, is_bound) = figure(connect, "max");
        assert!((399.0..longest_ms).contains(&ms) && is_bound, "{report}");
        assert!(notes(&report).contains("timed out or were cut off by the end"), "{report}");
    }
}

fn a_short_run_is_not_judged(driver: &str) {
    let server = Server::answering(HELLO);
    let flags = ["-n", "20", "-c", "2"];
    let judged = |more: &[&str]| run(driver, &server.url(), &[&flags[..], more].concat());
    let report = judged(&["--format", "json", "--require-valid"]).report(4);
    assert_eq!(report["verdict"]["valid"], Value::Null, "{report}");
    assert!(report["verdict"]["reasons"].to_string().contains("too short to judge"), "{report}");
    let text = judged(&[]);
    assert!(text.code == Some(0) && text.stdout.contains("none: too short to judge"), "{text:?}");
    server.finish();
}

fn latencies_are_told_apart_by_status(driver: &str) {
    for mode in [&[][..], &["-R", "200"]] {
        let server = Server::start(|peer| {
            while let Some(request) = peer.request() {
                assert!(request.head.starts_with("GET"));
                peer.send(HELLO);
                if peer.request().is_some() {
                    thread::sleep(Duration::from_millis(50));
                    peer.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
                }
            }
        });
        let report = report(driver, &server.url(), &[&["-n", "20", "-c", "1"][..], mode].concat());
        server.finish();
        let by_status = &report["latency_by_status_us"];
        assert_eq!(by_status.as_object().expect("an object").len(), 2, "{report}");
        for class in ["2xx", "5xx"] {
            assert_eq!(number(&by_status[class]["count"]), 10, "{report}");
        }
        // Not the least of them: on a busy machine, the generator may look at the clock after the server has begun.
        assert!(float(&by_status["5xx"]["p50"]) >= 49_900.0, "{report}");
        if mode.is_empty() {
            assert!(float(&by_status["2xx"]["p50"]) < 49_900.0, "{report}");
        }
        assert_eq!(report["success"], 0.5, "{report}");
    }
}

fn success_does_not_take_what_is_stalled_for_young(driver: &str) {
    let measured = || {
        let count = Arc::new(AtomicU64::new(0));
        let server = Server::start(move |peer| {
            while peer.request().is_some() {
                if count.fetch_add(1, SeqCst) < 10 {
                    peer.send(HELLO);
                }
            }
        });
        let flags = ["-c", "10", "-t", "1", "-d", "1s", "--timeout", "400ms", "--threshold", "success>50%"];
        let report = run(driver, &server.url(), &[&flags[..], &["--format", "json"]].concat()).report(3);
        server.finish();
        report
    };
    // All ten connections hang, time out twice, and are cut off the third time after 200 ms.
    once_in_five(measured, |report| {
        let requests = &report["requests"];
        ["completed", "failed", "censored"].map(|name| number(&requests[name])) == [10, 20, 10]
            && (float(&report["success"]) - 0.25).abs() < 1e-6
            && (float(&report["thresholds"][0]["observed"]) - 25.0).abs() < 1e-3
    });
}

/// The first response takes half a second. The end cuts off three others, of which two still wait for the connection,
/// after 100 to 300 ms.
fn success_excuses_what_has_not_been_sent_in_time(driver: &str) {
    let measured = || {
        let server = Server::start(|peer| {
            for number in 1..18 {
                if peer.request().is_none() {
                    return;
                }
                thread::sleep(Duration::from_millis(if number == 1 { 500 } else { 0 }));
                peer.send(HELLO);
            }
            peer.wait_for_end();
        });
        let flags = ["-R", "10", "-d", "2s", "-c", "1", "--threshold", "success>=100%", "--format", "json"];
        let ended = run(driver, &server.url(), &flags);
        server.finish();
        ended
    };
    let ended = once_in_five(measured, |ended| {
        let requests = &ended.any_report()["requests"];
        ["completed", "sent", "censored"].map(|name| number(&requests[name])) == [17, 18, 3]
    });
    let report = ended.report(0);
    assert_eq!(report["success"], 1.0, "{report}");
}

/// Each connection hangs at its second request. Those that follow the timeouts are cut off at once.
fn success_excuses_what_replaced_the_failed(driver: &str) {
    let server = Server::start(|peer| {
        if peer.request().is_some() {
            thread::sleep(Duration::from_millis(150));
            peer.send(HELLO);
            peer.wait_for_end();
        }
    });
    let flags = ["-c", "10", "-t", "1", "--max-errors", "5", "--timeout", "1s", "--format", "json"];
    let report = run(driver, &server.url(), &flags).report(3);
    server.finish();
    assert_eq!(number(&report["requests"]["completed"]), 10, "{report}");
    assert!(number(&report["requests"]["scheduled"]) > 20, "{report}");
    assert_eq!(report["success"], 0.5, "{report}");
}

fn queue_waits_are_those_of_the_responses(driver: &str) {
    // Every second request waits for its connection and is then reset on it.
    let count = Arc::new(AtomicU64::new(0));
    let server = Server::start(move |peer| {
        while peer.request().is_some() {
            thread::sleep(Duration::from_millis(20));
            if count.fetch_add(1, SeqCst) % 2 == 1 {
                peer.reset();
                return;
            }
            peer.send(HELLO);
        }
    });
    let report = report(driver, &server.url(), &["-R", "100", "-n", "40", "-c", "1"]);
    server.finish();
    assert_eq!(number(&report["errors"]["reset"]), 20, "{report}");
    let latency = &report["latency_us"];
    assert_eq!(number(&latency["response"]["count"]), 20, "{report}");
    assert_eq!(latency["queue_wait"]["count"], latency["response"]["count"], "{report}");
    parts_of_an_open_loop(&report);
}

#[track_caller]
fn parts_of_an_open_loop(report: &Value) {
    let mean = |name: &str| float(&report["latency_us"][name]["mean"]);
    let rest = mean("response") - mean("queue_wait") - mean("service");
    assert!(rest.abs() <= 0.02 * mean("response") + 1000.0, "{rest}: {report}");
}

/// One of 1,000 requests is slow, and 999 are not.
fn a_percentile_of_a_thousand_is_exact(driver: &str) {
    let server = Server::start(|peer| {
        for number in 1.. {
            if peer.request().is_none() {
                break;
            }
            if number == 500 {
                thread::sleep(Duration::from_millis(700));
            }
            peer.send(HELLO);
        }
    });
    let flags = ["-n", "1000", "-c", "1", "--threshold", "p99.9<600ms", "--threshold", "p99.91>600ms"];
    let report = report(driver, &server.url(), &flags);
    server.finish();
    assert!(response(&report, "p99_9").0 < 600.0 && response(&report, "max").0 > 600.0, "{report}");
}

fn a_warm_ups_bytes_are_left_out(driver: &str) {
    for flags in
        [&["-n", "50", "-c", "4"][..], &["-n", "50", "-c", "3", "-p", "8"], &["-R", "500", "-n", "50"]]
    {
        // Requests in flight when the measured part begins get their responses in it.
        let server = Server::start(slow(Duration::from_millis(3)));
        let report = report(driver, &server.url(), &[&["--warmup", "100ms"][..], flags].concat());
        server.finish();
        assert_eq!(number(&report["requests"]["completed"]), 50, "{report}");
        assert_eq!(number(&report["bytes_received"]), 50 * HELLO.len() as u64, "{report}");
    }
}

/// Eight requests are in flight when the measured part begins. Four get responses, so four requests of the measured
/// part follow: they have been due for a while. Then the server sends all eight responses at once.
fn what_comes_with_a_warm_ups_answer_is_counted(driver: &str) {
    let measured = || {
        let server = Server::start(|peer| {
            for _ in 0..8 {
                if peer.request().is_none() {
                    return;
                }
            }
            thread::sleep(Duration::from_millis(300));
            peer.send(&HELLO.repeat(4));
            for _ in 0..4 {
                assert!(peer.request().is_some());
            }
            peer.send(&HELLO.repeat(8));
            while peer.request().is_some() {
                peer.send(HELLO);
            }
        });
        let flags = ["--warmup", "100ms", "-R", "80", "-n", "50", "-c", "1", "-p", "8"];
        let report = report(driver, &server.url(), &flags);
        (server.finish().requests(), report)
    };
    // On a busy machine, the last of the warm-up comes too late to be sent.
    let (_, report) = once_in_five(measured, |(requests, _)| *requests == 58);
    assert_eq!(number(&report["requests"]["completed"]), 50, "{report}");
    assert_eq!(number(&report["bytes_received"]), 50 * HELLO.len() as u64, "{report}");
}

fn a_warm_up_that_times_out_is_counted_or_noted(driver: &str) {
    for (mode, counted) in [(&["-d", "2s"][..], 1), (&["-n", "20"], 0), (&["-d", "2s", "-R", "50"], 0)] {
        let first = AtomicBool::new(true);
        let server = Server::start(move |peer| {
            let answers = !first.swap(false, SeqCst);
            while peer.request().is_some() {
                if answers {
                    thread::sleep(Duration::from_millis(1));
                    peer.send(HELLO);
                }
            }
        });
        let flags = ["--warmup", "200ms", "-c", "2", "-t", "1", "--timeout", "500ms"];
        let report = report(driver, &server.url(), &[&flags[..], mode].concat());
        server.finish();
        assert_eq!(number(&report["errors"]["timeout"]), counted, "{mode:?}: {report}");
        let noted = notes(&report).contains("no response in the measured part either: 1");
        assert_eq!(noted, counted == 0, "{mode:?}: {report}");
    }
}
