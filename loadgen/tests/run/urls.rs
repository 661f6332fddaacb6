//! `--urls`: which requests are sent how often, and what the report says of each.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::channel;

use serde_json::Value;

use crate::command::{begin_bare, number};
use crate::files::Directory;
use crate::server::{HELLO, Server};

on_both_drivers!(
    urls_are_sent_as_often_as_their_weights_say,
    a_seed_decides_the_order,
    each_name_has_figures_of_its_own,
    names_share_what_was_never_drawn,
    a_threshold_is_for_one_name,
    urls_go_over_http_2,
    a_line_that_is_not_right_is_named,
);

/// A server that answers each request, but those for `/slow` never; it tells the targets.
fn server() -> (Server, std::sync::mpsc::Receiver<String>) {
    let (sender, targets) = channel();
    let server = Server::start(move |peer| {
        while let Some(request) = peer.request() {
            let target = request.head.split(' ').nth(1).expect("a target").to_owned();
            let is_slow = target == "/slow";
            let _ = sender.send(target);
            if is_slow {
                return peer.wait_for_end();
            }
            peer.send(HELLO);
        }
    });
    (server, targets)
}

fn run(driver: &str, file: &str, flags: &[&str]) -> crate::command::Ended {
    let words = ["--urls", file, "--format", "json"].into_iter().chain(flags.iter().copied());
    begin_bare(driver, &words.collect::<Vec<_>>()).wait()
}

fn completed(report: &Value, name: &str) -> u64 {
    number(&report["steps"][name]["requests"]["completed"])
}

fn urls_are_sent_as_often_as_their_weights_say(driver: &str) {
    let (server, targets) = server();
    let (url, files) = (server.url(), Directory::new());
    let file = files.write("urls", &format!("# three\n{url}a\t7\n{url}b\t2\n\n{url}c?d=1\n"));
    for flags in [&["-c", "4"][..], &["-c", "4", "-p", "8"], &["-R", "20k"]] {
        let mut all = vec!["-n", "2000", "-X", "POST", "-b", "body", "--seed", "5"];
        all.extend(flags);
        let report = run(driver, &file, &all).report(0);
        let seen: Vec<String> = targets.try_iter().collect();
        assert_eq!(seen.len(), 2000);
        let mut expected = 0.0;
        for (name, part) in [("/a", 0.7), ("/b", 0.2), ("/c?d=1", 0.1)] {
            let count = seen.iter().filter(|target| *target == name).count() as u64;
            assert_eq!(completed(&report, name), count, "{report}");
            // Six standard deviations.
            let tolerance = 6.0 * f64::sqrt(2000.0 * part);
            assert!((count as f64 - 2000.0 * part).abs() < tolerance, "{name}: {count}");
            expected += part;
        }
        assert!((expected - 1.0).abs() < 1e-9);
        assert_eq!(report["plan"]["url"], url);
    }
    let sent = server.finish().bytes_received.load(SeqCst);
    assert!(sent > 6000 * 60, "{sent}");
}

fn a_seed_decides_the_order(driver: &str) {
    let (server, targets) = server();
    let (url, files) = (server.url(), Directory::new());
    let file = files.write("urls", &format!("{url}a\n{url}b\n"));
    let order = |seed| {
        let report = run(driver, &file, &["-n", "64", "-c", "1", "--seed", seed]).report(0);
        // Every byte of every request is counted, though they differ.
        assert!(number(&report["bytes_sent"]) > 64 * 40, "{report}");
        targets.try_iter().collect::<Vec<_>>()
    };
    let first = order("1");
    assert_eq!(first, order("1"));
    assert_ne!(first, order("2"));
    server.finish();
}

fn each_name_has_figures_of_its_own(driver: &str) {
    let (server, _targets) = server();
    let (url, files) = (server.url(), Directory::new());
    let file = files.write("urls", &format!("{url}slow\n{url}\n"));
    let flags = ["-c", "8", "-d", "400ms", "--timeout", "100ms", "--seed", "3"];
    let report = run(driver, &file, &flags).report(0);
    let names: Vec<_> = report["steps"].as_object().expect("an object").keys().collect();
    assert_eq!(names, ["/", "/slow"]);
    let [fast, slow] = ["/", "/slow"].map(|name| &report["steps"][name]);
    for field in ["scheduled", "sent", "completed", "failed", "censored"] {
        let sum = number(&fast["requests"][field]) + number(&slow["requests"][field]);
        assert_eq!(number(&report["requests"][field]), sum, "{field}: {report}");
    }
    assert_eq!((number(&slow["requests"]["completed"]), number(&fast["requests"]["failed"])), (0, 0));
    let failed = number(&slow["requests"]["failed"]);
    assert!(failed > 0 && number(&slow["errors"]["timeout"]) == failed, "{report}");
    // What was cut off at the end is known under its name.
    let censored = number(&slow["latency_us"]["response"]["censored"]);
    assert_eq!(censored, failed + number(&slow["requests"]["censored"]), "{report}");
    assert_eq!(fast["latency_us"]["response"]["count"], fast["requests"]["completed"], "{report}");
    server.finish();
}

fn names_share_what_was_never_drawn(driver: &str) {
    let (server, _targets) = server();
    let (url, files) = (server.url(), Directory::new());
    let file = files.write("urls", &format!("{url}slow\n{url}\n"));
    // One connection, blocked by the first slow request.
    let flags = ["-c", "1", "-d", "500ms", "-R", "2k", "--seed", "3"];
    let report = run(driver, &file, &flags).report(0);
    let steps = report["steps"].as_object().expect("an object");
    let sum: u64 = steps.values().map(|step| number(&step["requests"]["scheduled"])).sum();
    // Each share is rounded.
    assert!(number(&report["requests"]["scheduled"]).abs_diff(sum) <= 1, "{report}");
    assert!(number(&report["requests"]["censored"]) > 500, "{report}");
    let bounds = &report["steps"]["/"]["latency_us"]["queue_wait"]["lower_bounds"];
    assert!(bounds.as_array().is_some_and(|bounds| !bounds.is_empty()), "{report}");
    server.finish();
}

fn a_threshold_is_for_one_name(driver: &str) {
    let (server, _targets) = server();
    let (url, files) = (server.url(), Directory::new());
    let file = files.write("urls", &format!("{url}a\n{url}b\n"));
    let flags =
        ["-n", "40", "--threshold", "/a:p99<50s", "--threshold", "/b:p99<1ns", "--threshold", "/a:errors<1"];
    let report = run(driver, &file, &flags).report(3);
    let met: Vec<_> = (0..3).map(|index| report["thresholds"][index]["met"].clone()).collect();
    assert_eq!(met, [true, false, true], "{report}");
    let refused = run(driver, &file, &["--threshold", "/c:p99<1s"]);
    refused.refused_with_advice(2, &["--threshold", "no request is named `/c`; there are /a, /b"]);
    let text = begin_bare(driver, &["--urls", &file, "-n", "10"]).wait();
    assert!(text.stdout.contains("Requests by name") && text.stdout.contains("\n  /b "), "{text:?}");
    server.finish();
}

fn urls_go_over_http_2(driver: &str) {
    let site = crate::site::Site::start();
    let files = Directory::new();
    let file = files.write("urls", &format!("{0}bytes/10\n{0}status/404\t3\n", site.url()));
    let report = run(driver, &file, &["--http2", "-p", "20", "-c", "2", "-n", "1000"]).report(0);
    let (found, missing) = (completed(&report, "/bytes/10"), completed(&report, "/status/404"));
    assert_eq!((found + missing, number(&report["status"]["404"])), (1000, missing), "{report}");
    assert!((100..500).contains(&found), "{report}");
}

fn a_line_that_is_not_right_is_named(driver: &str) {
    let files = Directory::new();
    let file = files.write("urls", "http://127.0.0.1:1/\nhttp://127.0.0.1:2/\n");
    run(driver, &file, &[]).refused_with_advice(2, &[&file, ":2: ", "a run has one origin", "line 1"]);
    let missing = files.path().join("none").display().to_string();
    run(driver, &missing, &[]).refused_with_advice(2, &["--urls: cannot read", &missing]);
    let both = begin_bare(driver, &["http://127.0.0.1:1/", "--urls", &file]).wait();
    both.refused_with_advice(2, &["a URL does not go with --urls"]);
}
