//! The files that a run writes beside its report.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::command::{begin, float, number, report, run};
use crate::files::Directory;
use crate::server::{HELLO, Server};

on_both_drivers!(
    lines_of_json_grow_while_the_run_goes_on,
    the_interval_log_is_read_by_its_library,
    csv_is_a_line_of_names_and_one_of_figures,
    a_summary_begins_with_the_verdict,
    thresholds_become_test_cases,
    metrics_end_with_their_mark,
    a_file_that_cannot_be_written_stops_the_run_before_it_begins,
    one_file_that_fails_takes_no_other_with_it,
    nothing_secret_stands_in_any_of_them,
);

fn path(folder: &Directory, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

fn read(folder: &Directory, name: &str) -> String {
    std::fs::read_to_string(folder.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn lines_of_json_grow_while_the_run_goes_on(driver: &str) {
    let folder = Directory::new();
    let server = Server::answering(HELLO);
    let file = path(&folder, "seconds.jsonl");
    std::fs::write(&file, "an older file\n".repeat(1_000)).expect("writable");
    let all = report(driver, &server.url(), &["-d", "2300ms", "-c", "2", "--timeseries", &file]);
    let seconds = lines(&read(&folder, "seconds.jsonl"));
    let points = all["series"]["points"].as_array().expect("points");
    assert_eq!(seconds.len(), points.len(), "{all}");
    for (second, point) in seconds.iter().zip(points) {
        let ended = float(&all["started_unix_s"]) + float(&point["at_s"]) + float(&point["duration_s"]);
        assert!((float(&second["unix_s"]) - ended).abs() < 0.01, "{second}");
        let mut without = second.clone();
        without.as_object_mut().expect("an object").remove("unix_s");
        assert_eq!(&without, point);
    }
    // A killed run leaves its lines, each whole.
    let running = begin(driver, &server.url(), &["-d", "1h", "-c", "2", "--timeseries", &file, "--quiet"]);
    let began = Instant::now();
    let ready = || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let new = text.lines().next().is_some_and(|line| line.contains("\"at_s\":0.0,\"duration_s\":1.0"));
        new && text.lines().count() >= 2
            && text.contains("\"at_s\":1.0,")
            && text.lines().count() < points.len()
    };
    while !ready() {
        assert!(began.elapsed() < Duration::from_secs(30), "no lines come");
        thread::sleep(Duration::from_millis(20));
    }
    running.signal(Signal::SIGKILL);
    running.wait();
    let seconds = lines(&read(&folder, "seconds.jsonl"));
    assert!(
        seconds.len() >= 2 && seconds.iter().all(|second| number(&second["completed"]) > 0),
        "{seconds:?}"
    );
    server.finish();
}

/// The histograms of a log with their tags, read by the library.
fn read_log(text: &str) -> Vec<(Option<String>, f64, f64, Histogram<u64>)> {
    let mut found = Vec::new();
    for entry in IntervalLogIterator::new(text.as_bytes()) {
        if let LogEntry::Interval(line) = entry.unwrap_or_else(|error| panic!("{error:?} in {text}")) {
            let bytes = base64_of(line.encoded_histogram());
            let histogram = Deserializer::new().deserialize(&mut bytes.as_slice()).expect("a histogram");
            let tag = line.tag().map(|tag| tag.as_str().to_owned());
            let (at, long) = (line.start_timestamp().as_secs_f64(), line.duration().as_secs_f64());
            assert!((line.max() - histogram.max() as f64 / 1e6).abs() < 0.001, "{text}");
            found.push((tag, at, long, histogram));
        }
    }
    found
}

/// Decodes base64 without the crate that wrote it.
fn base64_of(text: &str) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        bits = bits << 6 | alphabet.iter().position(|known| *known == letter).expect("base64") as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

fn the_interval_log_is_read_by_its_library(driver: &str) {
    let folder = Directory::new();
    // Every connection answers 20 requests and then none.
    let server = Server::start(|peer| {
        for _ in 0..20 {
            if peer.request().is_none() {
                return;
            }
            peer.send(HELLO);
        }
        peer.wait_for_end();
    });
    let file = path(&folder, "log.hdr");
    let flags = ["-d", "2200ms", "-c", "2", "-t", "2", "--timeout", "300ms", "--hdr", &file];
    let all = report(driver, &server.url(), &flags);
    let log = read_log(&read(&folder, "log.hdr"));
    let mut whole: [Option<Histogram<u64>>; 2] = [None, None];
    for (tag, at, long, histogram) in &log {
        assert!((at - at.round()).abs() < 0.001 && *long > 0.0, "{at} {long}");
        let sum = &mut whole[usize::from(tag.is_some())];
        match sum {
            Some(sum) => sum.add(histogram).expect("the same bounds"),
            None => *sum = Some(histogram.clone()),
        }
        assert!(tag.is_none() || (tag.as_deref() == Some("censored") && !histogram.is_empty()), "{tag:?}");
    }
    for (part, name) in whole.iter().zip(["completed", "censored"]) {
        let text =
            all["histograms"]["response"][name].as_str().unwrap_or_else(|| panic!("no {name} in {all}"));
        let expected = ringtide_loadgen::hdr::decode(text).expect("a histogram");
        assert_eq!(part.as_ref(), Some(&expected), "{name}");
    }
    let times = &all["latency_us"]["response"];
    assert!(number(&times["censored"]) >= 2 && number(&all["errors"]["timeout"]) >= 2, "{all}");
    server.finish();
}

fn csv_is_a_line_of_names_and_one_of_figures(driver: &str) {
    let server = Server::answering(HELLO);
    let ended =
        run(driver, &server.url(), &["-n", "50", "-c", "2", "--format", "csv", "--threshold", "p99<1ns"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let lines: Vec<&str> = ended.stdout.split("\r\n").collect();
    assert_eq!((lines.len(), lines[2]), (3, ""), "{ended:?}");
    let names: Vec<&str> = lines[0].split(',').collect();
    // The verdict of so short a run has a reason, which holds a comma.
    let of = |name: &str| {
        let at = names.iter().position(|column| *column == name).unwrap_or_else(|| panic!("no {name}"));
        lines[1].split(',').nth(at).expect("it is there").to_owned()
    };
    assert_eq!((of("completed"), of("status_2xx"), of("mode")), ("50".into(), "50".into(), "closed".into()));
    assert!(of("response_p99_us").parse::<f64>().expect("a number") > 0.0);
    assert!(lines[1].ends_with(",1,1"), "one threshold, one missed: {ended:?}");
    assert!(ended.stderr.contains("threshold missed: p99<1ns"), "{ended:?}");
    server.finish();
}

fn a_summary_begins_with_the_verdict(driver: &str) {
    let folder = Directory::new();
    let server = Server::answering(HELLO);
    let file = path(&folder, "page.md");
    let ended = run(
        driver,
        &server.url(),
        &["-n", "50", "--summary", &file, "--threshold", "p99<1ns", "--threshold", "errors<1"],
    );
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stdout.starts_with("GET "), "the report is where it was: {ended:?}");
    let page = read(&folder, "page.md");
    assert!(page.starts_with("## ❌ Verdict: ") && page.contains(" · 1 of 2 thresholds missed"), "{page}");
    for piece in ["<code>p99&lt;1ns</code> |", "❌ missed", "✅ held", "50 completed in", "| response |"] {
        assert!(page.contains(piece), "`{piece}` in {page}");
    }
    server.finish();
}

fn thresholds_become_test_cases(driver: &str) {
    let folder = Directory::new();
    let server = Server::answering(HELLO);
    let file = path(&folder, "tests.xml");
    let url = format!("{}?a=1&b=2", server.url());
    let flags = [
        "-d",
        "300ms",
        "--junit",
        &file,
        "--threshold",
        "p99<1ns",
        "--threshold",
        "success>=50%",
        "--max-errors",
        "5",
    ];
    let ended = run(driver, &url, &flags);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let text = read(&folder, "tests.xml");
    let document = roxmltree::Document::parse(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
    let cases: Vec<_> = document.descendants().filter(|node| node.has_tag_name("testcase")).collect();
    let of = |name: &str| {
        let case = cases.iter().find(|case| case.attribute("name") == Some(name));
        let case = case.unwrap_or_else(|| panic!("no {name} in {text}"));
        assert_eq!(case.attribute("classname"), Some(format!("GET {url}").as_str()), "{text}");
        case.descendants()
            .find(|node| node.has_tag_name("failure"))
            .map(|node| node.text().expect("why").to_owned())
    };
    assert!(
        of("p99<1ns").is_some_and(|why| why.starts_with("threshold missed: p99<1ns (observed ")),
        "{text}"
    );
    assert_eq!(of("success>=50%"), None, "{text}");
    assert_eq!(of("the verdict is valid"), None, "not required: {text}");
    server.finish();
}

fn metrics_end_with_their_mark(driver: &str) {
    let folder = Directory::new();
    let server = Server::answering(HELLO);
    let file = path(&folder, "metrics.txt");
    let ended = run(driver, &server.url(), &["-n", "50", "--openmetrics", &file]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let text = read(&folder, "metrics.txt");
    assert!(text.ends_with("\n# EOF\n"), "{text}");
    assert!(text.contains("\nringtide_requests_total{outcome=\"completed\"} 50\n"), "{text}");
    assert!(text.contains("\nringtide_responses_total{code=\"200\"} 50\n"), "{text}");
    server.finish();
}

const FLAGS: [&str; 6] = ["--timeseries", "--hdr", "--summary", "--junit", "--openmetrics", "--html"];

fn a_file_that_cannot_be_written_stops_the_run_before_it_begins(driver: &str) {
    let folder = Directory::new();
    let server = Server::answering(HELLO);
    for flag in FLAGS {
        run(driver, &server.url(), &["-n", "5", flag, "/nonexistent/file"])
            .refused(1, &["/nonexistent/file"]);
    }
    let file = path(&folder, "one");
    let ended = run(driver, &server.url(), &["-n", "5", "-o", &file, "--hdr", &file]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let why = format!("--output (-o) {file} does not go with --hdr {file}: each writes a file of its own");
    assert!(ended.stderr.contains(&why), "{ended:?}");
    assert_eq!(server.finish().requests(), 0);
    // A run that fails changes no earlier file.
    let old = path(&folder, "old");
    std::fs::write(&old, "old").expect("writable");
    for flag in FLAGS {
        let ended = run(driver, "http://no-such-host.invalid/", &["-n", "5", flag, &old]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert_eq!(read(&folder, "old"), "old", "{flag}");
    }
}

fn one_file_that_fails_takes_no_other_with_it(driver: &str) {
    // Every write there fails (full(4)).
    if !Path::new("/dev/full").exists() {
        return crate::command::not_checked("outputs that fail: there is no /dev/full");
    }
    let folder = Directory::new();
    let server = Server::answering(HELLO);
    for failing in FLAGS.chunks(1).chain([&FLAGS[..2]]) {
        let mut words = vec!["-n".to_owned(), "50".to_owned(), "--format".to_owned(), "json".to_owned()];
        for flag in FLAGS {
            let file = if failing.contains(&flag) {
                "/dev/full".to_owned()
            } else {
                path(&folder, &flag.replace("--", ""))
            };
            words.extend([flag.to_owned(), file]);
        }
        let ended = run(driver, &server.url(), &words.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert_eq!(ended.stderr.matches("cannot write /dev/full").count(), failing.len(), "{ended:?}");
        let report: Value = serde_json::from_str(&ended.stdout).expect("the report is there");
        assert_eq!(number(&report["requests"]["completed"]), 50);
        for flag in FLAGS.iter().filter(|flag| !failing.contains(flag)) {
            let name = flag.replace("--", "");
            assert!(!read(&folder, &name).is_empty(), "{flag}");
            std::fs::remove_file(path(&folder, &name)).expect("removable");
        }
    }
    server.finish();
}

fn nothing_secret_stands_in_any_of_them(driver: &str) {
    let folder = Directory::new();
    // Some requests fail, so that there are messages.
    let server = Server::start(|peer| {
        if peer.request().is_some() {
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: a=s3cret\r\n\r\n");
        }
        if peer.request().is_some() {
            peer.send(b"HTTP/1.1 200 s3cret\r\nContent-Length: s3cret\r\n\r\n");
        }
    });
    for format in ["json", "text", "csv"] {
        let mut words: Vec<String> = [
            "-n",
            "20",
            "-c",
            "2",
            "-X",
            "POST",
            "-H",
            "Authorization: Basic s3cret",
            "-H",
            "Cookie: a=s3cret",
            "-b",
            "s3cret",
            "--threshold",
            "errors<1",
            "--format",
            format,
            "-o",
        ]
        .map(str::to_owned)
        .into();
        words.push(path(&folder, "report"));
        for flag in FLAGS {
            words.extend([flag.to_owned(), path(&folder, &flag.replace("--", ""))]);
        }
        let ended = run(driver, &server.url(), &words.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(ended.code, Some(3), "{ended:?}");
        let mut texts = vec![ended.stdout.clone(), ended.stderr.clone()];
        for file in std::fs::read_dir(folder.path()).expect("readable") {
            texts.push(std::fs::read_to_string(file.expect("readable").path()).expect("UTF-8"));
        }
        assert_eq!(texts.len(), 2 + 1 + FLAGS.len());
        for text in texts {
            assert!(!text.to_lowercase().contains("s3cret"), "{text}");
        }
    }
    server.finish();
    // A user name in the URL is refused, and not repeated.
    let refused = run(driver, "http://user:s3cret@127.0.0.1:1/", &["-n", "1"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(!refused.stderr.contains("s3cret"), "{refused:?}");
}
