//! `--replay`: each request of a log is sent once, as it stands there and when it says, whatever the threads.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::command::{float, number, once_in_five, report, run};
use crate::files::Directory;
use crate::http2_server::start;
use crate::server::{HELLO, Server};

on_both_drivers!(
    each_request_is_sent_once_as_it_stands,
    requests_are_sent_at_their_times,
    a_time_limit_cuts_a_replay,
    a_line_that_is_not_right_is_a_usage_error,
);

fn each_request_is_sent_once_as_it_stands(driver: &str) {
    let mut log = String::new();
    for index in 0..30 {
        let offset_s = f64::from(index / 3) / 100.0;
        let odd = index % 2;
        let rest = match index % 3 {
            0 => format!(r#""path":"/a?{odd}"}}"#),
            1 => {
                format!(r#""method":"POST","path":"/b","body":"x{odd}","headers":{{"X-Y":"own"}}}}{}"#, "\n")
            }
            _ => r#""method":"DELETE","path":"/c"}"#.to_owned(),
        };
        writeln!(log, r#"{{"offset_s":{offset_s},{rest}"#).expect("a string takes everything");
    }
    let directory = Directory::new();
    let file = directory.write("replay.jsonl", &log);
    for threads in ["1", "2"] {
        let seen = Arc::new(Mutex::new(BTreeMap::<String, u32>::new()));
        let own = Arc::clone(&seen);
        let server = Server::start(move |peer| {
            while let Some(request) = peer.request() {
                let line = request.head.lines().next().expect("a line").trim_end_matches(" HTTP/1.1");
                let body = String::from_utf8(request.body.clone()).expect("text");
                let fields = request.fields("x-y").join(",");
                *own.lock().expect("no panic").entry(format!("{line} {body} {fields}")).or_default() += 1;
                peer.send(HELLO);
            }
        });
        let flags = ["--replay", &file, "-c", "3", "-t", threads, "-H", "X-Y: ours"];
        let report = report(driver, &server.url(), &flags);
        assert_eq!(server.finish().requests(), 30, "{report}");
        assert_eq!(number(&report["requests"]["completed"]), 30, "{report}");
        let expected = [
            ("GET /a?0  ours", 5),
            ("GET /a?1  ours", 5),
            ("POST /b x0 own", 5),
            ("POST /b x1 own", 5),
            ("DELETE /c  ours", 10),
        ];
        let expected = BTreeMap::from(expected.map(|(line, count)| (line.to_owned(), count)));
        assert_eq!(*seen.lock().expect("no panic"), expected);
        let replay = json!({ "requests": 30, "distinct": 5, "duration_s": 0.09 });
        assert_eq!(
            (&report["plan"]["replay"], &report["plan"]["mode"]),
            (&replay, &json!("open")),
            "{report}"
        );
        assert_eq!(number(&report["steps"]["/b"]["requests"]["completed"]), 10, "{report}");
        assert_eq!(report["ended_by"], "requests", "{report}");
    }
    // Over HTTP/2, with a warm-up in which they come in any order.
    let log =
        "{\"offset_s\":0,\"path\":\"/a\"}\n".to_owned() + &"{\"offset_s\":0.1,\"path\":\"/b\"}\n".repeat(9);
    let directory = Directory::new();
    let file = directory.write("replay.jsonl", &log);
    let server = start(ringtide::proto::h2::Options::default(), |http2| {
        while let Some(stream) = http2.request() {
            http2.answer(stream);
        }
    });
    let flags = ["--http2", "--replay", &file, "-c", "2", "-t", "1", "-p", "4", "--warmup", "100ms"];
    let report = report(driver, &server.url(), &flags);
    server.finish();
    assert_eq!(number(&report["requests"]["completed"]), 10, "{report}");
    assert_eq!(number(&report["steps"]["/b"]["requests"]["completed"]), 9, "{report}");
}

fn requests_are_sent_at_their_times(driver: &str) {
    let times_s = [0.0, 0.1, 0.1, 0.5, 0.55];
    let lines = times_s.map(|time_s| format!(r#"{{"offset_s":{time_s},"path":"/"}}"#));
    let log = lines.join("\n");
    let directory = Directory::new();
    let file = directory.write("replay.jsonl", &log);
    let arrivals = || {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let own = Arc::clone(&seen);
        let server = Server::start(move |peer| {
            while peer.request().is_some() {
                own.lock().expect("no panic").push(Instant::now());
                peer.send(HELLO);
            }
        });
        let ended = run(driver, &server.url(), &["--replay", &file, "-t", "2"]);
        server.finish();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains("open loop: replay of 5 requests over 550ms"), "{ended:?}");
        let mut seen = seen.lock().expect("no panic").clone();
        seen.sort_unstable();
        seen.iter().map(|at| *at - seen[0]).collect::<Vec<Duration>>()
    };
    once_in_five(arrivals, |arrivals| {
        arrivals.iter().zip(times_s).all(|(at, time_s)| (at.as_secs_f64() - time_s).abs() < 0.03)
    });
}

fn a_time_limit_cuts_a_replay(driver: &str) {
    let log = "{\"offset_s\":0,\"path\":\"/\"}\n{\"offset_s\":0.1,\"path\":\"/\"}\n{\"offset_s\":36000,\"path\":\"/\"}\n";
    let directory = Directory::new();
    let file = directory.write("replay.jsonl", log);
    let server = Server::answering(HELLO);
    let report = report(driver, &server.url(), &["--replay", &file, "-d", "300ms"]);
    server.finish();
    assert_eq!(number(&report["requests"]["scheduled"]), 2, "{report}");
    assert!(float(&report["duration_s"]) >= 0.3 && report["ended_by"] == "duration", "{report}");
}

fn a_line_that_is_not_right_is_a_usage_error(driver: &str) {
    for (log, says) in [
        (
            "{\"offset_s\":2,\"path\":\"/\"}\n\n{\"offset_s\":1,\"path\":\"/\"}\n",
            ":3: offset_s goes back from 2 to 1",
        ),
        ("{\"offset_s\":2,\"path\":\"/\",\"x\":1}\n", ":1: unknown field `x`"),
        ("", ":1: there is no request in the file"),
    ] {
        let directory = Directory::new();
        let file = directory.write("replay.jsonl", log);
        let ended = run(driver, "http://127.0.0.1:1/", &["--replay", &file]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        let says = format!("error: {file}{says}");
        assert!(ended.stderr.starts_with(&says), "{ended:?}");
    }
}
