//! `--stages`: how many requests come due when the rate changes, whatever the threads, and what the report says of it.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::command::{float, number, once_in_five, report, run};
use crate::server::{HELLO, Server};

on_both_drivers!(
    stages_have_as_many_requests_as_their_integral,
    poisson_stages_have_about_as_many,
    requests_come_when_their_stage_does,
);

fn stages_have_as_many_requests_as_their_integral(driver: &str) {
    for (stages, threads, count, duration_s) in [
        ("200ms@100,200ms@100:300,100ms@500", "1", 20 + 40 + 50, 0.5),
        ("200ms@100,200ms@100:300,100ms@500", "2", 20 + 40 + 50, 0.5),
        ("100ms@0:1k,200ms@0,100ms@1k:0", "2", 50 + 50, 0.4),
        ("300ms@200", "2", 60, 0.3),
    ] {
        let server = Server::answering(HELLO);
        let flags = ["--stages", stages, "-c", "4", "-t", threads];
        let report = report(driver, &server.url(), &flags);
        // Exactly: what a busy machine does not send counts all the same.
        assert_eq!(number(&report["requests"]["scheduled"]), count, "{stages}: {report}");
        assert_eq!(server.finish().requests(), number(&report["requests"]["sent"]), "{report}");
        assert!(float(&report["duration_s"]) >= duration_s, "{report}");
        assert_eq!(
            (&report["plan"]["duration_s"], &report["ended_by"]),
            (&json!(duration_s), &json!("duration"))
        );
    }
}

fn poisson_stages_have_about_as_many(driver: &str) {
    let server = Server::answering(HELLO);
    let flags = ["--stages", "200ms@1k,100ms@0,200ms@0:2k", "-c", "4", "-t", "2", "--arrival", "poisson"];
    let report = report(driver, &server.url(), &[&flags[..], &["--seed", "5"]].concat());
    server.finish();
    // Five standard deviations.
    assert!(number(&report["requests"]["scheduled"]).abs_diff(400) <= 100, "{report}");
    let stage = |duration_s: f64, rate: f64, rate_end: f64| -> Value {
        json!({ "duration_s": duration_s, "rate": rate, "rate_end": rate_end })
    };
    let stages = [stage(0.2, 1000.0, 1000.0), stage(0.1, 0.0, 0.0), stage(0.2, 0.0, 2000.0)];
    assert_eq!(report["plan"]["stages"], json!(stages), "{report}");
    assert_eq!((&report["plan"]["rate"], &report["plan"]["rate_end"]), (&json!(1000.0), &json!(2000.0)));
    assert_eq!((&report["plan"]["arrival"], &report["plan"]["mode"]), (&json!("poisson"), &json!("open")));
}

fn requests_come_when_their_stage_does(driver: &str) {
    let arrivals = || {
        let (seen, wait) = channel();
        let seen = Mutex::new(seen);
        let server = Server::start(move |peer| {
            let seen = seen.lock().expect("no panic").clone();
            while peer.request().is_some() {
                seen.send(Instant::now()).expect("the test waits");
                peer.send(HELLO);
            }
        });
        let ended =
            run(driver, &server.url(), &["--stages", "500ms@40,500ms@0,500ms@20:60", "-c", "4", "-t", "2"]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let says = "open loop: 40/s for 500ms · then 0/s for 500ms then 20 to 60/s for 500ms";
        let words = ended.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(says), "{ended:?}");
        server.finish();
        let mut arrivals: Vec<Instant> = wait.iter().collect();
        arrivals.sort_unstable();
        arrivals.iter().map(|arrival| *arrival - arrivals[0]).collect::<Vec<Duration>>()
    };
    once_in_five(arrivals, |arrivals| {
        let within = |from_ms: u64, to_ms: u64| {
            let times = Duration::from_millis(from_ms)..Duration::from_millis(to_ms);
            arrivals.iter().filter(|arrival| times.contains(*arrival)).count()
        };
        // The integral of the last stage at its half: 20·0.25 + 80·0.25²/2 = 7.5.
        (within(0, 490), within(510, 970)) == (20, 0)
            && (7..=9).contains(&within(970, 1250))
            && (12..=13).contains(&within(1250, 1600))
    });
}
