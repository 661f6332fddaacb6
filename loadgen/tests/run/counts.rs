//! The counts of a run match what the server received, no matter how the run proceeds and ends.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::command::{begin, number, once_in_five, report, run};
use crate::server::{HELLO, Server, Tally, next_request};

on_both_drivers!(
    a_number_of_requests_is_sent_exactly,
    a_time_is_cut_off_in_the_middle,
    a_rate_is_sent_exactly,
    pipelined_requests_are_counted_one_by_one,
    pipelined_bodies_wait_for_each_other,
    a_pipelined_run_ends_with_its_last_answer,
    a_pipelined_run_is_cut_off_in_the_middle,
    a_connection_for_each_request,
    connections_for_each_request_are_cut_off_in_the_middle,
    a_rate_beyond_the_server_is_cut_off_in_the_middle,
    an_interrupt_is_counted_to_the_last_request,
    requests_that_are_not_answered_are_counted,
    a_large_body_is_cut_off_in_the_middle,
    what_waits_behind_a_full_socket_is_not_sent,
    bytes_are_counted_exactly,
    a_warm_up_is_sent_and_not_counted,
    a_request_that_hangs_since_the_warm_up_is_counted,
    a_connect_that_hangs_since_the_warm_up_is_counted,
    what_the_end_cuts_off_in_good_time_is_no_failure,
    a_poisson_schedule_is_sent_exactly,
    each_connection_has_its_share_whatever_its_worker,
    more_connections_are_opened_when_all_are_busy,
);

/// Checks that both ends counted the same, in a run without a warm-up.
#[track_caller]
fn agree(report: &Value, tally: &Tally) {
    assert_eq!(number(&report["requests"]["sent"]), tally.requests(), "{report} {tally:?}");
    assert_eq!(number(&report["bytes_sent"]), tally.bytes_received.load(SeqCst), "{report} {tally:?}");
}

#[track_caller]
fn all_completed(report: &Value, count: u64) {
    for name in ["scheduled", "sent", "completed"] {
        assert_eq!(number(&report["requests"][name]), count, "{name} in {report}");
    }
}

fn a_number_of_requests_is_sent_exactly(driver: &str) {
    for (count, flags) in [
        (1, &["-n", "1"][..]),
        (1000, &["-n", "1k", "-c", "8"]),
        (1003, &["-n", "1003", "-c", "7", "-t", "3"]),
    ] {
        let server = Server::answering(HELLO);
        let report = report(driver, &server.url(), flags);
        let tally = server.finish();
        all_completed(&report, count);
        agree(&report, &tally);
        assert_eq!(tally.parts.load(SeqCst), 0);
    }
}

fn a_time_is_cut_off_in_the_middle(driver: &str) {
    for threads in ["1", "2"] {
        let server = Server::answering(HELLO);
        let report = report(driver, &server.url(), &["-d", "300ms", "-c", "8", "-t", threads]);
        agree(&report, &server.finish());
        assert!(number(&report["requests"]["completed"]) > 10, "{report}");
        // This can be fewer than 8: a connection may be between two requests at the end.
        assert!(number(&report["requests"]["censored"]) <= 8, "{report}");
    }
}

fn a_rate_is_sent_exactly(driver: &str) {
    for flags in [&["-t", "1"][..], &["-t", "2"], &["-t", "2", "-p", "4"]] {
        let server = Server::answering(HELLO);
        let mut all = vec!["-R", "500", "-d", "400ms", "-c", "8"];
        all.extend(flags);
        let result = report(driver, &server.url(), &all);
        agree(&result, &server.finish());
        assert_eq!(number(&result["requests"]["scheduled"]), 200, "{result}");
    }
    let server = Server::answering(HELLO);
    let result = report(driver, &server.url(), &["-R", "1k", "-n", "123", "-c", "4"]);
    all_completed(&result, 123);
    agree(&result, &server.finish());
}

fn pipelined_requests_are_counted_one_by_one(driver: &str) {
    let server = Server::answering(HELLO);
    let report = report(driver, &server.url(), &["-n", "2001", "-c", "3", "-p", "8"]);
    all_completed(&report, 2001);
    agree(&report, &server.finish());
}

/// The requests are larger than what is sent together, so they wait for each other. On an idle machine the run takes a
/// millisecond. The fastest of a few tries shows whether it ends with the last response.
fn a_pipelined_run_ends_with_its_last_answer(driver: &str) {
    let server = Server::answering(HELLO);
    let fastest_s = (0..5)
        .filter_map(|_| {
            report(driver, &server.url(), &["-n", "5", "-p", "4", "-c", "2"])["duration_s"].as_f64()
        })
        .fold(f64::INFINITY, f64::min);
    assert!(fastest_s < 0.1, "{fastest_s} s");
    server.finish();
}

fn pipelined_bodies_wait_for_each_other(driver: &str) {
    let body = "x".repeat(100_000);
    let flags = ["-n", "101", "-c", "2", "-p", "4", "-X", "POST", "-b", &body, "--timeout", "10s"];
    let server = Server::answering(HELLO);
    let report = report(driver, &server.url(), &flags);
    all_completed(&report, 101);
    agree(&report, &server.finish());
}

fn a_pipelined_run_is_cut_off_in_the_middle(driver: &str) {
    let server = Server::answering(HELLO);
    let report = report(driver, &server.url(), &["-d", "300ms", "-c", "4", "-p", "8"]);
    agree(&report, &server.finish());
    assert!(number(&report["requests"]["censored"]) <= 32, "{report}");
}

fn a_connection_for_each_request(driver: &str) {
    let server = Server::start(|peer| {
        if let Some(request) = peer.request() {
            assert_eq!(request.fields("connection"), ["close"]);
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        }
    });
    let report = report(driver, &server.url(), &["-n", "200", "-c", "4", "--no-keepalive"]);
    let tally = server.finish();
    all_completed(&report, 200);
    agree(&report, &tally);
    // The connection with which each worker probes the server also serves its first request.
    assert_eq!(tally.connections.load(SeqCst), 200, "{report}");
    assert_eq!(number(&report["phases_us"]["connect"]["count"]), 200, "{report}");
}

fn connections_for_each_request_are_cut_off_in_the_middle(driver: &str) {
    for flags in [&["-t", "1"][..], &["-t", "2"], &["-R", "3k"]] {
        let server = Server::answering(HELLO);
        let mut all = vec!["-d", "300ms", "-c", "8", "--no-keepalive"];
        all.extend(flags);
        let report = report(driver, &server.url(), &all);
        agree(&report, &server.finish());
        assert!(number(&report["requests"]["completed"]) > 10, "{report}");
    }
}

fn a_rate_beyond_the_server_is_cut_off_in_the_middle(driver: &str) {
    for flags in [&[][..], &["-p", "4"], &["--max-connections", "16"], &["--arrival", "poisson"]] {
        let server = Server::start(|peer| {
            while peer.request().is_some() {
                std::thread::sleep(Duration::from_millis(7));
                peer.send(HELLO);
            }
        });
        let mut all = vec!["-R", "3k", "-d", "300ms", "-c", "4", "-t", "2"];
        all.extend(flags);
        let report = report(driver, &server.url(), &all);
        agree(&report, &server.finish());
        assert!(number(&report["requests"]["censored"]) > 100, "{report}");
    }
}

fn an_interrupt_is_counted_to_the_last_request(driver: &str) {
    for flags in [&["-d", "50s"][..], &["-n", "1G", "-p", "4"], &["-R", "2k", "-d", "50s"]] {
        let (seen, wait) = channel();
        let server = Server::start(move |peer| {
            while peer.request().is_some() {
                let _ = seen.send(());
                peer.send(HELLO);
            }
        });
        let mut all = vec!["-c", "4", "--format", "json"];
        all.extend(flags);
        let running = begin(driver, &server.url(), &all);
        for _ in 0..100 {
            wait.recv_timeout(Duration::from_secs(20)).expect("requests come");
        }
        running.interrupt();
        let ended = running.wait();
        let report = ended.report(130);
        agree(&report, &server.finish());
        assert_eq!(report["interrupted"], true);
        // Of the 100 that arrived, the answers to 16 may be on their way.
        assert!(number(&report["requests"]["completed"]) >= 84, "{report}");
    }
}

fn requests_that_are_not_answered_are_counted(driver: &str) {
    let server = Server::start(|peer| while peer.request().is_some() {});
    let report = report(driver, &server.url(), &["-d", "300ms", "-c", "5", "-p", "3"]);
    agree(&report, &server.finish());
    assert_eq!(number(&report["requests"]["censored"]), 15, "{report}");
    assert_eq!(number(&report["requests"]["sent"]), 15, "{report}");
    assert_eq!(number(&report["latency_us"]["service"]["censored"]), 15, "{report}");
}

fn a_large_body_is_cut_off_in_the_middle(driver: &str) {
    let path = std::env::temp_dir().join(format!("ringtide-body-{driver}-{}", std::process::id()));
    std::fs::write(&path, vec![b'x'; 3_000_000]).expect("writable");
    let server = Server::answering(HELLO);
    let body = format!("@{}", path.display());
    let report = report(driver, &server.url(), &["-d", "300ms", "-c", "3", "-X", "POST", "-b", &body]);
    std::fs::remove_file(&path).expect("removable");
    agree(&report, &server.finish());
}

/// The server reads nothing before the run is over. So the first bodies fill the sockets, and the others wait in the
/// client. The kernel usually takes a part of the last body. It takes none of it if the previous body ended exactly
/// when the socket was full.
fn what_waits_behind_a_full_socket_is_not_sent(driver: &str) {
    for (parallel, body_size, timeout) in [
        (200, 100_000, "30s"),
        // Three of these are sent together, and the cut is in the middle of one.
        (1_024, 5_400, "30s"),
        // Requests that were given up with their connection are counted as exactly as those that the end cuts off.
        (200, 100_000, "100ms"),
    ] {
        let (over, wait) = channel::<()>();
        let wait = Mutex::new(wait);
        let server = Server::start(move |peer| {
            // Returns when the other end of the channel is dropped.
            let _ = wait.lock().expect("no panic").recv();
            while peer.request().is_some() {}
        });
        let (parallel, body) = (parallel.to_string(), "x".repeat(body_size));
        let flags =
            ["-d", "350ms", "-c", "2", "-p", &parallel, "-X", "POST", "-b", &body, "--timeout", timeout];
        let report = report(driver, &server.url(), &flags);
        drop(over);
        let tally = server.finish();
        agree(&report, &tally);
        let (sent, all) = (tally.requests(), number(&report["requests"]["scheduled"]));
        assert!(sent > 0 && sent < all, "{sent} of {all} have room: {report}");
        assert_eq!(number(&report["requests"]["completed"]), 0, "{report}");
        assert_eq!(number(&report["requests"]["failed"]) > 0, timeout == "100ms", "{report}");
    }
}

fn bytes_are_counted_exactly(driver: &str) {
    for flags in [&["-n", "500", "-c", "5"][..], &["-n", "500", "-c", "5", "-p", "8"]] {
        let server = Server::answering(HELLO);
        let report = report(driver, &server.url(), flags);
        let tally = server.finish();
        let (received, sent) = (tally.bytes_received.load(SeqCst), tally.bytes_sent.load(SeqCst));
        assert_eq!(number(&report["bytes_received"]), sent, "{report}");
        assert_eq!(sent, 500 * HELLO.len() as u64);
        assert_eq!(number(&report["bytes_sent"]), received, "{report}");
    }
}

fn a_warm_up_is_sent_and_not_counted(driver: &str) {
    let server = Server::answering(HELLO);
    let report = report(driver, &server.url(), &["-R", "500", "-n", "50", "--warmup", "200ms", "-c", "4"]);
    let tally = server.finish();
    // The connections were opened before the warm-up, and the measured requests reuse them.
    assert_eq!(number(&report["connections_opened_before_start"]), 4, "{report}");
    assert_eq!(number(&report["connections_opened"]), 0, "{report}");
    all_completed(&report, 50);
    // 500 per second for 200 ms, plus the 50. On a busy machine, the last of the warm-up come too late to be sent.
    assert!((120..=150).contains(&tally.requests()), "{tally:?}: {report}");
    assert_eq!(number(&report["bytes_received"]), 50 * HELLO.len() as u64, "{report}");
}

fn a_request_that_hangs_since_the_warm_up_is_counted(driver: &str) {
    // In an open loop, the schedule determines which requests belong to the measured part.
    for (mode, hung) in [(&[][..], 1), (&["-R", "100", "--max-connections", "2"], 0)] {
        let first = AtomicBool::new(true);
        let server = Server::start(move |peer| {
            let answers = !first.swap(false, SeqCst);
            while peer.request().is_some() {
                if answers {
                    peer.send(HELLO);
                }
            }
        });
        let mut flags = vec!["--warmup", "200ms", "-d", "300ms", "-c", "2", "-t", "1"];
        flags.extend(mode);
        let report = report(driver, &server.url(), &flags);
        server.finish();
        let censored = number(&report["requests"]["censored"]);
        // The other connection's request may be cut off, too, and in an open loop those that wait for a connection.
        assert!(hung <= censored && (hung == 0 || censored <= 2), "{report}");
        // It has waited since before the measured part.
        let waited = report["latency_us"]["response"]["max"].as_f64() > Some(400_000.0);
        assert_eq!(waited, hung == 1, "{report}");
    }
}

fn what_the_end_cuts_off_in_good_time_is_no_failure(driver: &str) {
    for (hangs, code) in [(false, 0), (true, 3)] {
        let measured = || {
            let server = Server::start(move |peer| {
                for number in 0.. {
                    if peer.request().is_none() {
                        break;
                    }
                    if hangs && number == 5 {
                        peer.wait_for_end();
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(50));
                    peer.send(HELLO);
                }
            });
            let flags = ["-d", "600ms", "-c", "3", "--threshold", "success>=100%", "--format", "json"];
            let ended = run(driver, &server.url(), &flags);
            server.finish();
            ended
        };
        // On a busy machine, one of the last may have taken longer than any before it.
        let report = once_in_five(measured, |ended| ended.code == Some(code)).any_report();
        assert!(number(&report["requests"]["censored"]) > 0, "{report}");
    }
}

fn a_connect_that_hangs_since_the_warm_up_is_counted(driver: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = listener.local_addr().expect("bound");
    socket2::SockRef::from(&listener).listen(0).expect("bound");
    let (over, wait) = channel::<()>();
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody connects");
        // Takes the only place in the queue before the client has to connect again.
        let _taken = TcpStream::connect(address).expect("there is a place");
        let (tally, mut buffer) = (Tally::default(), Vec::new());
        next_request(&mut stream, &mut buffer, &tally).expect("it asks");
        stream.write_all(HELLO).expect("it is there");
        let _ = wait.recv();
    });
    let flags = [
        "--no-keepalive",
        "-c",
        "1",
        "-t",
        "1",
        "--warmup",
        "500ms",
        "-d",
        "500ms",
        "--connect-timeout",
        "20s",
    ];
    let report = report(driver, &format!("http://{address}/"), &flags);
    drop(over);
    serving.join().expect("no panic");
    assert_eq!(number(&report["requests"]["censored"]), 1, "{report}");
    assert_eq!(number(&report["requests"]["sent"]), 0, "{report}");
}

fn a_poisson_schedule_is_sent_exactly(driver: &str) {
    let flags = ["-R", "1k", "--arrival", "poisson", "-d", "400ms", "-c", "8", "-t", "2", "--seed", "7"];
    let mut scheduled = None;
    for _ in 0..2 {
        let server = Server::answering(HELLO);
        let report = report(driver, &server.url(), &flags);
        agree(&report, &server.finish());
        let count = number(&report["requests"]["scheduled"]);
        // 400 on average, with a standard deviation of 20.
        assert!((300..=500).contains(&count), "{report}");
        // Only the seed determines the count.
        assert_eq!(*scheduled.get_or_insert(count), count);
    }
}

fn each_connection_has_its_share_whatever_its_worker(driver: &str) {
    // There are three connections, and one of the two workers has only one of them.
    for mode in [&[][..], &["-R", "600"], &["-R", "600", "--arrival", "poisson"]] {
        let each = Arc::new(Mutex::new(Vec::new()));
        let counts = Arc::clone(&each);
        let server = Server::start(move |peer| {
            let mut count = 0;
            while peer.request().is_some() {
                count += 1;
                std::thread::sleep(Duration::from_millis(1));
                peer.send(HELLO);
            }
            counts.lock().expect("no panic").push(count);
        });
        let mut flags = vec!["-n", "120", "-c", "3", "-t", "2"];
        flags.extend(mode);
        all_completed(&report(driver, &server.url(), &flags), 120);
        server.finish();
        let each = each.lock().expect("no panic");
        assert!(each.len() == 3 && each.contains(&40), "{mode:?}: {each:?}");
    }
}

fn more_connections_are_opened_when_all_are_busy(driver: &str) {
    let server = Server::start(|peer| {
        while peer.request().is_some() {
            std::thread::sleep(Duration::from_millis(50));
            peer.send(HELLO);
        }
    });
    let flags = ["-R", "100", "-d", "500ms", "-c", "1", "--max-connections", "20"];
    let report = report(driver, &server.url(), &flags);
    let tally = server.finish();
    agree(&report, &tally);
    // However late a busy machine is, what came due counts.
    assert_eq!(number(&report["requests"]["scheduled"]), 50, "{report}");
    // 100 requests per second of 50 ms each: five at a time.
    let connections = tally.connections.load(SeqCst);
    assert!((5..=20).contains(&connections), "{connections}");
}
