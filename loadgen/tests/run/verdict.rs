//! The verdict from outside: each reason that can be provoked without being root, and servers that must not be taken for a slow
//! generator. Other processes may use the machine meanwhile, so a test asks for one reason, never that there is none.

use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::command::{begin, begin_command, float, number, report, run};
use crate::server::{HELLO, Server};

on_both_drivers!(
    descriptors_that_run_out_are_the_generators,
    a_server_that_does_not_read_is_not_the_generators_fault,
    a_generator_that_is_not_valid_says_so_first,
    what_was_seen_of_the_machine_is_reported,
    connections_that_the_load_opens_are_reported,
    what_comes_after_the_end_is_in_no_rate_of_a_name,
);

fn reasons(report: &Value) -> String {
    report["verdict"]["reasons"].to_string()
}

/// The command starts with more open files than the limit was computed for.
fn descriptors_that_run_out_are_the_generators(driver: &str) {
    let server = Server::answering(HELLO);
    let mut command = Command::new("bash");
    // 32 for the process, 24 for a worker, and 50 connections.
    let script = "for i in {10..69}; do eval \"exec $i</dev/null\"; done; ulimit -n 106; exec \"$@\"";
    let binary = env!("CARGO_BIN_EXE_ringtide");
    command.args(["-c", script, "bash", binary, "run", &server.url(), "--driver", driver]);
    command.args(["-c", "50", "-t", "1", "-d", "500ms", "--format", "json", "--quiet"]);
    let report = begin_command(command).wait().report(0);
    server.finish();
    assert_eq!(report["verdict"]["valid"], false, "{report}");
    assert!(reasons(&report).contains("ran out of file descriptors"), "{report}");
    assert!(number(&report["generator"]["descriptors_ran_out"]) > 0, "{report}");
    assert_eq!(number(&report["generator"]["ports_ran_out"]), 0, "{report}");
    assert!((1..50).contains(&number(&report["connections_open_max"])), "{report}");
}

/// It accepts, and takes nothing from its sockets. What waits there is no fault of the generator's queues.
fn a_server_that_does_not_read_is_not_the_generators_fault(driver: &str) {
    let server = Server::start(|_| thread::sleep(Duration::from_secs(2)));
    let body = std::env::temp_dir().join(format!("ringtide-unread-{driver}-{}", std::process::id()));
    // More than the buffers of both sides hold.
    std::fs::write(&body, vec![b'x'; 48 << 20]).expect("there is room");
    let flags = ["-X", "POST", "--body", &format!("@{}", body.display()), "-c", "4", "-t", "1", "-d", "1s"];
    let report = report(driver, &server.url(), &flags);
    std::fs::remove_file(&body).expect("it is there");
    server.finish();
    let queues = &report["generator"]["queues"];
    assert_eq!(number(&queues["connections"]), 4, "{report}");
    assert!(number(&queues["unsent_bytes"]) > 0, "{report}");
    assert!(float(&queues["sending_us"]) > 500_000.0, "{report}");
    assert!(float(&queues["peer_limited_share"]) > 0.5, "{report}");
    assert!(float(&queues["buffer_limited_share"]) < 0.25, "{report}");
    for about in ["send buffers", "receive queues", "late"] {
        assert!(!reasons(&report).contains(about), "{report}");
    }
}

/// It is stopped for a third of the run, so what came due in that time is sent late.
fn a_generator_that_is_not_valid_says_so_first(driver: &str) {
    let (seen, requests) = channel();
    let server = Server::start(move |peer| {
        while peer.request().is_some() {
            let _ = seen.send(());
            peer.send(HELLO);
        }
    });
    let flags = ["-R", "200", "-c", "80", "-t", "1", "-d", "1s", "--quiet"];
    let running = begin(driver, &server.url(), &flags);
    for _ in 0..20 {
        requests.recv_timeout(Duration::from_secs(20)).expect("requests come");
    }
    running.pause(Duration::from_millis(300));
    let ended = running.wait();
    server.finish();
    let place = |text: &str| ended.stdout.find(text).unwrap_or_else(|| panic!("{text}: {ended:?}"));
    assert!(place("Verdict        not valid") < place("Requests/s"), "{ended:?}");
    assert_eq!(ended.stdout.matches("Verdict  ").count(), 1, "{ended:?}");
}

fn what_was_seen_of_the_machine_is_reported(driver: &str) {
    let server = Server::answering(HELLO);
    let report = report(driver, &server.url(), &["-c", "2", "-t", "2", "-R", "200", "-d", "300ms"]);
    server.finish();
    let generator = &report["generator"];
    let workers = generator["workers"].as_array().expect("a list");
    assert_eq!(workers.len(), 2, "{report}");
    for worker in workers {
        for share in ["busy_share", "spin_share", "run_queue_share"] {
            assert!((0.0..=1.5).contains(&float(&worker[share])), "{share}: {report}");
        }
    }
    // Nobody sets the clock by a minute during the test.
    assert!(float(&generator["clock_step_us"]).abs() < 6e7, "{report}");
    assert!(float(&generator["suspended_us"]) < 6e7, "{report}");
    let steal = &generator["steal_share"];
    assert!(steal.is_null() || (0.0..=1.0).contains(&float(steal)), "{report}");
    assert_eq!(number(&generator["queues"]["connections"]), 2, "{report}");
}

fn connections_that_the_load_opens_are_reported(driver: &str) {
    let server = Server::start(|peer| {
        while peer.request().is_some() {
            thread::sleep(Duration::from_millis(100));
            peer.send(HELLO);
        }
    });
    let load = ["-c", "1", "--max-connections", "6", "-t", "1", "-R", "200", "-d", "500ms"];
    let many = report(driver, &server.url(), &load);
    assert_eq!(number(&many["connections_open_max"]), 6, "{many}");
    let text = run(driver, &server.url(), &load);
    assert!(text.stdout.contains("at most 6 of 6 open"), "{text:?}");
    let few = report(driver, &server.url(), &["-c", "1", "--max-connections", "6", "-n", "1", "-R", "10"]);
    assert_eq!(number(&few["connections_open_max"]), 1, "{few}");
    server.finish();
}

/// Each of the two requests is answered after the end, and waited for.
fn what_comes_after_the_end_is_in_no_rate_of_a_name(driver: &str) {
    let server = Server::start(|peer| {
        while peer.request().is_some() {
            thread::sleep(Duration::from_secs(1));
            peer.send(HELLO);
        }
    });
    let urls = std::env::temp_dir().join(format!("ringtide-names-{driver}-{}", std::process::id()));
    std::fs::write(&urls, format!("{0}a\n{0}b\n", server.url())).expect("there is room");
    let urls_flag = urls.display().to_string();
    let flags = ["--urls", &urls_flag, "-c", "8", "-t", "1", "-d", "200ms", "--drain", "20s"];
    let flags = [&flags[..], &["--threshold", "/a:rps<0.1", "--format", "json"]].concat();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringtide"));
    command.args(["run", "--driver", driver]).args(flags);
    let report = begin_command(command).wait().report(0);
    std::fs::remove_file(&urls).expect("it is there");
    server.finish();
    assert_eq!(number(&report["drain"]["completed"]), 8, "{report}");
    assert!(number(&report["steps"]["/a"]["requests"]["completed"]) > 0, "{report}");
    assert_eq!(report["thresholds"][0]["observed"], 0.0, "{report}");
}
