//! Parts make the whole, and what is no part is refused.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::metrics::{ErrorKind, Recorder, Sample, Totals, Unfinished};
use crate::plan::Plan;
use crate::result::{Measured, tests::measured};
use crate::testing::few_cases;

fn plan() -> Plan {
    let mut plan = Plan::for_url("http://h/").expect("valid");
    plan.threads = 1;
    plan.thresholds =
        ["p99<300ms", "errors<10%", "success>50%"].map(|text| text.parse().expect("valid")).into();
    plan
}

/// The result of a run of 1 s that began `late_s` after the others.
fn part(index: usize, recorder: &Recorder, late_s: f64) -> Part {
    part_of(index, vec![recorder], late_s)
}

fn part_of(index: usize, recorders: Vec<&Recorder>, late_s: f64) -> Part {
    let measured = measured(recorders[0]);
    let measured = Measured {
        totals: Totals::merge(recorders),
        started_unix_s: measured.started_unix_s + late_s,
        elapsed: Duration::from_secs(1),
        ..measured
    };
    Part { file: format!("{index}.json"), result: RunResult::new(&plan(), measured) }
}

fn answer(recorder: &mut Recorder, time_ns: u64, status: u16) {
    let (sent_ns, done_ns) = (10, 10 + time_ns);
    let sample =
        Sample { scheduled_ns: 0, ready_ns: 5, sent_ns, first_byte_ns: done_ns / 2, done_ns, status };
    recorder.completed(sample);
}

proptest! {
    #![proptest_config(few_cases(24))]

    #[test]
    fn the_parts_make_the_whole(
        open_loop: bool,
        requests in proptest::collection::vec((0_usize..3, 0_u8..8, 1_u64..500_000_000), 1..150),
    ) {
        let mut recorders = [Recorder::new(open_loop), Recorder::new(open_loop), Recorder::new(open_loop)];
        for (of, fate, time_ns) in requests {
            let recorder = &mut recorders[of];
            let request = Unfinished { scheduled_ns: 0, ready_ns: Some(3), sent_ns: Some(4), ended_ns: time_ns };
            match fate {
                0 => recorder.failed(request, ErrorKind::Timeout),
                1 => recorder.failed(request, ErrorKind::Reset),
                2 => recorder.censored(request),
                3 => answer(recorder, time_ns, 503),
                _ => answer(recorder, time_ns, 200),
            }
            recorder.received_bytes(time_ns % 1000);
            recorder.connected(time_ns / 7);
        }
        let parts: Vec<Part> =
            recorders.iter().enumerate().map(|(index, recorder)| part(index, recorder, 0.0)).collect();
        let merged = merge(&parts).expect("they are of one test");
        let whole = part_of(9, recorders.iter().collect(), 0.0).result;
        prop_assert_eq!(merged.requests, whole.requests);
        prop_assert_eq!(&merged.latency_us, &whole.latency_us);
        prop_assert_eq!(&merged.phases_us, &whole.phases_us);
        prop_assert_eq!(&merged.latency_by_status_us, &whole.latency_by_status_us);
        prop_assert_eq!(&merged.histograms, &whole.histograms);
        prop_assert_eq!(&merged.status, &whole.status);
        prop_assert_eq!(merged.errors, whole.errors);
        prop_assert_eq!(merged.success, whole.success);
        prop_assert_eq!(&merged.thresholds, &whole.thresholds);
        prop_assert_eq!(merged.bytes_received, whole.bytes_received);
        prop_assert_eq!(merged.connections_opened, whole.connections_opened);
        prop_assert!((merged.requests_per_second - whole.requests_per_second).abs() < 0.01);
        prop_assert_eq!(merged.plan.connections, 3 * whole.plan.connections);
        // In two steps it is the same.
        let two = Part { file: "two".to_owned(), result: merge(&parts[..2]).expect("one test") };
        let again = merge(&[two, parts[2].clone()]).expect("one test");
        prop_assert_eq!(&again.histograms, &merged.histograms);
        prop_assert_eq!(&again.latency_us, &merged.latency_us);
        prop_assert_eq!(again.requests, merged.requests);
    }
}

fn example(late_s: f64) -> Part {
    let mut recorder = Recorder::new(false);
    for _ in 0..1_000 {
        answer(&mut recorder, 1_000_000, 200);
    }
    part(0, &recorder, late_s)
}

#[test]
fn the_rate_is_that_of_the_common_window() {
    // The first answered 900 in its first half and 100 in its second; only the second is common.
    let mut first = example(0.0);
    let point = |at_s: f64, rate: f64| crate::series::Point {
        at_s,
        duration_s: 0.5,
        completed: (rate / 2.0) as u64,
        requests_per_second: rate,
        ..crate::series::Point::default()
    };
    let points = vec![point(0.0, 1_800.0), point(0.5, 200.0)];
    first.result.series = Some(crate::series::Series { interval_s: 0.5, points });
    let second = Part { file: "b.json".to_owned(), ..example(0.5) };
    let merged = merge(&[first.clone(), second.clone()]).expect("they overlap");
    assert!((merged.duration_s - 0.5).abs() < 1e-6);
    assert!((merged.requests_per_second - 1_200.0).abs() < 1.0, "{}", merged.requests_per_second);
    assert_eq!((merged.requests.completed, merged.series), (2_000, None));
    let note = |text: &str| merged.notes.iter().any(|note| note.contains(text));
    assert!(note("those of the 0.500 s in which all generators ran") && note("longer: 0.json, b.json"));
    assert!(note("b.json has no series"), "{:?}", merged.notes);
    // A second series makes one of both.
    let mut second = second;
    second.result.series = first.result.series.clone();
    let merged = merge(&[first, second]).expect("they overlap");
    let rates: Vec<f64> =
        merged.series.expect("both have one").points.iter().map(|point| point.requests_per_second).collect();
    assert_eq!(rates, [1_800.0, 2_000.0, 200.0]);
}

#[test]
fn what_does_not_belong_together_is_refused_with_file_and_field() {
    let error = |parts: &[Part]| merge(parts).expect_err("refused").to_string();
    assert!(error(&[example(0.0)]).contains("at least two"));
    let other = |change: fn(&mut RunResult)| {
        let mut part = Part { file: "b.json".to_owned(), ..example(0.0) };
        change(&mut part.result);
        error(&[example(0.0), part])
    };
    for (change, says) in [
        (
            (|result| result.plan.url = "http://other/".to_owned()) as fn(&mut RunResult),
            "0.json and b.json differ in plan.url: \"http://h/\" and \"http://other/\"",
        ),
        (|result| result.plan.parallel = 9, "plan.parallel: 1 and 9"),
        (|result| result.plan.rate = Some(5.0), "plan.rate: null and 5.0"),
        (|result| result.schema = 2, "b.json: schema: it is 2"),
        (|result| result.started_unix_s += 5.0, "b.json: started_unix_s, ended_unix_s: "),
        (
            |result| {
                result.started_unix_s += 5.0;
                result.ended_unix_s += 5.0;
            },
            "0.json and b.json did not run at the same time: the first ended 4.000 s before the second began",
        ),
        (
            |result| result.histograms.response.completed = Some("HISTF".to_owned()),
            "b.json: histograms.response.completed: ",
        ),
        (
            |result| {
                let coarse = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 1_000, 1);
                let mut coarse = coarse.expect("valid");
                coarse.saturating_record(5);
                result.histograms.service.censored = crate::hdr::Encoder::new().text(&coarse);
            },
            "b.json: histograms.service.censored: its histogram has 1 digits from 1 to 1000 ns",
        ),
    ] {
        let said = other(change);
        assert!(said.contains(says), "`{says}` in {said}");
    }
}

#[test]
fn what_may_differ_is_told_or_summed() {
    let mut second = Part { file: "b.json".to_owned(), ..example(0.0) };
    second.result.plan.warmup_s = 3.0;
    second.result.plan.connections = 7;
    second.result.plan.seed = 99;
    second.result.verdict.valid = Some(false);
    second.result.verdict.reasons = vec!["it was busy".to_owned()];
    second.result.ended_by = EndedBy::Interrupt;
    let merged = merge(&[example(0.0), second]).expect("they belong together");
    assert_eq!(merged.plan.connections, 57);
    assert!(merged.notes.contains(&"0.json and b.json differ in plan.warmup_s: 0.0 and 3.0".to_owned()));
    assert_eq!(merged.verdict.valid, Some(false));
    assert!(merged.verdict.reasons.contains(&"b.json: it was busy".to_owned()), "{:?}", merged.verdict);
    assert_eq!(merged.ended_by, EndedBy::Interrupt);
}
