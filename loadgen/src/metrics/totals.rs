//! All workers' measurements, merged once at the end of a run.

use std::collections::BTreeSet;

use hdrhistogram::Histogram;

use super::backlog::Backlog;
use super::counters::{AfterEnd, Counters};
use super::handshakes::Handshakes;
use super::http2::Http2;
use super::keyed::{Keyed, StatusClass};
use super::recorder::Recorder;
use super::times::{Times, add, histogram};
use crate::estimate::{Censoring, Curve};

/// Times of whole requests, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Latencies {
    /// From when they were due.
    pub response: Times,
    /// From the actual send.
    pub service: Times,
    /// From when they were due until a connection was free. Covers the same requests as `response`.
    pub queue_wait: Times,
    /// From then until the generator sent them.
    pub schedule_lag: Histogram<u64>,
}

/// Times of parts of the work, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Phases {
    /// Resolving names.
    pub dns: Histogram<u64>,
    /// Making connections. Cut short are the attempts that timed out or that the end cut off.
    pub connect: Times,
    /// TLS handshakes, cut short in the same way.
    pub tls: Times,
    /// From the send to the first byte of the answer.
    pub first_byte: Histogram<u64>,
    /// From there to the last byte.
    pub transfer: Histogram<u64>,
}

/// All workers' measurements.
#[derive(Clone, Debug)]
pub struct Totals {
    /// Whether the loop was open.
    pub open_loop: bool,
    /// The sums.
    pub counters: Counters,
    /// Those of them that were counted after the end of the measured part.
    pub after_end: AfterEnd,
    /// Whole requests.
    pub latencies: Latencies,
    /// Parts.
    pub phases: Phases,
    /// What the TLS handshakes agreed on.
    pub handshakes: Handshakes,
    /// The versions of HTTP that connections have spoken, such as `1.1`.
    pub versions: BTreeSet<&'static str>,
    /// What happened in HTTP/2 beside the requests.
    pub http2: Http2,
    /// The two halves of an open loop's run.
    pub backlog: Backlog,
    /// Whether these are a part of a run whose backlog grew.
    part_of_growing: bool,
    /// How long each request that the end cut off had waited since it was due.
    cut_off: Histogram<u64>,
    by_status: Keyed,
}

impl Totals {
    /// Merges `recorders`, which must all belong to one run.
    ///
    /// # Panics
    /// When open and closed loops are mixed.
    pub fn merge<'a>(recorders: impl IntoIterator<Item = &'a Recorder>) -> Self {
        let mut totals = Self {
            open_loop: false,
            counters: Counters::default(),
            after_end: AfterEnd::default(),
            latencies: Latencies {
                response: Times::new(),
                service: Times::new(),
                queue_wait: Times::new(),
                schedule_lag: histogram(),
            },
            phases: Phases {
                dns: histogram(),
                connect: Times::new(),
                tls: Times::new(),
                first_byte: histogram(),
                transfer: histogram(),
            },
            handshakes: Handshakes::default(),
            versions: BTreeSet::new(),
            http2: Http2::default(),
            backlog: Backlog::default(),
            part_of_growing: false,
            cut_off: histogram(),
            by_status: Keyed::new(StatusClass::ALL.len(), StatusClass::Successful as usize),
        };
        for (index, part) in recorders.into_iter().enumerate() {
            assert!(index == 0 || totals.open_loop == part.open_loop, "one run, one loop");
            totals.open_loop = part.open_loop;
            totals.add(part);
        }
        totals
    }

    /// The same as a part of `whole`, on which it depends whether the waits of unanswered requests say more.
    #[must_use]
    pub fn as_part_of(self, whole: &Self) -> Self {
        Self { part_of_growing: whole.backlog_grew(), backlog: Backlog::default(), ..self }
    }

    /// Whether more and more requests waited for their responses, so that the end cut off those that would have taken
    /// longest. This happens only in an open loop.
    pub fn backlog_grew(&self) -> bool {
        self.part_of_growing || (self.open_loop && self.backlog.grew(self.counters.censored))
    }

    /// How many of the requests that the end cut off, sent or not, say nothing against the server: they had waited no
    /// longer than the slowest response took, and the backlog did not grow. Without a response there are none.
    pub fn excused(&self) -> u64 {
        let answered = &self.latencies.response.exact;
        if answered.is_empty() || self.backlog_grew() {
            return 0;
        }
        self.cut_off.count_between(0, answered.max())
    }

    /// The response times.
    pub fn response(&self) -> Curve {
        self.latencies.response.curve(self.waiting())
    }

    /// The service times. Waits before the send do not change them.
    pub fn service(&self) -> Curve {
        self.latencies.service.curve(Censoring::Independent)
    }

    /// The waits for a connection.
    pub fn queue_wait(&self) -> Curve {
        self.latencies.queue_wait.curve(self.waiting())
    }

    /// The response times of answers, by the class of their status.
    pub fn response_by_status(&self) -> Vec<(StatusClass, Curve)> {
        let times = self.response_times_by_status();
        times.into_iter().map(|(class, times)| (class, Curve::exact(&times))).collect()
    }

    /// The same as histograms, in the order of the classes.
    pub fn response_times_by_status(&self) -> Vec<(StatusClass, Histogram<u64>)> {
        let split = self.by_status.split(&self.latencies.response.exact);
        split.into_iter().map(|(key, times)| (StatusClass::ALL[key], times)).collect()
    }

    /// How long each request that the end cut off had waited since it was due.
    pub fn cut_off(&self) -> &Histogram<u64> {
        &self.cut_off
    }

    /// How many connections were opened before the start.
    pub fn connects_before(&self) -> u64 {
        self.phases.connect.exact.len().saturating_sub(self.counters.connects)
    }

    /// The times to connect.
    pub fn connect(&self) -> Curve {
        self.phases.connect.curve(Censoring::Independent)
    }

    /// The times of TLS handshakes.
    pub fn tls(&self) -> Curve {
        self.phases.tls.curve(Censoring::Independent)
    }

    fn waiting(&self) -> Censoring {
        if self.backlog_grew() { Censoring::Dependent } else { Censoring::Independent }
    }

    fn add(&mut self, part: &Recorder) {
        self.counters.add(&part.counters);
        self.after_end.add(part.after_end());
        let Latencies { response, service, queue_wait, schedule_lag } = &mut self.latencies;
        response.add(&part.response);
        service.add(&part.service);
        add(&mut service.exact, &part.service_one_piece);
        add(&mut service.exact, &part.service_connected);
        queue_wait.add(&part.queue_wait);
        queue_wait.exact.saturating_record_n(0, part.queue_wait_none);
        add(schedule_lag, &part.schedule_lag);
        add(&mut self.cut_off, &part.cut_off);
        if !part.open_loop {
            // Most requests of a closed loop are due when they are sent: their response time is their service time,
            // and they do not wait.
            for own in [&part.service_one_piece, &part.service.exact] {
                add(&mut response.exact, own);
                queue_wait.exact.saturating_record_n(0, own.len());
                schedule_lag.saturating_record_n(0, own.len());
            }
        }
        let Phases { dns, connect, tls, first_byte, transfer } = &mut self.phases;
        add(dns, &part.dns);
        connect.add(&part.connect);
        tls.add(&part.tls);
        self.handshakes.add(&part.handshakes);
        self.versions.extend(&part.versions);
        self.http2.add(&part.http2);
        add(first_byte, &part.first_byte);
        add(transfer, &part.transfer);
        // Answers in one piece: their first byte was their last.
        add(first_byte, &part.service_one_piece);
        transfer.saturating_record_n(0, part.service_one_piece.len());
        self.by_status.add(&part.by_status);
        self.backlog.add(part.backlog());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::estimate::Quantile;
    use crate::metrics::error_kind::ErrorKind;
    use crate::metrics::{Moment, Sample, TIME_MAX_NS, Unfinished};
    use crate::testing::few_cases;

    fn values(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
        histogram.iter_recorded().map(|entry| (entry.value_iterated_to(), entry.count_at_value())).collect()
    }

    fn sample(moments: [u64; 5]) -> Sample {
        let [scheduled_ns, ready_ns, sent_ns, first_byte_ns, done_ns] = moments;
        Sample { scheduled_ns, ready_ns, sent_ns, first_byte_ns, done_ns, status: 200 }
    }

    #[test]
    fn a_closed_loop_derives_response_from_service() {
        let mut recorder = Recorder::new(false);
        recorder.completed(sample([100, 100, 100, 400, 400]));
        recorder.completed(sample([100, 100, 100, 400, 900]));
        recorder.failed(
            Unfinished { scheduled_ns: 0, ready_ns: Some(0), sent_ns: Some(0), ended_ns: 1000 },
            ErrorKind::Timeout,
        );
        recorder.censored(Unfinished { scheduled_ns: 0, ready_ns: Some(0), sent_ns: Some(0), ended_ns: 700 });
        recorder.failed(
            Unfinished { scheduled_ns: 0, ready_ns: Some(0), sent_ns: Some(0), ended_ns: 50 },
            ErrorKind::Reset,
        );
        let totals = Totals::merge([&recorder]);
        let Latencies { response, service, queue_wait, schedule_lag } = &totals.latencies;
        assert_eq!(values(&service.exact), [(300, 1), (800, 1)]);
        assert_eq!(values(&service.censored), [(700, 1), (1000, 1)]);
        assert_eq!((&response.exact, &response.censored), (&service.exact, &service.censored));
        assert_eq!(values(&queue_wait.exact), [(0, 4)]);
        assert!(queue_wait.censored.is_empty());
        // The generator sent five.
        assert_eq!(values(schedule_lag), [(0, 5)]);
        assert_eq!(values(&totals.phases.first_byte), [(300, 2)]);
        assert_eq!(values(&totals.phases.transfer), [(0, 1), (500, 1)]);
        let counters = &totals.counters;
        assert_eq!(
            (counters.completed, counters.failed, counters.censored, counters.sent, counters.scheduled()),
            (2, 2, 1, 5, 5)
        );
        assert_eq!(counters.status[200], 2);
        assert_eq!(counters.errors[ErrorKind::Timeout as usize], 1);
        assert_eq!(counters.errors[ErrorKind::Reset as usize], 1);
    }

    #[test]
    fn a_connect_in_a_closed_loop_is_waited_for_and_not_served() {
        let mut recorder = Recorder::new(false);
        recorder.completed(sample([400, 400, 400, 700, 700]));
        // Connected from 100 to 400, sent at 410, answered in one piece or in two.
        recorder.completed(sample([100, 400, 410, 710, 710]));
        recorder.completed(sample([100, 400, 410, 710, 910]));
        // One timed out; one was cut off while it connected.
        recorder.failed(
            Unfinished { scheduled_ns: 0, ready_ns: Some(300), sent_ns: Some(310), ended_ns: 1310 },
            ErrorKind::Timeout,
        );
        let unsent = |ended_ns| Unfinished { scheduled_ns: 0, ready_ns: None, sent_ns: None, ended_ns };
        recorder.censored(unsent(50));
        // One connect was refused, and one timed out.
        recorder.failed(unsent(70), ErrorKind::Connect);
        recorder.connect_timed_out(unsent(900), ErrorKind::Connect);
        let totals = Totals::merge([&recorder]);
        let Latencies { response, service, queue_wait, schedule_lag } = &totals.latencies;
        assert_eq!(totals.counters.errors[ErrorKind::Connect as usize], 2);
        assert_eq!((totals.counters.failed, totals.counters.scheduled()), (3, 7));
        assert_eq!(values(&response.exact), [(300, 1), (610, 1), (810, 1)]);
        assert_eq!(values(&response.censored), [(50, 1), (900, 1), (1310, 1)]);
        assert_eq!(values(&service.exact), [(300, 2), (500, 1)]);
        assert_eq!(values(&service.censored), [(1000, 1)]);
        assert_eq!(values(&queue_wait.exact), [(0, 1), (300, 3)]);
        assert_eq!(values(&queue_wait.censored), [(50, 1), (900, 1)]);
        assert_eq!(values(schedule_lag), [(0, 1), (10, 3)]);
        assert_eq!(values(&totals.phases.first_byte), [(300, 3)]);
        assert_eq!(values(&totals.phases.transfer), [(0, 2), (200, 1)]);
    }

    #[test]
    fn answers_are_told_apart_by_their_status() {
        for open_loop in [false, true] {
            let mut recorder = Recorder::new(open_loop);
            for (status, time_ns) in [(200, 5), (204, 7), (503, 900), (404, 30), (500, 1100)] {
                recorder.completed(Sample { status, ..sample([0, 0, 0, time_ns, time_ns]) });
            }
            recorder.censored(Unfinished {
                scheduled_ns: 0,
                ready_ns: Some(0),
                sent_ns: Some(0),
                ended_ns: 9,
            });
            let by_status = Totals::merge([&recorder, &recorder]).response_by_status();
            let seen: Vec<_> = by_status
                .iter()
                .map(|(class, curve)| {
                    (class.name(), curve.count(), curve.min().ns as u64, curve.max().ns as u64)
                })
                .collect();
            assert_eq!(seen, [("2xx", 4, 5, 7), ("4xx", 2, 30, 30), ("5xx", 4, 900, 1100)]);
        }
    }

    #[test]
    fn only_answers_tell_how_long_an_answer_may_take() {
        for open_loop in [false, true] {
            let mut recorder = Recorder::new(open_loop);
            let cut =
                |ended_ns, sent_ns| Unfinished { scheduled_ns: 0, ready_ns: sent_ns, sent_ns, ended_ns };
            recorder.failed(cut(1000, Some(0)), ErrorKind::Timeout);
            recorder.ends(0, 1000);
            recorder.censored(cut(20, Some(0)));
            assert_eq!(Totals::merge([&recorder]).excused(), 0, "nobody knows how long a response takes");
            recorder.completed(sample([0, 10, 10, 20, 20]));
            // Sent or not, and whenever it was sent: it counts from when it was due.
            recorder.censored(cut(20, None));
            recorder.censored(cut(500, None));
            recorder.censored(cut(21, Some(19)));
            recorder.overdue(980, 1000, 5);
            recorder.overdue(970, 1000, 7);
            let mut slower = Recorder::new(open_loop);
            assert_eq!(Totals::merge([&recorder, &slower]).excused(), 7);
            // The slowest response of all workers counts.
            slower.completed(sample([0, 0, 0, 600, 600]));
            assert_eq!(Totals::merge([&recorder, &slower]).excused(), 16);
        }
    }

    /// Times are as precise as their histogram.
    #[test]
    fn a_wait_as_long_as_the_slowest_response_is_excused_whatever_the_precision() {
        for ns in [1_u64, 2047, 2049, 1_000_001, 30_000_000_001] {
            let mut recorder = Recorder::new(false);
            recorder.completed(sample([0, 0, 0, ns, ns]));
            let cut = |ended_ns| Unfinished { scheduled_ns: 0, ready_ns: None, sent_ns: None, ended_ns };
            recorder.censored(cut(ns));
            recorder.censored(cut(ns + ns / 500 + 1));
            assert_eq!(Totals::merge([&recorder]).excused(), 1, "{ns}");
        }
    }

    /// At twice the capacity of one connection, half of the requests are answered, each later than the one before.
    #[test]
    fn a_backlog_that_grows_makes_every_response_a_lower_bound() {
        for (load, grew) in [(2, true), (1, false)] {
            let mut recorder = Recorder::new(true);
            let (mut done, mut moment) = (0, 0);
            for now_ns in 0..2000 {
                if now_ns % load == 0 {
                    recorder.completed(sample([done, now_ns, now_ns, now_ns, now_ns]));
                    done += 1;
                }
                if now_ns >= moment {
                    let (due, ended) = (now_ns + 1, done);
                    recorder.passed(Moment { at_ns: now_ns, due, ended, waiting: due - ended });
                    moment += 100;
                }
            }
            recorder.ends(0, 2000);
            (done..2000).for_each(|due_ns| recorder.overdue(due_ns, 2000, 1));
            let totals = Totals::merge([&recorder, &recorder]);
            assert_eq!(totals.backlog_grew(), grew, "{:?}", totals.backlog);
            let p50 = totals.response().quantile(Quantile::new(1, 2));
            assert_eq!(p50.is_lower_bound, grew, "{p50:?}");
            assert!(!grew || (490.0..=510.0).contains(&p50.ns), "{p50:?}");
            assert_eq!(totals.queue_wait().quantile(Quantile::new(1, 2)).is_lower_bound, grew);
            assert!(!totals.service().max().is_lower_bound);
            // If it grew, all were left waiting because the server did not keep up.
            assert_eq!(totals.counters.censored - totals.excused(), if grew { 2000 } else { 0 });
        }
    }

    #[test]
    fn an_open_loop_separates_the_servers_part_from_the_generators() {
        let mut recorder = Recorder::new(true);
        // Due at 100, a connection free at 150, sent at 160, answered at 460 and 560.
        recorder.completed(sample([100, 150, 160, 460, 560]));
        // A connection was free before it was due: nothing waited, and lag counts from when it was due.
        recorder.completed(sample([100, 50, 130, 230, 230]));
        // Never got a connection.
        recorder.censored(Unfinished { scheduled_ns: 100, ready_ns: None, sent_ns: None, ended_ns: 1000 });
        // Got a connection and was sent; the timeout counts from the send.
        recorder.failed(
            Unfinished { scheduled_ns: 100, ready_ns: Some(200), sent_ns: Some(210), ended_ns: 710 },
            ErrorKind::Timeout,
        );
        // Waited for long and was reset: no response time includes it.
        recorder.failed(
            Unfinished { scheduled_ns: 100, ready_ns: Some(2000), sent_ns: Some(2200), ended_ns: 2210 },
            ErrorKind::Reset,
        );
        let totals = Totals::merge([&recorder]);
        let Latencies { response, service, queue_wait, schedule_lag } = &totals.latencies;
        assert_eq!(values(&response.exact), [(130, 1), (460, 1)]);
        assert_eq!(values(&response.censored), [(610, 1), (900, 1)]);
        assert_eq!(values(&service.exact), [(100, 1), (400, 1)]);
        assert_eq!(values(&service.censored), [(500, 1)]);
        assert_eq!(values(&queue_wait.exact), [(0, 1), (50, 1), (100, 1)]);
        assert_eq!(values(&queue_wait.censored), [(900, 1)]);
        // The request that was reset was sent late as well.
        assert_eq!(values(schedule_lag), [(10, 2), (30, 1), (200, 1)]);
        assert_eq!((totals.counters.sent, totals.counters.scheduled()), (4, 5));
    }

    #[test]
    fn workers_add_up_and_a_reset_forgets_all_but_connects() {
        let mut recorder = Recorder::new(true);
        recorder.completed(sample([0, 0, 0, 5, 5]));
        recorder.connected(7);
        recorder.connect_cut_short(70);
        recorder.resolved(9);
        recorder.received_bytes(100);
        recorder.sent_bytes(40);
        recorder.ports_ran_out();
        recorder.descriptors_ran_out();
        recorder.ruled_out(3);
        recorder.unexpected_bytes();
        let totals = Totals::merge([&recorder, &recorder]);
        let counters = &totals.counters;
        assert_eq!((counters.completed, counters.bytes_received, counters.bytes_sent), (2, 200, 80));
        assert_eq!((counters.ports_ran_out, counters.descriptors_ran_out, counters.ruled_out), (2, 2, 6));
        assert_eq!(counters.unexpected_bytes, 2);
        assert_eq!(values(&totals.phases.connect.exact), [(7, 2)]);
        assert_eq!(values(&totals.phases.connect.censored), [(70, 2)]);
        let longest = totals.connect().max();
        assert!(longest.is_lower_bound && (longest.ns - 70.0).abs() < 1e-9, "{longest:?}");
        assert_eq!(values(&totals.phases.dns), [(9, 2)]);
        recorder.reset();
        let totals = Totals::merge([&recorder]);
        assert_eq!(totals.counters.scheduled() + totals.counters.bytes_received, 0);
        assert!(totals.latencies.queue_wait.exact.is_empty() && totals.phases.first_byte.is_empty());
        assert_eq!((totals.connect().count(), totals.phases.dns.len()), (2, 1));
        recorder.connected(8);
        let totals = Totals::merge([&recorder]);
        assert_eq!((totals.connects_before(), totals.counters.connects), (1, 1));
    }

    #[test]
    fn a_time_beyond_the_range_counts_as_its_end_and_nothing_grows() {
        let mut recorder = Recorder::new(true);
        let size = recorder.response.exact.distinct_values();
        recorder.completed(sample([0, 0, 0, u64::MAX, u64::MAX]));
        recorder.censored(Unfinished { scheduled_ns: 0, ready_ns: None, sent_ns: None, ended_ns: u64::MAX });
        for times in [&recorder.response.exact, &recorder.response.censored] {
            assert_eq!((times.distinct_values(), times.len()), (size, 1));
            assert!(times.max() >= TIME_MAX_NS);
        }
    }

    #[test]
    fn a_percentile_is_known_while_a_worker_counts() {
        for open_loop in [false, true] {
            let mut recorder = Recorder::new(open_loop);
            assert_eq!(recorder.response_p99_ns(), None);
            for service_ns in 1..=200 {
                recorder.completed(sample([0, 0, 0, service_ns, service_ns]));
            }
            assert_eq!(recorder.response_p99_ns(), Some(198));
            // One in two hundred does not reach the 99th percentile.
            recorder.completed(sample([0, 0, 0, 1, 1000]));
            assert_eq!(recorder.response_p99_ns(), Some(if open_loop { 199 } else { 198 }));
            for _ in 0..50 {
                recorder.completed(sample([0, 0, 0, 1, 1000]));
            }
            assert_eq!(recorder.response_p99_ns(), Some(1000));
        }
    }

    proptest! {
        #![proptest_config(few_cases(48))]

        #[test]
        fn every_request_is_in_the_histograms_that_it_belongs_to(
            open_loop: bool, requests in proptest::collection::vec((0_u8..5, proptest::array::uniform5(0_u64..1_000_000)), 0..200),
        ) {
            let mut workers = [Recorder::new(open_loop), Recorder::new(open_loop)];
            let (mut waited_for, mut sent, mut connected) = (0, 0, 0);
            for (index, (fate, mut moments)) in requests.iter().copied().enumerate() {
                moments.sort_unstable();
                // Every second one goes over an open connection.
                if !open_loop && index % 2 == 0 {
                    moments[0] = moments[2];
                    moments[1] = moments[2];
                }
                let [scheduled_ns, ready_ns, sent_ns, _, ended_ns] = moments;
                let unfinished = Unfinished { scheduled_ns, ready_ns: Some(ready_ns), sent_ns: Some(sent_ns), ended_ns };
                let worker = &mut workers[index % 2];
                sent += u64::from(fate != 4);
                waited_for += u64::from(fate != 2);
                connected += u64::from(scheduled_ns < sent_ns);
                match fate {
                    0 => worker.completed(sample(moments)),
                    1 => worker.failed(unfinished, ErrorKind::Timeout),
                    2 => worker.failed(unfinished, ErrorKind::Closed),
                    3 => worker.censored(unfinished),
                    _ => worker.censored(Unfinished { ready_ns: None, sent_ns: None, ..unfinished }),
                }
            }
            let totals = Totals::merge(&workers);
            let completed = totals.counters.completed;
            prop_assert_eq!(totals.counters.scheduled(), requests.len() as u64);
            prop_assert_eq!(totals.counters.sent, sent);
            prop_assert_eq!(totals.counters.errors.iter().sum::<u64>(), totals.counters.failed);
            prop_assert_eq!(totals.counters.status.iter().sum::<u64>(), completed);
            let Latencies { response, service, queue_wait, schedule_lag } = &totals.latencies;
            prop_assert_eq!((response.exact.len(), service.exact.len()), (completed, completed));
            prop_assert_eq!(response.censored.len(), waited_for - completed);
            prop_assert_eq!(queue_wait.exact.len() + queue_wait.censored.len(), waited_for);
            prop_assert_eq!(schedule_lag.len(), sent);
            prop_assert_eq!(totals.phases.first_byte.len(), completed);
            prop_assert_eq!(totals.phases.transfer.len(), completed);
            prop_assert_eq!(totals.response_by_status().iter().map(|(_, curve)| curve.count()).sum::<u64>(), completed);
            if connected == 0 {
                prop_assert_eq!(&response.exact, &service.exact);
            }
        }

        /// The parts of each request add up to its total, and so do their means.
        #[test]
        fn the_parts_add_up_to_the_response(
            open_loop: bool, requests in proptest::collection::vec(proptest::array::uniform5(0_u64..1_000_000), 1..100),
        ) {
            let mut recorder = Recorder::new(open_loop);
            let mut sum = 0;
            for mut moments in requests.iter().copied() {
                moments.sort_unstable();
                sum += moments[4] - moments[0];
                recorder.completed(sample(moments));
            }
            let totals = Totals::merge([&recorder]);
            let lag = Curve::exact(&totals.latencies.schedule_lag);
            let parts = totals.queue_wait().mean().ns + lag.mean().ns + totals.service().mean().ns;
            let whole = sum as f64 / requests.len() as f64;
            prop_assert!((parts - whole).abs() <= whole * 2e-3 + 2.0, "{} {}", parts, whole);
            prop_assert!((totals.response().mean().ns - whole).abs() <= whole * 1e-3 + 1.0);
        }
    }
}
