//! What several generators cost, and where they ran.

use std::collections::BTreeSet;

use super::part::Part;
use crate::environment::Environment;
use crate::result::numbers::{ratio, share};
use crate::result::{Generator, QueueSummary};
use crate::units::rounded;

/// Different texts with `and` between them; `None` without any.
pub(super) fn joined<'a>(texts: impl Iterator<Item = &'a str>) -> Option<String> {
    let texts: BTreeSet<&str> = texts.flat_map(|text| text.split(" and ")).collect();
    (!texts.is_empty()).then(|| texts.into_iter().collect::<Vec<_>>().join(" and "))
}

pub(super) fn environment(parts: &[Part]) -> Environment {
    let all = || parts.iter().map(|part| &part.result.environment);
    let features: BTreeSet<&String> = all().flat_map(|environment| &environment.driver_features).collect();
    Environment {
        kernel: joined(all().map(|environment| environment.kernel.as_str())).unwrap_or_default(),
        cpu: joined(all().map(|environment| environment.cpu.as_str())).unwrap_or_default(),
        cores: all().map(|environment| environment.cores).sum(),
        driver: joined(all().map(|environment| environment.driver.as_str())).unwrap_or_default(),
        driver_features: features.into_iter().cloned().collect(),
    }
}

/// Figures per request by the number of requests, shares of the cores by the number of threads, and of the heap the
/// highest.
pub(super) fn generator(parts: &[Part]) -> Generator {
    let mean = |of: &dyn Fn(&Part) -> (Option<f64>, f64)| {
        let (mut sum, mut weights) = (0.0, 0.0);
        for (value, weight) in parts.iter().map(of) {
            if let Some(value) = value {
                sum += value * weight;
                weights += weight;
            }
        }
        (weights > 0.0).then(|| rounded(sum / weights))
    };
    let per_request = |of: fn(&Generator) -> Option<f64>| {
        mean(&|part| (of(&part.result.generator), part.result.requests.completed as f64))
    };
    let of_cores = |of: fn(&Generator) -> f64| {
        mean(&|part| (Some(of(&part.result.generator)), part.result.plan.threads as f64)).unwrap_or(0.0)
    };
    let generators = || parts.iter().map(|part| &part.result.generator);
    // What one machine does not tell, the others may. A clock may be set forward or back.
    let worst = |of: fn(&Generator) -> Option<f64>| {
        generators().filter_map(of).reduce(|one, other| if other.abs() > one.abs() { other } else { one })
    };
    let most =
        |of: fn(&Generator) -> Option<u64>| parts.iter().filter_map(|part| of(&part.result.generator)).max();
    Generator {
        cpu_us_per_request: per_request(|generator| generator.cpu_us_per_request),
        user_us_per_request: per_request(|generator| generator.user_us_per_request),
        cpu_utilisation: of_cores(|generator| generator.cpu_utilisation),
        spin_share: of_cores(|generator| generator.spin_share),
        wakeup_us: mean(&|part| (part.result.generator.wakeup_us, 1.0)),
        syscalls_per_request: per_request(|generator| generator.syscalls_per_request),
        heap_bytes_per_request: most(|generator| generator.heap_bytes_per_request),
        heap_bytes_per_connection: most(|generator| generator.heap_bytes_per_connection),
        rss_peak_bytes: parts.iter().map(|part| part.result.generator.rss_peak_bytes).sum(),
        workers: generators().flat_map(|generator| generator.workers.iter().copied()).collect(),
        descriptors_ran_out: generators().map(|generator| generator.descriptors_ran_out).sum(),
        ports_ran_out: generators().map(|generator| generator.ports_ran_out).sum(),
        steal_share: worst(|generator| generator.steal_share),
        clock_step_us: worst(|generator| generator.clock_step_us),
        suspended_us: worst(|generator| generator.suspended_us),
        queues: queues(&generators().filter_map(|generator| generator.queues).collect::<Vec<_>>()),
    }
}

/// The queues of all connections: counts are added, and times are averaged over the connections.
fn queues(parts: &[QueueSummary]) -> Option<QueueSummary> {
    let sum = |of: &dyn Fn(&QueueSummary) -> u64| parts.iter().map(of).sum::<u64>();
    let all_us = |part: &QueueSummary| part.sending_us * part.connections as f64;
    let sending_us: f64 = parts.iter().map(all_us).sum();
    let share_of = |of: fn(&QueueSummary) -> f64| {
        share(ratio(parts.iter().map(|part| of(part) * all_us(part)).sum(), sending_us))
    };
    let connections = sum(&|part| part.connections);
    (connections > 0).then(|| QueueSummary {
        connections,
        unsent_bytes: sum(&|part| part.unsent_bytes),
        sending_us: rounded(sending_us / connections as f64),
        peer_limited_share: share_of(|part| part.peer_limited_share),
        buffer_limited_share: share_of(|part| part.buffer_limited_share),
        receive_full: sum(&|part| part.receive_full),
    })
}
