//! `ringtide ab`, `find` and `compare` from outside. Verdicts on noisy figures are for the simulations next to the
//! code; here, the sides differ so much that no noise hides it, or the outcome does not depend on figures.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::command::{Ended, begin_command, float, number, once_in_five, report};
use crate::server::{HELLO, Server};

on_both_drivers!(a_slower_side_is_found, an_interrupted_comparison_tells_what_it_has);

/// A load so light that the generator is the bottleneck of nothing.
const LIGHT: [&str; 6] = ["-c", "1", "-t", "1", "--quiet", "--seed=3"];

fn ringtide(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringtide"));
    command.args(words);
    command
}

fn run(words: &[&str]) -> Ended {
    begin_command(ringtide(words)).wait()
}

#[track_caller]
fn json(ended: &Ended, code: i32) -> Value {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

/// A server that takes 5 ms for each response, or 20 ms.
fn slow(ms: u64) -> Server {
    Server::start(move |peer| {
        while peer.request().is_some() {
            thread::sleep(Duration::from_millis(ms));
            peer.send(HELLO);
        }
    })
}

fn a_slower_side_is_found(driver: &str) {
    let (fast, slow) = (slow(5), slow(20));
    let flags =
        [&LIGHT[..], &["-d", "4s", "--driver", driver, "--format", "json", "--warmup", "100ms"]].concat();
    let urls = [fast.url(), slow.url()];
    let words = [&["ab", &urls[0], &urls[1]], &flags[..]].concat();
    // With so few pairs, bursts of another process can hide even this difference. A machine that is always busy leaves
    // too few valid pairs to decide anything.
    let (code, compared) = once_in_five(
        || {
            let ended = run(&words);
            let code = ended.code.expect("it ends by itself");
            (code, json(&ended, code))
        },
        |(_, compared)| compared["verdict"] == "slower" || number(&compared["pairs"]) < 6,
    );
    assert!(number(&compared["pairs"]) + number(&compared["excluded"]) >= 2, "{compared}");
    assert_eq!(code, if compared["verdict"] == "slower" { 3 } else { 0 }, "{compared}");
    if compared["verdict"] == "slower" {
        let rate = &compared["metrics"]["requests_per_second"];
        assert!(float(&rate["difference"]) < -0.5, "{compared}");
        let [low, high] = [0, 1].map(|end| float(&rate["interval95"][end]));
        assert!(low <= float(&rate["difference"]) && float(&rate["difference"]) <= high && high < 0.0);
        assert!(float(&compared["power"]["detectable"]) > 0.0, "{compared}");
        assert!(float(&compared["metrics"]["p50"]["b"]) > 20_000.0, "{compared}");
    }
    assert_eq!(
        (&compared["metric"], &compared["seed"]),
        (&"requests_per_second".into(), &3.into()),
        "{compared}"
    );
    assert!(
        float(&compared["duration_s"]) > 1.0 && !compared["interrupted"].as_bool().expect("a flag"),
        "{compared}"
    );
    fast.finish();
    slow.finish();
}

fn an_interrupted_comparison_tells_what_it_has(driver: &str) {
    let server = Server::answering(HELLO);
    let url = server.url();
    let running = begin_command(ringtide(
        &[&["ab", &url, &url, "-d", "1h", "--driver", driver], &LIGHT[..5], &["--min-effect", "0%"]].concat(),
    ));
    running.wait_until_it_catches_interrupts();
    while server.tally.connections.load(std::sync::atomic::Ordering::SeqCst) < 5 {
        thread::yield_now();
    }
    running.interrupt();
    let ended = running.wait();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    for piece in ["A  http://", "B  http://", "Verdict", "interrupted after"] {
        assert!(ended.stdout.contains(piece), "no `{piece}`: {ended:?}");
    }
    server.finish();
}

#[test]
fn nothing_is_compared_with_what_does_not_listen() {
    let server = Server::answering(HELLO);
    let ended = run(&["ab", &server.url(), "http://127.0.0.1:1/", "-t", "1", "-c", "1", "--warmup", "1ms"]);
    ended.refused(1, &["http://127.0.0.1:1/: "]);
    server.finish();
}

#[test]
fn the_highest_rate_is_searched_for() {
    // So slow that the generator's own lateness is small beside it.
    let server = slow(50);
    let url = server.url();
    let words = ["find", &url, "--slo", "errors<1%,p50<10s", "--from", "50", "--to", "100"];
    let flags = ["-d", "250ms", "--warmup", "10ms", "-c", "20", "-t", "1", "--format", "json", "--no-tui"];
    let ended = run(&[&words[..], &flags].concat());
    // On a busy machine the generator may be the limit, even so low.
    let found = json(&ended, if ended.code == Some(4) { 4 } else { 0 });
    let is_limited = found["limited_by"] == "generator";
    assert!(is_limited || found["limited_by"] == "to" && found["rate"] == 100.0, "{found}");
    assert_eq!(ended.code == Some(4), is_limited && found["rate"] == 0.0, "{found}");
    assert_eq!((&found["slo"], &found["url"]), (&words[3].into(), &url.as_str().into()));
    let probes = found["probes"].as_array().expect("probes");
    assert!(probes.len() >= if is_limited { 2 } else { 3 }, "{found}");
    for probe in probes {
        assert!((50.0..=100.0).contains(&float(&probe["rate"])), "{probe}");
        assert!(float(&probe["p50_us"]) > 50_000.0 && float(&probe["errors"]) < 0.01, "{probe}");
        assert_eq!(probe["met"], probe["valid"], "{probe}");
    }
    assert!(ended.stderr.lines().count() >= probes.len(), "a line of progress each: {ended:?}");
    server.finish();
}

#[test]
fn an_objective_that_nothing_holds_fails() {
    let server = slow(50);
    let url = server.url();
    let words = ["find", &url, "--slo", "p50<1ms", "--from", "20"];
    let flags = ["-d", "250ms", "--warmup", "0", "-c", "10", "-t", "1", "--seed", "5"];
    let ended = run(&[&words[..], &flags].concat());
    // On a busy machine the generator may be the limit.
    let (code, says) = if ended.stdout.contains("✗ missed p50<1ms") {
        (3, "not even the lowest rate holds the objective")
    } else {
        (4, "no probe at the lowest rate is valid")
    };
    assert_eq!(ended.code, Some(code), "{ended:?}");
    for piece in [says, "objective p50<1ms · seed 5", "Limit"] {
        assert!(ended.stdout.contains(piece), "no `{piece}`: {ended:?}");
    }
    server.finish();
}

/// A folder of this test process alone.
fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("ringtide-{name}-{}", std::process::id()));
    fs::create_dir_all(&path).expect("writable");
    path
}

#[test]
fn saved_results_are_compared() {
    let server = Server::answering(HELLO);
    let mut result = report("auto", &server.url(), &["-d", "250ms", "-c", "1", "-t", "1"]);
    server.finish();
    result["verdict"] = serde_json::json!({ "valid": true, "reasons": [] });
    let folder = folder("compare");
    let mut save = |name: &str, completed: u64| -> String {
        result["requests"]["completed"] = completed.into();
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("it has one")).expect("writable");
        fs::write(&path, result.to_string()).expect("writable");
        path.display().to_string()
    };
    let base = [1_000, 1_010, 990].map(|rate| save(&format!("base/{rate}.json"), rate));
    let new = [900, 905, 895].map(|rate| save(&format!("new/{rate}.json"), rate));
    let [of_base, of_new] = ["base", "new"].map(|name| folder.join(name).display().to_string());

    let single = run(&["compare", &base[0], &new[0]]);
    assert_eq!(single.code, Some(0), "{single:?}");
    for piece in ["-10.0 %   none", "no difference was shown, and none could be", "nothing is decided"] {
        assert!(single.stdout.contains(piece), "no `{piece}`: {single:?}");
    }
    let folders = run(&["compare", &of_base, &of_new, "--format", "json"]);
    let files = [&["compare", "--base"], &base.each_ref().map(String::as_str)[..], &["--new"]].concat();
    let files = [&files, &new.each_ref().map(String::as_str)[..], &["--format", "json"]].concat();
    assert_eq!(json(&run(&files), 3), json(&folders, 3));
    let compared = json(&folders, 3);
    assert_eq!((&compared["verdict"], &compared["pairs"]), (&"slower".into(), &0.into()));
    assert_eq!(compared["results"], serde_json::json!({ "a": 3, "b": 3 }));
    assert_eq!(run(&["compare", &of_new, &of_base]).code, Some(0), "faster");
    assert_eq!(run(&["compare", &of_base, &of_new, "--min-effect", "50%", "--seed", "2"]).code, Some(0));
    let by_p50 = json(&run(&["compare", &of_base, &of_new, "--metric", "p50", "--format", "json"]), 0);
    assert_eq!((&by_p50["metric"], &by_p50["verdict"]), (&"p50".into(), &"no difference".into()));
    let report = folder.join("report.txt");
    let silent = run(&["compare", &base[0], &new[0], "-o", report.to_str().expect("UTF-8")]);
    assert_eq!((silent.code, silent.stdout.as_str()), (Some(0), ""));
    assert!(fs::read_to_string(&report).expect("written").contains("Verdict"));

    let refused = |words: &[&str], code: i32, says: &[&str]| {
        run(&[&["compare"], words].concat()).refused(code, says);
    };
    refused(&[&base[0], "/nonexistent.json"], 2, &["/nonexistent.json: cannot be read: No such file"]);
    refused(&[&base[0], folder.to_str().expect("UTF-8")], 2, &["the folder has no .json file"]);
    let broken = save("broken.json", 1);
    fs::write(&broken, "{\n \"schema\": 1,\n").expect("writable");
    refused(&[&base[0], &broken], 2, &["broken.json: is not JSON", "line 3"]);
    fs::write(&broken, "{}").expect("writable");
    refused(&[&base[0], &broken], 2, &["broken.json: is no result; `ringtide run --format json -o FILE`"]);
    fs::write(&broken, "{\"schema\": 99}").expect("writable");
    refused(&[&base[0], &broken], 2, &["is a result of format 99; this version reads format 1"]);
    fs::write(&broken, "{\"schema\": 1}").expect("writable");
    refused(&[&base[0], &broken], 2, &["is no whole result: missing field", "line 1"]);
    result["plan"]["connections"] = 7.into();
    fs::write(&broken, result.to_string()).expect("writable");
    refused(&[&base[0], &broken], 2, &["its plan differs from that of", "`connections` is 7 instead of 1"]);
    result["plan"]["connections"] = 1.into();
    result["verdict"] = serde_json::json!({ "valid": false, "reasons": ["it was starved"] });
    fs::write(&broken, result.to_string()).expect("writable");
    refused(&[&base[0], &broken], 1, &["no result of new is valid", "broken.json: it was starved"]);
    fs::remove_dir_all(&folder).expect("removable");
}
