//! What the server writes down about each request, and its report.

use std::fmt::Write;

/// The initial capacity, so that recording a request seldom allocates.
const REQUESTS_EXPECTED: usize = 1 << 20;

/// When requests came and were answered, and when the server stalled, in nanoseconds of one clock.
pub(crate) struct Record {
    requests: Vec<Request>,
    stalls: Vec<Stall>,
}

#[derive(Clone, Copy)]
struct Request {
    arrived_ns: u64,
    answered_ns: u64,
}

struct Stall {
    began_ns: u64,
    ended_ns: u64,
}

impl Record {
    pub(crate) fn new() -> Self {
        Self { requests: Vec::with_capacity(REQUESTS_EXPECTED), stalls: Vec::new() }
    }

    pub(crate) fn request(&mut self, arrived_ns: u64, answered_ns: u64) {
        self.requests.push(Request { arrived_ns, answered_ns });
    }

    pub(crate) fn stall(&mut self, began_ns: u64, ended_ns: u64) {
        self.stalls.push(Stall { began_ns, ended_ns });
    }

    /// Everything so far as JSON; `rate` is that of the client's schedule, if it has one.
    pub(crate) fn report(&mut self, rate: Option<f64>) -> String {
        let requests = &mut self.requests;
        let delays_ns = requests.iter().map(|request| (request.answered_ns - request.arrived_ns) as f64);
        let mut text =
            format!("{{\"count\":{},\"delay_us\":{}", requests.len(), distribution(delays_ns.collect()));
        let first_ns = requests.iter().map(|request| request.arrived_ns).min().unwrap_or(0);
        let stalls = self.stalls.iter().map(|stall| {
            let length_ns = stall.ended_ns - stall.began_ns;
            format!(
                "[{:.1},{:.1}]",
                stall.began_ns.saturating_sub(first_ns) as f64 / 1e3,
                length_ns as f64 / 1e3
            )
        });
        let stalls: Vec<_> = stalls.collect();
        write!(text, ",\"stalls_us\":[{}]", stalls.join(",")).expect("a String takes everything");
        if let Some(rate) = rate.filter(|_| !requests.is_empty()) {
            write!(text, ",\"scheduled_us\":{}", distribution(scheduled_ns(requests, first_ns, rate)))
                .expect("a String takes everything");
        }
        requests.clear();
        self.stalls.clear();
        text.push_str("}\n");
        text
    }
}

/// How long after its due time each request was answered, if `rate` of them were due per second.
fn scheduled_ns(requests: &[Request], first_ns: u64, rate: f64) -> Vec<f64> {
    let due_ns = |index: usize| index as f64 * 1e9 / rate;
    let sorted = |mut times_ns: Vec<u64>| {
        times_ns.sort_unstable();
        times_ns.into_iter().map(|ns| (ns - first_ns) as f64).enumerate()
    };
    let mut late_ns: Vec<f64> = sorted(requests.iter().map(|request| request.arrived_ns).collect())
        .map(|(index, arrived_ns)| arrived_ns - due_ns(index))
        .collect();
    late_ns.sort_by(f64::total_cmp);
    let begin_ns = late_ns[late_ns.len() / 2];
    sorted(requests.iter().map(|request| request.answered_ns).collect())
        .map(|(index, answered_ns)| answered_ns - due_ns(index) - begin_ns)
        .collect()
}

/// The mean and percentiles in microseconds as JSON. A percentile is the least value that so many are not above.
fn distribution(mut values_ns: Vec<f64>) -> String {
    if values_ns.is_empty() {
        return "null".to_owned();
    }
    values_ns.sort_by(f64::total_cmp);
    let count = values_ns.len();
    let mean_us = values_ns.iter().sum::<f64>() / count as f64 / 1e3;
    let mut text = format!("{{\"mean\":{mean_us:.2}");
    for (name, share) in
        [("p50", 0.5), ("p75", 0.75), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99_9", 0.999)]
    {
        let rank = ((share * count as f64).ceil() as usize).clamp(1, count);
        write!(text, ",\"{name}\":{:.2}", values_ns[rank - 1] / 1e3).expect("a String takes everything");
    }
    write!(text, ",\"max\":{:.2}}}", values_ns[count - 1] / 1e3).expect("a String takes everything");
    text
}
