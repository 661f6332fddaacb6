//! Tests of the judgement, on made-up figures.

use super::*;
use crate::metrics::{ErrorKind, MachineFacts, QueueFacts, Recorder, Sample, Unfinished, WorkerFacts};

const SECOND: u64 = 1_000_000_000;

fn worker(busy: f64, waiting: f64) -> GeneratorFacts {
    let worker = WorkerFacts {
        wall_ns: SECOND,
        user_ns: (busy * 0.1e9) as u64,
        system_ns: (busy * 0.9e9) as u64,
        run_queue_wait_ns: (waiting * 1e9) as u64,
        ..WorkerFacts::default()
    };
    GeneratorFacts { workers: vec![WorkerFacts::default(), worker], ..GeneratorFacts::default() }
}

/// 1,000 requests, `late` of them sent `lag_ns` late, all served in `service_ns`.
fn open_loop(late: usize, lag_ns: u64, service_ns: u64) -> Totals {
    let mut recorder = Recorder::new(true);
    for index in 0..1000 {
        let sent_ns = if index < late { lag_ns } else { 1_000 };
        recorder.completed(Sample {
            scheduled_ns: 0,
            ready_ns: 0,
            sent_ns,
            first_byte_ns: sent_ns + service_ns,
            done_ns: sent_ns + service_ns,
            status: 200,
        });
    }
    Totals::merge([&recorder])
}

/// One request, answered at once.
fn closed_loop() -> Totals {
    let mut recorder = Recorder::new(false);
    recorder.completed(Sample {
        scheduled_ns: 0,
        ready_ns: 0,
        sent_ns: 0,
        first_byte_ns: 1,
        done_ns: 1,
        status: 200,
    });
    Totals::merge([&recorder])
}

fn reasons(totals: &Totals, generator: &GeneratorFacts, rate: Option<f64>) -> Vec<String> {
    let verdict = Verdict::judge(totals, generator, rate, Duration::from_secs(1));
    assert_eq!(verdict.valid, Some(verdict.reasons.is_empty()));
    verdict.reasons
}

#[test]
fn a_closed_loop_with_a_full_core_measured_itself() {
    let totals = closed_loop();
    let full = reasons(&totals, &worker(0.96, 0.0), None);
    assert!(
        full.len() == 1 && full[0].contains("96 % of its core: the requests/s are its own limit"),
        "{full:?}"
    );
    assert!(reasons(&totals, &worker(0.94, 0.0), None).is_empty());
}

#[test]
fn a_short_run_is_not_judged() {
    let (totals, full) = (closed_loop(), worker(0.99, 0.0));
    let judge = |ms| Verdict::judge(&totals, &full, None, Duration::from_millis(ms));
    let short = judge(199);
    assert_eq!(short.valid, None);
    assert_eq!(short.reasons, ["too short to judge: 199 ms were measured, 200 ms are needed"]);
    assert_eq!(judge(200).valid, Some(false));
    let nothing = Totals::merge([&Recorder::new(false)]);
    for (ms, valid) in [(0, None), (1000, Some(false))] {
        let verdict = Verdict::judge(&nothing, &full, None, Duration::from_millis(ms));
        assert_eq!((verdict.valid, &verdict.reasons[..]), (valid, &["nothing was measured".to_owned()][..]));
    }
}

#[test]
fn spinning_is_no_load() {
    let totals = open_loop(0, 0, 100_000);
    let mut spinning = worker(0.99, 0.0);
    assert_eq!(reasons(&totals, &spinning, Some(1000.0)).len(), 1);
    spinning.workers[1].spin_ns = SECOND / 2;
    assert!(reasons(&totals, &spinning, Some(1000.0)).is_empty());
}

#[test]
fn a_core_shared_with_others_is_named() {
    let totals = closed_loop();
    let shared = reasons(&totals, &worker(0.5, 0.12), None);
    assert!(shared.len() == 1 && shared[0].contains("waited 12 % of the time"), "{shared:?}");
    assert!(reasons(&totals, &worker(0.5, 0.09), None).is_empty());
}

#[test]
fn a_worker_that_sleeps_most_of_the_time_waits_for_its_core_all_the_same() {
    // 1,000 requests of 100 µs each: 10 % of a second, of which it waited 2 or 3 %.
    let totals = open_loop(0, 0, 100_000);
    assert!(reasons(&totals, &worker(0.05, 0.02), Some(1000.0)).is_empty());
    let waits = reasons(&totals, &worker(0.05, 0.03), Some(1000.0));
    assert!(waits.len() == 1 && waits[0].contains("30.0 µs per request"), "{waits:?}");
}

#[test]
fn lateness_counts_by_its_part_of_the_response() {
    let idle = worker(0.1, 0.0);
    // As late as an idle core wakes: valid, however fast the server is.
    assert!(reasons(&open_loop(1000, 90_000, 20_000), &idle, Some(1000.0)).is_empty());
    // Half of them 400 µs late, of 500 µs: the generator's figure.
    let late = reasons(&open_loop(600, 400_000, 100_000), &idle, Some(1000.0));
    assert!(
        late.len() == 1
            && late[0].contains(
                "at p50 its schedule lag is 400 µs, more than half of the response time of 500 µs;"
            ),
        "{late:?}"
    );
    // Only the tail is late.
    let tail = reasons(&open_loop(20, 2_000_000, 100_000), &idle, Some(1000.0));
    assert!(
        tail.len() == 1
            && tail[0].contains(
                "at p99 its schedule lag is 2.00 ms, more than half of the response time of 2.10 ms;"
            ),
        "{tail:?}"
    );
    // The same lateness is negligible beside a response time of a second.
    assert!(reasons(&open_loop(20, 2_000_000, SECOND), &idle, Some(1000.0)).is_empty());
}

#[test]
fn bunches_are_no_schedule_even_before_a_slow_server() {
    let idle = worker(0.1, 0.0);
    let bunched = reasons(&open_loop(20, 50_000_000, 2 * SECOND), &idle, Some(1000.0));
    assert!(
        bunched.len() == 1 && bunched[0].contains("50.0 ms, or 50 intervals of the schedule"),
        "{bunched:?}"
    );
    assert!(reasons(&open_loop(20, 50_000_000, 2 * SECOND), &idle, Some(10.0)).is_empty());
}

#[test]
fn a_slow_or_dead_server_alone_is_valid() {
    let mut recorder = Recorder::new(true);
    for scheduled_ns in 0..100 {
        recorder.censored(Unfinished { scheduled_ns, ready_ns: None, sent_ns: None, ended_ns: 100 * SECOND });
        let sent_ns = Some(scheduled_ns);
        let unfinished =
            Unfinished { scheduled_ns, ready_ns: sent_ns, sent_ns, ended_ns: 30 * SECOND + scheduled_ns };
        recorder.failed(unfinished, ErrorKind::Timeout);
    }
    assert!(reasons(&Totals::merge([&recorder]), &worker(0.01, 0.0), Some(1000.0)).is_empty());
}

#[test]
fn exhausted_descriptors_and_ports_are_the_generators() {
    let mut recorder = Recorder::new(false);
    let unfinished = Unfinished { scheduled_ns: 0, ready_ns: None, sent_ns: None, ended_ns: 1 };
    recorder.failed(unfinished, ErrorKind::Connect);
    recorder.descriptors_ran_out();
    recorder.ports_ran_out();
    let both = reasons(&Totals::merge([&recorder]), &worker(0.1, 0.0), None);
    assert_eq!(both.len(), 2);
    assert!(both[0].contains("file descriptors") && both[1].contains("local ports"), "{both:?}");
}

#[test]
fn with_several_workers_the_worst_is_named() {
    let shared = reasons(&closed_loop(), &worker(0.97, 0.12), None);
    assert!(shared[0].starts_with("worker 2 of the generator's 2 used 97 %"), "{shared:?}");
    assert!(shared[1].starts_with("worker 2 of the generator's 2 waited 12 %"), "{shared:?}");
    let mut alone = worker(0.97, 0.12);
    alone.workers.remove(0);
    let alone = reasons(&closed_loop(), &alone, None);
    assert!(alone.iter().all(|reason| reason.starts_with("the generator ")), "{alone:?}");
}

fn on_machine(machine: MachineFacts) -> Vec<String> {
    reasons(&closed_loop(), &GeneratorFacts { machine, ..worker(0.1, 0.0) }, None)
}

#[test]
fn stolen_time_counts_if_it_is_certain() {
    let stolen = |share, least| {
        on_machine(MachineFacts {
            steal_share: Some(share),
            steal_share_least: Some(least),
            ..Default::default()
        })
    };
    let much = stolen(0.08, 0.07);
    assert!(much.len() == 1 && much[0].contains("8.0 % of the time of the generator's cores"), "{much:?}");
    assert!(stolen(0.04, 0.03).is_empty());
    // Two ticks in a slice of a quarter of a second, one of which may have begun long before.
    assert!(stolen(0.08, 0.04).is_empty());
    assert!(on_machine(MachineFacts::default()).is_empty(), "what is unknown is no reason");
}

#[test]
fn clocks_that_are_set_and_machines_that_sleep_are_named() {
    let set = |ns| on_machine(MachineFacts { clock_step_ns: Some(ns), ..Default::default() });
    let ahead = set(1_500_000_000);
    assert!(ahead.len() == 1 && ahead[0].contains("set forward by 1.50 s"), "{ahead:?}");
    let back = set(-20_000_000);
    assert!(back.len() == 1 && back[0].contains("set back by 20.0 ms"), "{back:?}");
    assert!(set(9_000_000).is_empty() && set(-9_000_000).is_empty() && set(i64::MIN).len() == 1);
    let suspended = |ns| on_machine(MachineFacts { suspended_ns: Some(ns), ..Default::default() });
    let slept = suspended(3_000_000_000);
    assert!(slept.len() == 1 && slept[0].contains("suspended for 3.00 s"), "{slept:?}");
    assert!(suspended(900_000).is_empty());
}

/// Of ten connections, each of which was sending for `sending_ns` in all of a second.
fn with_queues(sending_ns: u64, limits: [u64; 2], receive_full: u64) -> Vec<String> {
    let [peer_limited_ns, buffer_limited_ns] = limits;
    let mut generator = worker(0.1, 0.0);
    let queues = |connections| QueueFacts {
        connections,
        sending_ns: sending_ns * connections,
        peer_limited_ns: peer_limited_ns * connections,
        buffer_limited_ns: buffer_limited_ns * connections,
        ..QueueFacts::default()
    };
    generator.workers[0].queues = QueueFacts { receive_full, ..queues(4) };
    generator.workers[1].queues = queues(6);
    reasons(&closed_loop(), &generator, None)
}

#[test]
fn a_full_send_buffer_is_the_generators_and_a_full_window_the_servers() {
    let own = with_queues(SECOND / 2, [0, SECOND / 4], 0);
    assert!(own.len() == 1 && own[0].contains("for 50 % of the time"), "{own:?}");
    assert!(with_queues(SECOND, [SECOND * 9 / 10, 0], 0).is_empty(), "the server does not read");
    assert!(with_queues(SECOND / 2, [0, SECOND / 20], 0).is_empty(), "a small part");
    assert!(with_queues(SECOND / 50, [0, SECOND / 60], 0).is_empty(), "it hardly sent");
}

#[test]
fn receive_queues_that_filled_are_counted() {
    let full = with_queues(0, [0, 0], 3);
    assert!(full.len() == 1 && full[0].contains("3 of 10 connections"), "{full:?}");
    assert!(with_queues(0, [0, 0], 2).is_empty(), "so few may be chance");
}
