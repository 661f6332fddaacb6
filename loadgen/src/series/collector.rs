//! The thread that joins what the workers send into points.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use hdrhistogram::Histogram;

use super::point::{Point, ResponseUs, Series, compact};
use super::reporter::{Counts, Gauges, Reporter, Tick};
use super::{INTERVAL_NS, RanOut, Second, Subscriber};
use crate::environment::unix_s_of;
use crate::hdr::Encoder;
use crate::metrics::{ErrorKind, Interval, Times, histogram};
use crate::progress::Snapshot;
use crate::units::rounded;

/// A worker has one interval that it fills, and so many others are under way.
const SPARE_INTERVALS: usize = 1;

/// So many seconds can be incomplete at the same time. If a worker is further behind than that, what it sends later
/// belongs to the point of a later second.
const OPEN_MAX: usize = 3;

/// A run that ends so soon after a full second has no point for the rest.
const SHORT_NS: u64 = INTERVAL_NS / 10;

/// Room for so many points is allocated before the run,
const POINTS_ALLOCATED_MAX: u64 = 600;
/// with so many bytes for the histogram of each.
const HISTOGRAM_SIZE: usize = 768;

/// The running thread.
#[derive(Debug)]
pub(crate) struct Collector {
    thread: JoinHandle<Collected>,
}

/// All that the workers have sent.
pub(crate) struct Collected {
    /// The response times, which the recorders no longer have.
    pub(crate) total: Interval,
    /// The points.
    pub(crate) series: Series,
}

impl Collector {
    /// Starts the thread. Returns a reporter for each of the workers, one per entry of `snapshots`; the thread ends when
    /// all are gone. `seconds` is how long the run may take, if it is known. The points are kept for the result if `keeps`.
    ///
    /// # Errors
    /// When the system refuses the thread.
    pub(crate) fn start(
        open_loop: bool,
        seconds: Option<u64>,
        keeps: bool,
        snapshots: Arc<[Snapshot]>,
        subscribers: Vec<Subscriber>,
    ) -> io::Result<(Self, Vec<Reporter>)> {
        let workers = snapshots.len();
        let (sender, ticks) = sync_channel(workers * (SPARE_INTERVALS + 1));
        let (mut back, mut reporters) = (Vec::new(), Vec::new());
        for worker in 0..workers {
            let (give, empty) = channel();
            for _ in 0..SPARE_INTERVALS {
                give.send(Box::new(Interval::new(open_loop))).expect("the other end is here");
            }
            reporters.push(Reporter::new(worker, sender.clone(), empty));
            back.push(give);
        }
        let mut joiner = Joiner::new(workers, keeps, subscribers, Interval::new(open_loop));
        let points = if keeps { seconds.unwrap_or(0).min(POINTS_ALLOCATED_MAX) } else { 0 };
        joiner.allocate(points as usize);
        let body = move || {
            while let Ok(tick) = ticks.recv() {
                joiner.take(tick, &back);
                if let Some(snapshot) = snapshots.first() {
                    snapshot.publish_p99(joiner.total.response_p99_ns());
                }
            }
            joiner.end()
        };
        let thread = thread::Builder::new().name("series".to_owned()).spawn(body)?;
        Ok((Self { thread }, reporters))
    }

    /// Waits for its end; `None` if it panicked.
    pub(crate) fn join(self) -> Option<Collected> {
        self.thread.join().ok()
    }
}

/// What is known of a worker.
#[derive(Clone, Copy, Default)]
struct Part {
    counts: Counts,
    gauges: Gauges,
    /// It has sent all before this second.
    next: u64,
    is_over: bool,
}

/// A second whose parts have not all come.
struct Open {
    counts: Counts,
    times: Times,
    schedule_lag: Histogram<u64>,
}

impl Open {
    fn new() -> Self {
        Self { counts: Counts::default(), times: Times::new(), schedule_lag: histogram() }
    }
}

struct Joiner {
    parts: Vec<Part>,
    /// Seconds from `first` on.
    open: VecDeque<Open>,
    first: u64,
    unused: Vec<Open>,
    /// When the last worker ended, since the start.
    ended_ns: u64,
    started_unix_s: f64,
    total: Interval,
    /// Whether points are kept.
    keeps: bool,
    points: Vec<Point>,
    /// Points to be filled.
    blank: Vec<Point>,
    subscribers: Vec<Subscriber>,
    /// The workers' time spent spinning, as it is shown to them.
    spin_ns: Vec<u64>,
    encoder: Encoder,
    compact: Histogram<u64>,
    scratch: Histogram<u64>,
}

impl Joiner {
    fn new(workers: usize, keeps: bool, subscribers: Vec<Subscriber>, total: Interval) -> Self {
        Self {
            parts: vec![Part::default(); workers],
            open: VecDeque::with_capacity(OPEN_MAX + 1),
            first: 0,
            unused: (0..=OPEN_MAX).map(|_| Open::new()).collect(),
            ended_ns: 0,
            started_unix_s: 0.0,
            total,
            keeps,
            points: Vec::new(),
            blank: Vec::new(),
            subscribers,
            spin_ns: vec![0; workers],
            encoder: Encoder::new(),
            compact: compact(),
            scratch: histogram(),
        }
    }

    /// Allocates room for so many points, and lets the encoder allocate.
    fn allocate(&mut self, points: usize) {
        let mut text = String::new();
        self.compact.saturating_record(self.compact.high());
        self.encoder.append(&self.compact, &mut text);
        self.compact.reset();
        self.points.reserve(points + 1);
        self.blank = (0..=points)
            .map(|_| Point { histogram: String::with_capacity(HISTOGRAM_SIZE), ..Point::default() })
            .collect();
    }

    /// Books a worker's part, and makes the points that it completes.
    fn take(&mut self, tick: Tick, back: &[Sender<Box<Interval>>]) {
        let Tick { worker, start_ns, elapsed_ns, is_last, counts, gauges, mut interval } = tick;
        if self.parts.iter().all(|part| part.next == 0) {
            self.started_unix_s = unix_s_of(start_ns);
        }
        let whole = elapsed_ns / INTERVAL_NS;
        let part = &mut self.parts[worker];
        let of =
            if !is_last || elapsed_ns % INTERVAL_NS < SHORT_NS { whole.saturating_sub(1) } else { whole };
        let second = of.max(part.next).max(self.first);
        let before = std::mem::replace(&mut part.counts, counts);
        part.gauges = gauges;
        part.next = second + 1;
        part.is_over = is_last;
        self.ended_ns = self.ended_ns.max(elapsed_ns);
        while self.first + (self.open.len() as u64) <= second {
            if self.open.len() == OPEN_MAX {
                self.close();
            } else {
                self.open.push_back(self.unused.pop().unwrap_or_else(Open::new));
            }
        }
        let open = &mut self.open[(second - self.first) as usize];
        open.counts.add_difference(&before, &counts);
        interval.add_responses_to(&mut open.times);
        interval.add_lag_to(&mut open.schedule_lag);
        self.total.add(&interval);
        interval.reset();
        // A worker that is gone needs none.
        let _ = back[worker].send(interval);
        while !self.open.is_empty()
            && self.parts.iter().all(|part| part.is_over || part.next > self.first)
            && (self.open.len() > 1 || !self.parts.iter().all(|part| part.is_over))
        {
            self.close();
        }
    }

    /// Makes a point of the first open second, which is not the end of the run.
    fn close(&mut self) {
        let end_ns = (self.first + 1) * INTERVAL_NS;
        self.make_point(end_ns);
    }

    fn make_point(&mut self, end_ns: u64) {
        let Some(mut open) = self.open.pop_front() else { return };
        let at_ns = self.first * INTERVAL_NS;
        self.first += 1;
        let duration_s = end_ns.saturating_sub(at_ns) as f64 / 1e9;
        let gauge = |of: fn(&Gauges) -> u64| self.parts.iter().map(|part| of(&part.gauges)).sum();
        let Counts {
            completed,
            after_end,
            failed,
            censored,
            sent,
            bytes_received,
            bytes_sent,
            connects,
            descriptors_ran_out,
            ports_ran_out,
            errors,
            status,
        } = open.counts;
        let mut point = self.blank.pop().unwrap_or_default();
        for (times, text) in
            [(&open.times.exact, &mut point.histogram), (&open.times.censored, &mut point.histogram_censored)]
        {
            if !times.is_empty() {
                self.compact.add(times).expect("it has the same range");
                self.encoder.append(&self.compact, text);
                self.compact.reset();
            }
        }
        let kinds = ErrorKind::ALL.into_iter().zip(errors).filter(|(_, count)| *count > 0);
        let point = Point {
            at_s: at_ns as f64 / 1e9,
            duration_s,
            completed,
            failed,
            censored,
            sent,
            requests_per_second: if duration_s > 0.0 {
                rounded((completed - after_end) as f64 / duration_s)
            } else {
                0.0
            },
            status: status.into(),
            errors: kinds.map(|(kind, count)| (kind.name().to_owned(), count)).collect(),
            bytes_received,
            bytes_sent,
            connections: gauge(|gauges| gauges.connections),
            connections_opened: connects,
            in_flight: gauge(|gauges| gauges.in_flight),
            waiting: gauge(|gauges| gauges.waiting),
            response_us: ResponseUs::of(&open.times, &mut self.scratch),
            ..point
        };
        for (spin_ns, part) in self.spin_ns.iter_mut().zip(&self.parts) {
            *spin_ns = part.gauges.spin_ns;
        }
        let second = Second {
            point: &point,
            response: &open.times,
            schedule_lag: &open.schedule_lag,
            ran_out: RanOut { descriptors: descriptors_ran_out, ports: ports_ran_out },
            spin_ns: &self.spin_ns,
            started_unix_s: self.started_unix_s,
        };
        for subscriber in &mut self.subscribers {
            subscriber(&second);
        }
        if self.keeps {
            self.points.push(point);
        } else {
            // Only its memory is used again.
            let Point { mut histogram, mut histogram_censored, .. } = point;
            histogram.clear();
            histogram_censored.clear();
            self.blank.push(Point { histogram, histogram_censored, ..Point::default() });
        }
        open.counts = Counts::default();
        open.times.reset();
        if !open.schedule_lag.is_empty() {
            open.schedule_lag.reset();
        }
        self.unused.push(open);
    }

    /// No worker is left.
    fn end(mut self) -> Collected {
        while self.open.len() > 1 {
            self.close();
        }
        self.make_point(self.ended_ns);
        let series = Series { interval_s: INTERVAL_NS as f64 / 1e9, points: self.points };
        Collected { total: self.total, series }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use proptest::prelude::*;

    use super::*;
    use crate::metrics::{Recorder, Sample};
    use crate::testing::few_cases;

    fn answer(recorder: &mut Recorder, time_ns: u64) {
        let times = [0, 0, 0, time_ns, time_ns];
        let [scheduled_ns, ready_ns, sent_ns, first_byte_ns, done_ns] = times;
        recorder.completed(Sample { scheduled_ns, ready_ns, sent_ns, first_byte_ns, done_ns, status: 200 });
    }

    /// What a collector makes of workers with these recorders, which `work` drives.
    fn collect(
        open_loop: bool,
        workers: usize,
        work: impl FnOnce(&mut [(Option<Reporter>, Recorder)]),
    ) -> (Collected, Vec<Point>) {
        collect_and_keep(true, open_loop, workers, work)
    }

    fn collect_and_keep(
        keeps: bool,
        open_loop: bool,
        workers: usize,
        work: impl FnOnce(&mut [(Option<Reporter>, Recorder)]),
    ) -> (Collected, Vec<Point>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let subscriber = {
            let seen = Arc::clone(&seen);
            move |second: &Second<'_>| {
                let point = second.point;
                assert_eq!(
                    second.response.exact.len() + second.response.censored.len(),
                    point.response_us.count
                );
                assert!(
                    second.spin_ns.len() == workers && second.spin_ns.iter().all(|spin_ns| *spin_ns <= 5)
                );
                let due = if open_loop { point.response_us.count } else { 0 };
                assert_eq!(second.schedule_lag.len(), due);
                seen.lock().expect("no panic").push(point.clone());
            }
        };
        let snapshots: Arc<[Snapshot]> = (0..workers).map(|_| Snapshot::default()).collect();
        let (collector, reporters) =
            Collector::start(open_loop, Some(2), keeps, snapshots, vec![Box::new(subscriber)])
                .expect("a thread");
        let mut parts: Vec<_> =
            reporters.into_iter().map(|reporter| (Some(reporter), Recorder::new(open_loop))).collect();
        for (reporter, _) in &mut parts {
            reporter.as_mut().expect("it is there").begin(7);
        }
        work(&mut parts);
        drop(parts);
        let collected = collector.join().expect("it has not panicked");
        let seen = std::mem::take(&mut *seen.lock().expect("no panic"));
        (collected, seen)
    }

    /// Reports as soon as the collector has given an interval back.
    fn report((reporter, recorder): &mut (Option<Reporter>, Recorder), second: u64) {
        let reporter = reporter.as_mut().expect("it has not ended");
        let now_ns = 7 + second * INTERVAL_NS + 1_000;
        assert!(reporter.is_due(now_ns));
        while !reporter.report(
            recorder,
            Gauges { connections: 2, in_flight: 3, waiting: 4, spin_ns: 5 },
            now_ns,
        ) {
            thread::yield_now();
        }
        assert!(!reporter.is_due(now_ns));
    }

    fn end((reporter, recorder): &mut (Option<Reporter>, Recorder), at_ns: u64) {
        reporter.take().expect("once").end(recorder, Gauges::default(), 7 + at_ns);
    }

    #[test]
    fn a_point_is_of_all_workers() {
        let (collected, seen) = collect(false, 2, |parts| {
            answer(&mut parts[0].1, 1_000);
            report(&mut parts[0], 1);
            answer(&mut parts[0].1, 2_000);
            // The other one is late with its first second.
            report(&mut parts[0], 2);
            answer(&mut parts[1].1, 5_000);
            report(&mut parts[1], 1);
            report(&mut parts[1], 2);
            answer(&mut parts[1].1, 9_000);
            end(&mut parts[0], 2 * INTERVAL_NS + INTERVAL_NS / 2);
            end(&mut parts[1], 2 * INTERVAL_NS + INTERVAL_NS / 4);
        });
        assert_eq!(collected.series.points, seen);
        let of = |point: &Point| (point.at_s, point.duration_s, point.completed, point.response_us.p50);
        let points: Vec<_> = seen.iter().map(of).collect();
        let expected = [(0.0, 1.0, 2, Some(1.0)), (1.0, 1.0, 1, Some(2.0)), (2.0, 0.5, 1, Some(9.0))];
        assert_eq!(points.len(), 3, "{seen:?}");
        for (is, expected) in points.iter().zip(expected) {
            assert!((is.0 - expected.0).abs() < 1e-9 && (is.1 - expected.1).abs() < 1e-9, "{seen:?}");
            assert_eq!((is.2, is.3.map(f64::round)), (expected.2, expected.3), "{seen:?}");
        }
        assert_eq!((seen[0].connections, seen[0].in_flight, seen[0].waiting), (4, 6, 8));
        assert_eq!(seen[2].connections, 0);
        let histogram = crate::hdr::decode(&seen[0].histogram).expect("a histogram");
        assert_eq!((histogram.len(), histogram.sigfig(), seen[0].histogram_censored.as_str()), (2, 1, ""));
    }

    #[test]
    fn points_that_nobody_wants_are_shown_and_not_kept() {
        let (collected, seen) = collect_and_keep(false, true, 1, |parts| {
            for second in 1..=5 {
                answer(&mut parts[0].1, second * 1_000);
                report(&mut parts[0], second);
            }
            end(&mut parts[0], 5 * INTERVAL_NS);
        });
        assert!(collected.series.points.is_empty() && collected.series.points.capacity() < 5);
        assert!(seen.len() >= 5, "{seen:?}");
        for (point, time_ns) in seen.iter().zip([1_000, 2_000, 3_000, 4_000, 5_000]) {
            let times = crate::hdr::decode(&point.histogram).expect("a histogram");
            assert!(times.len() == 1 && times.equivalent(times.max(), time_ns), "{point:?}");
        }
    }

    #[test]
    fn a_worker_that_is_far_behind_holds_no_points_up() {
        let (_, seen) = collect(true, 2, |parts| {
            for second in 1..=9 {
                answer(&mut parts[0].1, 1_000);
                report(&mut parts[0], second);
            }
            answer(&mut parts[1].1, 1_000);
            end(&mut parts[1], INTERVAL_NS * 9);
            end(&mut parts[0], INTERVAL_NS * 9 + 1_000);
        });
        assert_eq!(seen.len(), 10, "{seen:?}");
        assert_eq!(seen.iter().map(|point| point.completed).sum::<u64>(), 10);
        assert!(seen.iter().rposition(|point| point.completed == 1) >= Some(7), "{seen:?}");
    }

    #[test]
    fn nothing_comes_of_a_run_that_did_not_begin() {
        let snapshots: Arc<[Snapshot]> = Arc::from([Snapshot::default()]);
        let (collector, reporters) =
            Collector::start(true, None, true, snapshots, Vec::new()).expect("a thread");
        for reporter in reporters {
            reporter.end(&mut Recorder::new(true), Gauges::default(), 5);
        }
        assert!(collector.join().expect("no panic").series.points.is_empty());
    }

    proptest! {
        #![proptest_config(few_cases(8))]

        /// Whatever is handed over when, no request is lost or counted twice.
        #[test]
        fn all_parts_make_the_whole(
            open_loop: bool,
            steps in proptest::collection::vec((0_usize..3, 1_u64..1_000_000_000, any::<bool>()), 0..60),
        ) {
            let mut whole = Recorder::new(open_loop);
            let mut rest = Vec::new();
            let (collected, seen) = collect(open_loop, 3, |parts| {
                let mut seconds = [0; 3];
                for (worker, time_ns, is_over) in &steps {
                    answer(&mut parts[*worker].1, *time_ns);
                    answer(&mut whole, *time_ns);
                    if *is_over {
                        seconds[*worker] += 1;
                        report(&mut parts[*worker], seconds[*worker]);
                    }
                }
                let most = *seconds.iter().max().expect("three");
                for part in parts.iter_mut() {
                    end(part, most * INTERVAL_NS + INTERVAL_NS / 2);
                    rest.push(part.1.clone());
                }
            });
            prop_assert_eq!(seen.iter().map(|point| point.completed).sum::<u64>(), steps.len() as u64);
            prop_assert_eq!(seen.iter().map(|point| point.response_us.count).sum::<u64>(), steps.len() as u64);
            rest[0].give_back(&collected.total);
            let (parts, whole) = (crate::metrics::Totals::merge(&rest), crate::metrics::Totals::merge([&whole]));
            prop_assert_eq!(parts.latencies.response.exact, whole.latencies.response.exact);
            prop_assert_eq!(parts.latencies.service.exact, whole.latencies.service.exact);
            prop_assert_eq!(parts.phases.first_byte, whole.phases.first_byte);
            prop_assert_eq!(parts.latencies.schedule_lag, whole.latencies.schedule_lag);
        }
    }
}
