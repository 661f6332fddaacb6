//! The workers' parts, merged once at the end of a run.

use hdrhistogram::Histogram;

use super::recorder::Recorder;
use super::{ErrorKind, STATUS_CODES, histogram};

/// What is counted.
#[derive(Clone, Debug)]
pub struct Counters {
    /// Requests of which the kernel took at least a byte.
    pub sent: u64,
    /// Requests with a complete answer.
    pub completed: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Requests that were due and unanswered when the run ended.
    pub censored: u64,
    /// Those of them that were sent, and had not waited longer than the slowest answer took: nothing speaks against these.
    pub under_way: u64,
    /// When the last of the complete answers was.
    pub last_done_ns: u64,
    /// Failed requests by kind: indexed by [`ErrorKind`].
    pub errors: [u64; ErrorKind::ALL.len()],
    /// What the first error of each kind said, where it said more than its kind.
    pub error_examples: [Option<Box<str>>; ErrorKind::ALL.len()],
    /// Completed requests by status code.
    pub status: Box<[u64; STATUS_CODES]>,
    /// Bytes that arrived.
    pub bytes_received: u64,
    /// Bytes that the kernel took.
    pub bytes_sent: u64,
    /// How often the generator's own descriptors ran out.
    pub descriptors_ran_out: u64,
    /// How often the generator's own ports ran out.
    pub ports_ran_out: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            sent: 0,
            completed: 0,
            failed: 0,
            censored: 0,
            under_way: 0,
            last_done_ns: 0,
            errors: [0; ErrorKind::ALL.len()],
            error_examples: Default::default(),
            status: Box::new([0; STATUS_CODES]),
            bytes_received: 0,
            bytes_sent: 0,
            descriptors_ran_out: 0,
            ports_ran_out: 0,
        }
    }
}

impl Counters {
    /// Requests that were due: each has completed, failed, or been censored.
    pub fn scheduled(&self) -> u64 {
        self.completed + self.failed + self.censored
    }

    fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.completed += other.completed;
        self.failed += other.failed;
        self.censored += other.censored;
        self.under_way += other.under_way;
        self.last_done_ns = self.last_done_ns.max(other.last_done_ns);
        self.bytes_received += other.bytes_received;
        self.bytes_sent += other.bytes_sent;
        self.descriptors_ran_out += other.descriptors_ran_out;
        self.ports_ran_out += other.ports_ran_out;
        for (mine, others) in self.errors.iter_mut().zip(&other.errors) {
            *mine += others;
        }
        for (mine, others) in self.error_examples.iter_mut().zip(&other.error_examples) {
            if mine.is_none() {
                mine.clone_from(others);
            }
        }
        for (mine, others) in self.status.iter_mut().zip(other.status.iter()) {
            *mine += others;
        }
    }
}

/// Times of whole requests, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Latencies {
    /// From when they were due.
    pub response: Histogram<u64>,
    /// From the actual send.
    pub service: Histogram<u64>,
    /// From when they were due until a connection was free.
    pub queue_wait: Histogram<u64>,
    /// From then until the generator sent them.
    pub schedule_lag: Histogram<u64>,
}

/// Times of parts of the work, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Phases {
    /// Resolving names.
    pub dns: Histogram<u64>,
    /// Making connections.
    pub connect: Histogram<u64>,
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
    /// Whole requests.
    pub latencies: Latencies,
    /// Parts.
    pub phases: Phases,
}

impl Totals {
    /// The sum of `recorders`, which are all of one run.
    ///
    /// # Panics
    /// When open and closed loops are mixed.
    pub fn merge<'a>(recorders: impl IntoIterator<Item = &'a Recorder>) -> Self {
        let mut totals = Self {
            open_loop: false,
            counters: Counters::default(),
            latencies: Latencies {
                response: histogram(),
                service: histogram(),
                queue_wait: histogram(),
                schedule_lag: histogram(),
            },
            phases: Phases {
                dns: histogram(),
                connect: histogram(),
                first_byte: histogram(),
                transfer: histogram(),
            },
        };
        for (index, part) in recorders.into_iter().enumerate() {
            assert!(index == 0 || totals.open_loop == part.open_loop, "one run, one loop");
            totals.open_loop = part.open_loop;
            totals.add(part);
        }
        if !totals.open_loop {
            // In a closed loop each request is due when it is sent: service is response, and nothing waits before it.
            let Latencies { response, service, queue_wait, schedule_lag } = &mut totals.latencies;
            add(response, service);
            queue_wait.saturating_record_n(0, service.len());
            schedule_lag.saturating_record_n(0, service.len());
        }
        totals
    }

    fn add(&mut self, part: &Recorder) {
        self.counters.add(&part.counters);
        let Latencies { response, service, queue_wait, schedule_lag } = &mut self.latencies;
        add(response, &part.response);
        add(service, &part.service);
        add(service, &part.service_one_piece);
        add(queue_wait, &part.queue_wait);
        queue_wait.saturating_record_n(0, part.queue_wait_none);
        add(schedule_lag, &part.schedule_lag);
        let Phases { dns, connect, first_byte, transfer } = &mut self.phases;
        add(dns, &part.dns);
        add(connect, &part.connect);
        add(first_byte, &part.first_byte);
        add(transfer, &part.transfer);
        // Answers in one piece: their first byte was their last.
        add(first_byte, &part.service_one_piece);
        transfer.saturating_record_n(0, part.service_one_piece.len());
    }
}

fn add(to: &mut Histogram<u64>, from: &Histogram<u64>) {
    to.add(from).expect("all histograms have the same bounds");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metrics::{Sample, TIME_MAX_NS, Unfinished};

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
        assert_eq!(values(&totals.latencies.service), [(300, 1), (700, 1), (800, 1), (1000, 1)]);
        assert_eq!(totals.latencies.response, totals.latencies.service);
        assert_eq!(values(&totals.latencies.queue_wait), [(0, 4)]);
        assert_eq!(values(&totals.latencies.schedule_lag), [(0, 4)]);
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
    fn an_open_loop_separates_the_servers_part_from_the_generators() {
        let mut recorder = Recorder::new(true);
        // Due at 100, a connection free at 150, sent at 160, answered at 460 and 560.
        recorder.completed(sample([100, 150, 160, 460, 560]));
        // A connection was free before it was due: nothing waited, and lag counts from when it was due.
        recorder.completed(sample([100, 50, 130, 230, 230]));
        // Never got a connection.
        recorder.censored(Unfinished { scheduled_ns: 100, ready_ns: None, sent_ns: None, ended_ns: 1000 });
        // Got one and was sent; the timeout counts from the send.
        recorder.failed(
            Unfinished { scheduled_ns: 100, ready_ns: Some(200), sent_ns: Some(210), ended_ns: 710 },
            ErrorKind::Timeout,
        );
        let totals = Totals::merge([&recorder]);
        assert_eq!(values(&totals.latencies.response), [(130, 1), (460, 1), (610, 1), (900, 1)]);
        assert_eq!(values(&totals.latencies.service), [(100, 1), (400, 1), (500, 1)]);
        assert_eq!(values(&totals.latencies.queue_wait), [(0, 1), (50, 1), (100, 1), (900, 1)]);
        assert_eq!(values(&totals.latencies.schedule_lag), [(10, 2), (30, 1)]);
        assert_eq!((totals.counters.sent, totals.counters.scheduled()), (3, 4));
    }

    #[test]
    fn workers_add_up_and_a_reset_forgets_all_but_connects() {
        let mut recorder = Recorder::new(true);
        recorder.completed(sample([0, 0, 0, 5, 5]));
        recorder.connected(7);
        recorder.resolved(9);
        recorder.received_bytes(100);
        recorder.sent_bytes(40);
        recorder.ports_ran_out();
        recorder.descriptors_ran_out();
        let totals = Totals::merge([&recorder, &recorder]);
        let counters = &totals.counters;
        assert_eq!((counters.completed, counters.bytes_received, counters.bytes_sent), (2, 200, 80));
        assert_eq!((counters.ports_ran_out, counters.descriptors_ran_out), (2, 2));
        assert_eq!(values(&totals.phases.connect), [(7, 2)]);
        assert_eq!(values(&totals.phases.dns), [(9, 2)]);
        recorder.reset();
        let totals = Totals::merge([&recorder]);
        assert_eq!(totals.counters.scheduled() + totals.counters.bytes_received, 0);
        assert!(totals.latencies.queue_wait.is_empty() && totals.phases.first_byte.is_empty());
        assert_eq!((totals.phases.connect.len(), totals.phases.dns.len()), (1, 1));
    }

    #[test]
    fn a_time_beyond_the_range_counts_as_its_end_and_nothing_grows() {
        let mut recorder = Recorder::new(true);
        let size = recorder.response.distinct_values();
        recorder.completed(sample([0, 0, 0, u64::MAX, u64::MAX]));
        recorder.censored(Unfinished { scheduled_ns: 0, ready_ns: None, sent_ns: None, ended_ns: u64::MAX });
        assert_eq!(recorder.response.distinct_values(), size);
        assert_eq!(recorder.response.len(), 2);
        assert!(recorder.response.max() >= TIME_MAX_NS);
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
            // One in two hundred is no percentile.
            recorder.completed(sample([0, 0, 0, 1, 1000]));
            assert_eq!(recorder.response_p99_ns(), Some(if open_loop { 199 } else { 198 }));
            for _ in 0..50 {
                recorder.completed(sample([0, 0, 0, 1, 1000]));
            }
            assert_eq!(recorder.response_p99_ns(), Some(1000));
        }
    }

    proptest! {
        #[test]
        fn every_request_is_in_the_histograms_that_it_belongs_to(
            open_loop: bool, requests in proptest::collection::vec((0_u8..4, proptest::array::uniform5(0_u64..1_000_000)), 0..200),
        ) {
            let mut workers = [Recorder::new(open_loop), Recorder::new(open_loop)];
            let (mut waited_for, mut sent) = (0, 0);
            for (index, (fate, mut moments)) in requests.iter().copied().enumerate() {
                moments.sort_unstable();
                if !open_loop {
                    moments[0] = moments[2];
                    moments[1] = moments[2];
                }
                let [scheduled_ns, ready_ns, sent_ns, _, ended_ns] = moments;
                let unfinished = Unfinished { scheduled_ns, ready_ns: Some(ready_ns), sent_ns: Some(sent_ns), ended_ns };
                let worker = &mut workers[index % 2];
                sent += 1;
                waited_for += u64::from(fate != 2);
                match fate {
                    0 => worker.completed(sample(moments)),
                    1 => worker.failed(unfinished, ErrorKind::Timeout),
                    2 => worker.failed(unfinished, ErrorKind::Closed),
                    _ => worker.censored(unfinished),
                }
            }
            let totals = Totals::merge(&workers);
            prop_assert_eq!(totals.counters.scheduled(), requests.len() as u64);
            prop_assert_eq!(totals.counters.sent, sent);
            prop_assert_eq!(totals.counters.errors.iter().sum::<u64>(), totals.counters.failed);
            prop_assert_eq!(totals.counters.status.iter().sum::<u64>(), totals.counters.completed);
            prop_assert_eq!(totals.latencies.response.len(), waited_for);
            prop_assert_eq!(totals.latencies.service.len(), waited_for);
            prop_assert_eq!(totals.phases.first_byte.len(), totals.counters.completed);
            prop_assert_eq!(totals.phases.transfer.len(), totals.counters.completed);
            let lags = if open_loop { requests.len() as u64 } else { waited_for };
            prop_assert_eq!(totals.latencies.schedule_lag.len(), lags);
            prop_assert_eq!(totals.latencies.queue_wait.len(), lags);
            if !open_loop {
                prop_assert_eq!(&totals.latencies.response, &totals.latencies.service);
            }
        }
    }
}
