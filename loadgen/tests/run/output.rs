//! The output of a run: what it prints, where, and its exit code.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;

use crate::command::{begin, float, number, report, run};
use crate::server::{HELLO, Server};

on_both_drivers!(
    the_report_has_every_field_of_its_contract,
    the_report_is_all_that_is_printed_in_a_pipe,
    lines_of_progress_are_there_when_asked_for,
    progress_tells_of_answers_that_are_no_success,
    the_first_of_a_number_and_a_time_ends_the_run,
    a_number_of_errors_ends_the_run,
    a_share_of_errors_ends_the_run,
    a_signal_ends_a_run_that_waits_for_a_reader,
    a_file_gets_the_report,
    thresholds_decide_the_exit_code,
    a_starved_generator_is_not_valid,
    a_signal_prints_the_report,
    a_warm_up_is_interrupted_at_once,
    a_second_interrupt_ends_at_once,
    a_seed_is_repeated,
    a_reader_that_goes_away_is_no_error,
);

/// The fields of a distribution. New fields may be added, but none may be renamed.
const SUMMARY: [&str; 12] =
    ["count", "min", "mean", "stdev", "p50", "p75", "p90", "p95", "p99", "p99_9", "p99_99", "max"];

fn the_report_has_every_field_of_its_contract(driver: &str) {
    let server = Server::answering(HELLO);
    let flags = [
        "-R",
        "500",
        "-n",
        "100",
        "-c",
        "4",
        "--threshold",
        "p99<10s",
        "--threshold",
        "errors<1%",
        "--seed",
        "5",
    ];
    let report = report(driver, &server.url(), &flags);
    let fields = |path: &str, names: &[&str]| {
        let object = report.pointer(path).and_then(Value::as_object);
        let object = object.unwrap_or_else(|| panic!("{path} in {report}"));
        for name in names {
            assert!(object.contains_key(*name), "{path}/{name} in {report}");
        }
    };
    fields("", &["schema", "tool", "plan", "environment", "requests", "requests_per_second"]);
    fields("", &["bytes_received_per_second", "duration_s", "latency_us", "phases_us", "status", "errors"]);
    fields("", &["generator", "verdict", "thresholds"]);
    fields("/tool", &["name", "version"]);
    fields("/plan", &["url", "connections", "threads", "mode", "rate", "duration_s", "http", "seed"]);
    fields("/environment", &["kernel", "cpu", "cores", "driver", "driver_features"]);
    fields("/requests", &["scheduled", "sent", "completed", "failed", "censored"]);
    for name in ["response", "service", "queue_wait", "schedule_lag"] {
        fields(&format!("/latency_us/{name}"), &SUMMARY);
    }
    for name in ["dns", "connect", "tls", "first_byte", "transfer"] {
        fields(&format!("/phases_us/{name}"), &SUMMARY);
    }
    let kinds = ["dns", "connect", "tls", "timeout", "reset", "closed", "incomplete", "protocol", "expect"];
    fields("/errors", &kinds);
    fields("/generator", &["cpu_us_per_request", "user_us_per_request", "cpu_utilisation"]);
    fields("/generator", &["syscalls_per_request", "heap_bytes_per_request", "heap_bytes_per_connection"]);
    fields("/generator", &["rss_peak_bytes"]);
    fields("/verdict", &["valid", "reasons"]);
    fields("/thresholds/0", &["expression", "observed", "unit", "met"]);

    assert_eq!(report["schema"], 1);
    assert_eq!(report["tool"]["name"], "ringtide");
    assert_eq!(report["tool"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(report["plan"]["url"], server.url());
    assert_eq!((&report["plan"]["mode"], &report["plan"]["http"]), (&"open".into(), &"1.1".into()));
    assert_eq!((&report["plan"]["rate"], &report["plan"]["seed"]), (&500.0.into(), &5.into()));
    assert_eq!(report["environment"]["driver"], driver);
    assert_eq!(report["thresholds"][0]["expression"], "p99<10s");
    assert_eq!(report["thresholds"][0]["unit"], "us");
    assert_eq!(report["thresholds"][1]["unit"], "%");
    // The binary counts its heap.
    assert!(number(&report["generator"]["heap_bytes_per_connection"]) > 0, "{report}");
    assert_eq!(number(&report["phases_us"]["connect"]["count"]), 4, "{report}");
    server.finish();
}

fn the_report_is_all_that_is_printed_in_a_pipe(driver: &str) {
    let server = Server::answering(HELLO);
    for flags in
        [&["-d", "600ms"][..], &["-d", "600ms", "--quiet"], &["-n", "10", "--quiet", "--format", "json"]]
    {
        let ended = run(driver, &server.url(), flags);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(ended.stderr, "", "{ended:?}");
        assert!(!ended.stdout.contains('\x1b') && !ended.stdout.contains('\r'), "{ended:?}");
        assert!(ended.stdout.starts_with("GET http://") || ended.stdout.starts_with('{'), "{ended:?}");
        assert!(ended.stdout.ends_with('\n'), "{ended:?}");
    }
    let text = run(driver, &server.url(), &["-n", "100", "-c", "2", "-t", "1"]).stdout;
    for piece in ["2 connections · 1 thread · closed loop", "100 completed", "200: 100", driver, "Verdict"]
    {
        assert!(text.contains(piece), "`{piece}` in {text}");
    }
    server.finish();
}

fn lines_of_progress_are_there_when_asked_for(driver: &str) {
    let server = Server::answering(HELLO);
    let ended = run(driver, &server.url(), &["-d", "2500ms", "-c", "2", "--no-tui", "-R", "100"]);
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert!((1..=3).contains(&lines.len()), "{ended:?}");
    for line in lines {
        assert!(line.contains("s of 2.5s · ") && line.ends_with(" · 0 errors"), "{ended:?}");
    }
    server.finish();
}

fn a_file_gets_the_report(driver: &str) {
    let path = std::env::temp_dir().join(format!("ringtide-report-{driver}-{}.json", std::process::id()));
    let place = path.display().to_string();
    let server = Server::answering(HELLO);
    let ended = run(driver, &server.url(), &["-n", "10", "-o", &place, "--format", "json"]);
    assert_eq!((ended.code, &ended.stdout[..], &ended.stderr[..]), (Some(0), "", ""), "{ended:?}");
    let written = std::fs::read_to_string(&path).expect("it was written");
    let report: Value = serde_json::from_str(&written).expect("JSON");
    assert_eq!(number(&report["requests"]["completed"]), 10);
    server.finish();
    // A run that fails does not change an earlier report.
    let ended = run(driver, "http://no-such-host.invalid/", &["-n", "10", "-o", &place]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(std::fs::read_to_string(&path).expect("it is still there"), written);
    std::fs::remove_file(&path).expect("removable");
    // If the report cannot be written, the run fails before it sends anything.
    let server = Server::answering(HELLO);
    run(driver, &server.url(), &["-o", "/nonexistent/report.json"]).refused(1, &["/nonexistent/report.json"]);
    assert_eq!(server.finish().requests(), 0);
}

fn thresholds_decide_the_exit_code(driver: &str) {
    let server = Server::answering(HELLO);
    let all = |thresholds: &[&str]| {
        let mut flags = vec!["-n", "50", "-c", "2", "--format", "json"];
        flags.extend(thresholds.iter().flat_map(|threshold| ["--threshold", threshold]));
        run(driver, &server.url(), &flags)
    };
    let held = all(&["p99<10s", "errors<0.1%", "rps>1", "max<=20s"]).report(0);
    assert!(
        held["thresholds"].as_array().expect("a list").iter().all(|outcome| outcome["met"] == true),
        "{held}"
    );
    let missed = all(&["p50>10s", "errors<0.1%"]).report(3);
    assert_eq!(
        (&missed["thresholds"][0]["met"], &missed["thresholds"][1]["met"]),
        (&false.into(), &true.into())
    );
    server.finish();
    let server = Server::start(|peer| drop(peer.request()));
    let failed = run(driver, &server.url(), &["-n", "10", "--threshold", "errors<1%"]);
    assert_eq!(failed.code, Some(3), "{failed:?}");
    assert!(failed.stdout.contains("✗ errors<1%   100.000 %"), "{failed:?}");
    server.finish();
}

/// Two runs on one core: each has to wait for the other.
fn a_starved_generator_is_not_valid(driver: &str) {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let cores = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("Linux tells");
    let core = cores.trim().split([',', '-']).next().expect("there is one");
    let server = Server::answering(HELLO);
    let load = ["-c", "16", "-t", "1", "-p", "32", "--cpus", core];
    let other = begin(driver, &server.url(), &[&load[..], &["-d", "1500ms"]].concat());
    let flags = [&load[..], &["-d", "700ms", "--require-valid", "--format", "json"]].concat();
    let starved = run(driver, &server.url(), &flags);
    other.wait();
    server.finish();
    let report = starved.report(4);
    assert_eq!(report["verdict"]["valid"], false, "{report}");
    assert!(report["verdict"]["reasons"].to_string().contains("core"), "{report}");
}

fn progress_tells_of_answers_that_are_no_success(driver: &str) {
    let server = Server::answering(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n");
    let ended = run(driver, &server.url(), &["-d", "1500ms", "-c", "2", "--no-tui", "-R", "100"]);
    let line = ended.stderr.lines().next().unwrap_or_default();
    assert!(line.contains(" · p99 ") && line.contains(" · 0 errors · 5xx: "), "{ended:?}");
    assert!(ended.stdout.contains("Success        0 %  "), "{ended:?}");
    server.finish();
}

fn the_first_of_a_number_and_a_time_ends_the_run(driver: &str) {
    let server = Server::answering(HELLO);
    for mode in [&[][..], &["-R", "10k"], &["-R", "5k:10k"]] {
        let all = report(driver, &server.url(), &[&["-n", "100", "-d", "1m", "-c", "2"], mode].concat());
        assert_eq!(number(&all["requests"]["completed"]), 100, "{all}");
        assert_eq!(all["ended_by"], "requests");
        assert_eq!((&all["plan"]["requests"], &all["plan"]["duration_s"]), (&100.into(), &60.0.into()));
        assert!(float(&all["duration_s"]) < 30.0, "{all}");
    }
    for mode in [&[][..], &["-R", "100"], &["-R", "10:200"]] {
        let flags = [&["-n", "9M", "-d", "300ms", "-c", "2"], mode].concat();
        let some = report(driver, &server.url(), &flags);
        assert_eq!(some["ended_by"], "duration", "{some}");
        assert!((0.3..5.0).contains(&float(&some["duration_s"])), "{some}");
        assert!((10..9_000_000).contains(&number(&some["requests"]["completed"])), "{some}");
    }
    let text = run(driver, &server.url(), &["-n", "9M", "-d", "100ms", "-c", "2"]);
    assert_eq!(text.code, Some(0), "{text:?}");
    assert!(text.stdout.contains("of 9,000,000 requests (--duration, --requests)"), "{text:?}");
    server.finish();
}

fn a_number_of_errors_ends_the_run(driver: &str) {
    let server = Server::start(|peer| drop(peer.request()));
    for flags in [&["-d", "1m"][..], &["-n", "1M"], &["-d", "1m", "-R", "1k"], &["-d", "1m", "-t", "2"]] {
        let flags = [&["-c", "4", "--max-errors", "10", "--format", "json"], flags].concat();
        let ended = run(driver, &server.url(), &flags);
        let report = ended.report(3);
        assert_eq!(report["ended_by"], "max_errors", "{report}");
        assert_eq!(report["plan"]["max_errors"], "10");
        // Requests that were in flight at that moment may fail, too.
        assert!((10..=200).contains(&number(&report["requests"]["failed"])), "{report}");
        assert!(ended.stderr.contains("ringtide: Stopped early: "), "{ended:?}");
    }
    let text = run(driver, &server.url(), &["-c", "1", "--max-errors", "1", "--require-valid"]);
    // `--require-valid` does not change the code of so short a run.
    assert_eq!(text.code, Some(3), "{text:?}");
    assert!(text.stdout.contains("\nStopped early: 1 of 1 request failed (--max-errors 1).\n"), "{text:?}");
    server.finish();
    // A status does not count as an error.
    let server = Server::answering(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n");
    report(driver, &server.url(), &["-n", "100", "--max-errors", "1"]);
    server.finish();
}

fn a_share_of_errors_ends_the_run(driver: &str) {
    // One of four requests fails.
    let server = Server::start(|peer| {
        for _ in 0..3 {
            if peer.request().is_some() {
                peer.send(HELLO);
            }
        }
        peer.request();
    });
    let flags = |share| ["-n", "1000", "-c", "2", "-t", "2", "--format", "json", "--max-errors", share];
    let ended = run(driver, &server.url(), &flags("20%")).report(3);
    assert_eq!(ended["ended_by"], "max_errors", "{ended}");
    let (failed, completed) = (number(&ended["requests"]["failed"]), number(&ended["requests"]["completed"]));
    assert!((100..1000).contains(&(failed + completed)), "{ended}");
    let whole = run(driver, &server.url(), &flags("30%")).report(0);
    assert_eq!(number(&whole["requests"]["failed"]), 250, "{whole}");
    server.finish();
}

/// Creates a full pipe without a reader. A run that writes its report there blocks.
fn full_pipe(name: &str) -> (PathBuf, File) {
    let path = std::env::temp_dir().join(format!("ringtide-{name}-{}", std::process::id()));
    mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).expect("the temporary directory can be written");
    // Opens both ends, because opening only one would wait for the other (fifo(7)).
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(OFlag::O_NONBLOCK.bits());
    let mut pipe = options.open(&path).expect("it is there");
    while pipe.write(&[0; 4096]).is_ok() {}
    (path, pipe)
}

fn a_signal_ends_a_run_that_waits_for_a_reader(driver: &str) {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let (event, seen) = channel();
        let server = Server::start(move |peer| {
            if peer.request().is_some() {
                peer.send(HELLO);
            }
            peer.wait_for_end();
            let _ = event.send(());
        });
        let (path, _pipe) = full_pipe(&format!("waits-{driver}"));
        let running = begin(driver, &server.url(), &["-n", "1", "-o", path.to_str().expect("UTF-8")]);
        seen.recv_timeout(Duration::from_secs(20)).expect("its connection ends");
        running.wait_until_it_waits_alone();
        running.signal(signal);
        let ended = running.wait();
        std::fs::remove_file(&path).expect("removable");
        // There is no exit code, as after any signal.
        assert_eq!(ended.code, None, "{ended:?}");
        server.finish();
    }
}

fn a_signal_prints_the_report(driver: &str) {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        a_signal_prints_a_report(driver, signal);
    }
}

fn a_signal_prints_a_report(driver: &str, signal: Signal) {
    let (seen, wait) = channel();
    let server = Server::start(move |peer| {
        while peer.request().is_some() {
            let _ = seen.send(());
            peer.send(HELLO);
        }
    });
    let running = begin(driver, &server.url(), &["-d", "1m", "-c", "2", "--threshold", "p99<1ns"]);
    for _ in 0..20 {
        wait.recv_timeout(Duration::from_secs(20)).expect("requests come");
    }
    running.signal(signal);
    let ended = running.wait();
    // The interrupt takes precedence over the threshold, which applies to a complete run.
    assert_eq!(ended.code, Some(130), "{ended:?}");
    for piece in ["Interrupted: this is the report of what ran.", "Requests/s", "Verdict", "✗ p99<1ns"] {
        assert!(ended.stdout.contains(piece), "`{piece}` in {ended:?}");
    }
    server.finish();
}

fn a_warm_up_is_interrupted_at_once(driver: &str) {
    for mode in [&["-d", "1m"][..], &["-n", "10"], &["-R", "2k", "-d", "1m"]] {
        let (seen, wait) = channel();
        let server = Server::start(move |peer| {
            while peer.request().is_some() {
                let _ = seen.send(());
                peer.send(HELLO);
            }
        });
        let mut flags = vec!["--warmup", "10h", "-c", "3", "-t", "2"];
        flags.extend(mode);
        let running = begin(driver, &server.url(), &flags);
        for _ in 0..20 {
            wait.recv_timeout(Duration::from_secs(20)).expect("requests come");
        }
        running.interrupt();
        let ended = running.wait();
        assert_eq!(ended.code, Some(130), "{ended:?}");
        assert!(
            ended.stdout.contains("Interrupted before the measured part: nothing was measured."),
            "{ended:?}"
        );
        server.finish();
    }
}

fn a_second_interrupt_ends_at_once(driver: &str) {
    let (event, seen) = channel();
    let server = Server::start(move |peer| {
        peer.request();
        let _ = event.send("the first request");
        peer.wait_for_end();
        let _ = event.send("the end of its connection");
    });
    let wait = |what| assert_eq!(seen.recv_timeout(Duration::from_secs(20)), Ok(what));
    let (path, _pipe) = full_pipe(&format!("full-{driver}"));
    let file = path.to_str().expect("UTF-8");
    let running = begin(driver, &server.url(), &["-d", "1m", "-c", "1", "-o", file]);
    wait("the first request");
    running.interrupt();
    // Two signals at once could merge into one (signal(7)). When the connection ends, the run has received the first.
    wait("the end of its connection");
    running.interrupt();
    let ended = running.wait();
    std::fs::remove_file(&path).expect("removable");
    // There is no exit code, as after any signal.
    assert_eq!(ended.code, None, "{ended:?}");
    server.finish();
}

fn a_seed_is_repeated(driver: &str) {
    let server = Server::answering(HELLO);
    let random = report(driver, &server.url(), &["-n", "1"]);
    let seed = number(&random["plan"]["seed"]).to_string();
    let again = report(driver, &server.url(), &["-n", "1", "--seed", &seed]);
    assert_eq!(random["plan"]["seed"], again["plan"]["seed"]);
    server.finish();
}

fn a_reader_that_goes_away_is_no_error(driver: &str) {
    let server = Server::answering(HELLO);
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", "{ \"$0\" \"$@\"; echo \"code $?\" >&2; } | true"])
        .arg(env!("CARGO_BIN_EXE_ringtide"))
        .args(["run", &server.url(), "--driver", driver, "-n", "10"]);
    let ended = crate::command::begin_command(command).wait();
    assert_eq!(ended.stderr, "code 0\n", "{ended:?}");
    server.finish();
}
