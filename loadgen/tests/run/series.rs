//! The course of a run, and its histograms, in the JSON of a result.

use ringtide_loadgen::hdr;
use serde_json::Value;

use crate::command::{float, number, report, run};
use crate::server::{HELLO, Server};

on_both_drivers!(
    a_point_per_second_is_in_the_json,
    every_distribution_is_there_without_loss,
    the_warm_up_is_in_no_point,
    cut_off_requests_are_in_the_last_point,
);

fn points(report: &Value) -> &Vec<Value> {
    report["series"]["points"].as_array().unwrap_or_else(|| panic!("no points in {report}"))
}

fn sum(report: &Value, field: &str) -> u64 {
    points(report).iter().map(|point| number(&point[field])).sum()
}

fn length(text: &Value) -> u64 {
    text.as_str()
        .map_or(0, |text| if text.is_empty() { 0 } else { hdr::decode(text).expect("a histogram").len() })
}

fn a_point_per_second_is_in_the_json(driver: &str) {
    let server = Server::answering(HELLO);
    for mode in [&[][..], &["-R", "400"], &["-R", "400", "--arrival", "poisson"], &["-p", "4"]] {
        let flags = [&["-d", "2200ms", "-c", "4", "-t", "2"], mode].concat();
        let report = report(driver, &server.url(), &flags);
        let seconds = points(&report);
        // A machine that is short of time may end the run later, never earlier.
        assert!(seconds.len() >= 3, "{report}");
        for (index, point) in seconds.iter().enumerate() {
            assert!((float(&point["at_s"]) - index as f64).abs() < 1e-9, "{report}");
            let lasted = float(&point["duration_s"]);
            assert!((index + 1 == seconds.len()) || (lasted - 1.0).abs() < 1e-9, "{report}");
        }
        let requests = &report["requests"];
        for field in ["completed", "failed", "censored", "sent"] {
            assert_eq!(sum(&report, field), number(&requests[field]), "{field} in {report}");
        }
        for field in ["bytes_received", "bytes_sent", "connections_opened"] {
            assert_eq!(sum(&report, field), number(&report[field]), "{field} in {report}");
        }
        let ok: u64 = seconds.iter().map(|point| number(&point["status"]["2xx"])).sum();
        assert_eq!(ok, number(&requests["completed"]), "{report}");
        assert_eq!(number(&seconds[0]["connections"]), 4, "{report}");
        let timed: u64 = seconds.iter().map(|point| number(&point["response_us"]["count"])).sum();
        assert_eq!(timed, number(&report["latency_us"]["response"]["count"]), "{report}");
        let drawn: u64 = seconds
            .iter()
            .map(|point| length(&point["histogram"]) + length(&point["histogram_censored"]))
            .sum();
        assert_eq!(drawn, timed, "{report}");
        let began = float(&report["started_unix_s"]);
        assert!(began > 1.7e9, "{report}");
        let lasted = float(&report["ended_unix_s"]) - began;
        assert!((lasted - float(&report["duration_s"])).abs() < 1e-5, "{report}");
    }
    // Nobody asked for it.
    let text = run(driver, &server.url(), &["-n", "10"]);
    assert!(!text.stdout.contains("series"), "{text:?}");
    server.finish();
}

fn every_distribution_is_there_without_loss(driver: &str) {
    let server = Server::start(|peer| {
        for index in 0_u32.. {
            if peer.request().is_none() {
                return;
            }
            peer.send(if index % 3 == 0 { b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n" } else { HELLO });
        }
    });
    for mode in [&[][..], &["-R", "1k"]] {
        let report = report(driver, &server.url(), &[&["-n", "300", "-c", "3"], mode].concat());
        let histograms = &report["histograms"];
        let names = [
            ("response", &report["latency_us"]),
            ("service", &report["latency_us"]),
            ("queue_wait", &report["latency_us"]),
            ("schedule_lag", &report["latency_us"]),
            ("dns", &report["phases_us"]),
            ("connect", &report["phases_us"]),
            ("tls", &report["phases_us"]),
            ("first_byte", &report["phases_us"]),
            ("transfer", &report["phases_us"]),
        ];
        for (name, summaries) in names {
            let times = &histograms[name];
            let (completed, censored) = (length(&times["completed"]), length(&times["censored"]));
            assert_eq!(completed + censored, number(&summaries[name]["count"]), "{name} in {report}");
            if let Some(text) = times["completed"].as_str() {
                let max_us = hdr::decode(text).expect("a histogram").max() as f64 / 1e3;
                assert!((max_us - float(&summaries[name]["max"])).abs() < 1e-2, "{name} in {report}");
            }
        }
        for (class, summary) in report["latency_by_status_us"].as_object().expect("classes") {
            let times = &histograms["by_status"][class]["completed"];
            assert_eq!(length(times), number(&summary["count"]), "{class} in {report}");
        }
        // One in three on each of three connections, beginning with the first.
        let refused = length(&histograms["by_status"]["4xx"]["completed"]);
        assert!((100..=102).contains(&refused), "{report}");
    }
    server.finish();
}

fn the_warm_up_is_in_no_point(driver: &str) {
    let server = Server::answering(HELLO);
    for mode in [&[][..], &["-R", "500"]] {
        let flags = [&["-d", "300ms", "--warmup", "1500ms", "-c", "2"], mode].concat();
        let report = report(driver, &server.url(), &flags);
        assert_eq!(sum(&report, "completed"), number(&report["requests"]["completed"]), "{report}");
        assert!(float(&points(&report)[0]["duration_s"]) >= 0.3, "{report}");
    }
    server.finish();
}

fn cut_off_requests_are_in_the_last_point(driver: &str) {
    // Answers one request per connection.
    let server = Server::start(|peer| {
        if peer.request().is_some() {
            peer.send(HELLO);
            peer.request();
            peer.wait_for_end();
        }
    });
    for mode in [&[][..], &["-R", "100"]] {
        let flags = [&["-d", "1300ms", "-c", "2", "-t", "1"], mode].concat();
        let report = report(driver, &server.url(), &flags);
        let censored = number(&report["requests"]["censored"]);
        assert!(censored >= 2, "{report}");
        let last = points(&report).last().expect("there are points");
        assert_eq!(number(&last["censored"]), censored, "{report}");
        assert_eq!(length(&last["histogram_censored"]), censored, "{report}");
        assert_eq!(number(&last["in_flight"]), 2, "{report}");
        if mode.is_empty() {
            assert_eq!(length(&report["histograms"]["cut_off"]["censored"]), censored, "{report}");
        } else {
            assert!(number(&points(&report)[0]["waiting"]) >= 10, "{report}");
        }
    }
    server.finish();
}
