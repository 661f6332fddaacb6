//! A result as text, for people, in 80 columns.

use std::fmt::{self, Write as _};

use super::Colour;
use crate::metrics::ErrorKind;
use crate::result::{Figure, LoopName, PlanSummary, RunResult, SummaryUs};
use crate::threshold::Outcome;
use crate::units::{show_bytes, show_count, show_rate, show_time_ns, show_typed_time_ns, three_digits};

/// The longest line.
const WIDTH: usize = 80;
/// Where values start.
const LABEL: usize = 15;

/// The report of a run.
pub fn render(result: &RunResult, colour: Colour) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_report(&mut text, result, colour);
    text
}

fn write_report(out: &mut String, result: &RunResult, colour: Colour) -> fmt::Result {
    writeln!(out, "{} {}", colour.bold(&result.plan.method), colour.bold(&result.plan.url))?;
    writeln!(out, "{}", description(result))?;
    if result.interrupted {
        let interruption = match (result.requests.scheduled, result.duration_s > 0.0) {
            (0, false) if result.plan.warmup_s > 0.0 => "Interrupted in the warm-up: nothing was measured.",
            (0, _) => "Interrupted before the first request.",
            _ => "Interrupted: this is the report of what ran.",
        };
        writeln!(out, "{}", colour.bad(interruption))?;
    }
    writeln!(out)?;
    write_counts(out, result, colour)?;
    // What is known of requests that did not complete is how long they waited, and that is no latency.
    if result.requests.completed > 0 {
        writeln!(out)?;
        write_latencies(out, result)?;
    }
    write_connects(out, result)?;
    write_outcomes(out, result, colour)?;
    writeln!(out)?;
    write_generator(out, result)?;
    write_verdict(out, result, colour)?;
    write_notes(out, result)?;
    write_thresholds(out, result, colour)
}

fn description(result: &RunResult) -> String {
    let PlanSummary { connections, max_connections, threads, parallel, .. } = result.plan;
    let plan = &result.plan;
    let mut parts = vec![plural(connections as u64, "connection"), plural(threads as u64, "thread")];
    if max_connections > connections {
        parts[0] = format!("{connections} to {max_connections} connections");
    }
    if parallel > 1 {
        parts.push(format!("{parallel} in flight each"));
    }
    parts.push(match (plan.mode, plan.rate, plan.rate_end) {
        (LoopName::Open, Some(start), Some(end)) => {
            let arrival = match plan.arrival {
                Some(crate::plan::Arrival::Poisson) => " Poisson",
                _ => "",
            };
            if start.to_bits() == end.to_bits() {
                format!("open loop at {}/s{arrival}", show_rate(start))
            } else {
                format!("open loop, {} to {}/s{arrival}", show_rate(start), show_rate(end))
            }
        }
        _ => "closed loop".to_owned(),
    });
    if !plan.keepalive {
        parts.push("a connection per request".to_owned());
    }
    parts.push(format!("HTTP/{}", plan.http));
    parts.push(result.environment.driver.clone());
    parts.push(format!("seed {}", plan.seed));
    listed(&parts, 0)
}

fn write_counts(out: &mut String, result: &RunResult, colour: Colour) -> fmt::Result {
    let requests = &result.requests;
    let elapsed = show_time_ns(result.duration_s * 1e9);
    writeln!(
        out,
        "{:LABEL$}{}   {} completed in {elapsed}",
        "Requests/s",
        colour.bold(&format!("{:<12}", show_rate(result.requests_per_second))),
        show_count(requests.completed),
    )?;
    writeln!(
        out,
        "{:LABEL$}{:<12}   {} received, {} sent",
        "Transfer",
        format!("{}/s", show_bytes(result.bytes_received_per_second)),
        show_bytes(result.bytes_received as f64),
        show_bytes(result.bytes_sent as f64),
    )?;
    if requests.failed + requests.censored > 0 {
        let line = format!(
            "{} due = {} completed + {} failed + {} unanswered at the end",
            show_count(requests.scheduled),
            show_count(requests.completed),
            show_count(requests.failed),
            show_count(requests.censored)
        );
        writeln!(out, "{:LABEL$}{}", "Requests", wrapped(&line, LABEL))?;
    }
    Ok(())
}

fn write_latencies(out: &mut String, result: &RunResult) -> fmt::Result {
    let latency = &result.latency_us;
    let mut columns = vec![("response", &latency.response), ("service", &latency.service)];
    if result.plan.mode == LoopName::Open {
        columns.extend([("queue wait", &latency.queue_wait), ("schedule lag", &latency.schedule_lag)]);
    }
    write!(out, "{:LABEL$}", "Latency")?;
    for (name, _) in &columns {
        write!(out, "{name:>14}")?;
    }
    writeln!(out)?;
    let rows = [
        ("mean", Figure::Mean),
        ("p50", Figure::P50),
        ("p75", Figure::P75),
        ("p90", Figure::P90),
        ("p95", Figure::P95),
        ("p99", Figure::P99),
        ("p99.9", Figure::P999),
        ("p99.99", Figure::P9999),
        ("max", Figure::Max),
    ];
    for (name, figure) in rows {
        write!(out, "  {name:<13}")?;
        for (_, summary) in &columns {
            write!(out, "{:>14}", time(summary, figure))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn time(summary: &SummaryUs, figure: Figure) -> String {
    if summary.count == 0 {
        return "-".to_owned();
    }
    let sign = if summary.is_lower_bound(figure) { "≥ " } else { "" };
    format!("{sign}{}", show_time_ns(summary.figure(figure) * 1e3))
}

/// Of the run's connects, when the measured part had some.
fn write_connects(out: &mut String, result: &RunResult) -> fmt::Result {
    if result.connections_opened == 0 {
        return Ok(());
    }
    let connect = &result.phases_us.connect;
    let mut parts: Vec<String> = [("p50", Figure::P50), ("p99", Figure::P99), ("max", Figure::Max)]
        .map(|(name, figure)| format!("{name} {}", time(connect, figure)))
        .into();
    let (opened, before) =
        (result.connections_opened, connect.count.saturating_sub(result.connections_opened));
    parts.push(match before {
        0 => format!("{} opened", show_count(opened)),
        _ => format!("{} opened, and {} before the start", show_count(opened), show_count(before)),
    });
    writeln!(out, "\n{:LABEL$}{}", "Connects", listed(&parts, LABEL))
}

fn write_outcomes(out: &mut String, result: &RunResult, colour: Colour) -> fmt::Result {
    if !result.status.is_empty() {
        let codes: Vec<String> =
            result.status.iter().map(|(code, count)| format!("{code}: {}", show_count(*count))).collect();
        writeln!(out, "\n{:LABEL$}{}", "Status", listed(&codes, LABEL))?;
    }
    let kinds = ErrorKind::ALL.into_iter().filter(|kind| result.errors.count(*kind) > 0);
    for (index, kind) in kinds.enumerate() {
        let label = if index == 0 { "\nErrors         " } else { "               " };
        let name = match kind {
            ErrorKind::Timeout => {
                let limit = show_typed_time_ns((result.plan.timeout_s * 1e9).round() as u64);
                format!("no complete answer within {limit}")
            }
            _ => kind.description().to_owned(),
        };
        let line = format!("{:<11}{:>9}   {name}", kind.name(), show_count(result.errors.count(kind)));
        writeln!(out, "{label}{}", colour.bad(&line))?;
        if let Some(example) = result.error_examples.get(kind.name()) {
            let indent = LABEL + 23;
            writeln!(out, "{:indent$}{}", "", wrapped(&format!("first: {example}"), indent))?;
        }
    }
    Ok(())
}

fn write_generator(out: &mut String, result: &RunResult) -> fmt::Result {
    let generator = &result.generator;
    let mut parts = Vec::new();
    if result.requests.completed > 0 {
        let system = generator.cpu_us_per_request - generator.user_us_per_request;
        parts.push(format!(
            "{} µs CPU/request ({} user + {} system)",
            three_digits(generator.cpu_us_per_request),
            three_digits(generator.user_us_per_request),
            three_digits(system.max(0.0))
        ));
    }
    let spinning = generator.spin_utilisation;
    parts.push(if spinning >= 0.005 {
        let busy = (generator.cpu_utilisation - spinning).max(0.0);
        format!("{:.0} % busy and {:.0} % spinning", busy * 100.0, spinning * 100.0)
    } else {
        format!("{:.0} % busy", generator.cpu_utilisation * 100.0)
    });
    if result.requests.completed > 0 {
        parts.push(format!("{} syscalls/request", three_digits(generator.syscalls_per_request)));
    }
    if let Some(bytes) = generator.heap_bytes_per_request {
        parts.push(format!("heap {}/request in flight", show_bytes(bytes as f64)));
    }
    if let Some(bytes) = generator.heap_bytes_per_connection {
        parts.push(format!("heap {}/connection", show_bytes(bytes as f64)));
    }
    parts.push(format!("peak RSS {}", show_bytes(generator.rss_peak_bytes as f64)));
    writeln!(out, "{:LABEL$}{}", "Generator", listed(&parts, LABEL))
}

fn write_notes(out: &mut String, result: &RunResult) -> fmt::Result {
    for (index, note) in result.notes.iter().enumerate() {
        let label = if index == 0 { "Note" } else { "" };
        match result.notes.len() {
            1 => writeln!(out, "{label:LABEL$}{}", wrapped(note, LABEL))?,
            _ => writeln!(out, "{label:LABEL$}- {}", wrapped(note, LABEL + 2))?,
        }
    }
    Ok(())
}

fn write_verdict(out: &mut String, result: &RunResult, colour: Colour) -> fmt::Result {
    let verdict = match result.verdict.valid {
        Some(true) => format!("{}: the generator was not the bottleneck", colour.good("valid")),
        Some(false) => colour.bad("not valid: these are not the server's figures"),
        None => format!("none: {}", wrapped(&result.verdict.reasons.join("; "), LABEL + "none: ".len())),
    };
    writeln!(out, "{:LABEL$}{verdict}", "Verdict")?;
    if result.verdict.valid.is_none() {
        return Ok(());
    }
    for reason in &result.verdict.reasons {
        writeln!(out, "{:LABEL$}- {}", "", wrapped(reason, LABEL + 2))?;
    }
    Ok(())
}

/// What a threshold of `result` was held against, with its unit.
pub fn observed(result: &RunResult, outcome: &Outcome) -> String {
    let seen = match outcome.unit.as_str() {
        "us" => result.requests.completed,
        _ => result.requests.scheduled,
    };
    match outcome.unit.as_str() {
        "us" if seen == 0 && result.requests.scheduled > 0 => "nothing was completed".to_owned(),
        _ if seen == 0 => "nothing to see".to_owned(),
        "us" if outcome.lower_bound => {
            let doubt = if outcome.is_undecided() { ": cannot be shown" } else { "" };
            format!("≥ {}{doubt}", show_time_ns(outcome.observed * 1e3))
        }
        "us" => show_time_ns(outcome.observed * 1e3),
        // Three digits would round 99.88 % to the 99.9 % that it misses.
        "%" => format!("{:.3} %", outcome.observed),
        "requests" => plural(outcome.observed as u64, "request"),
        _ => format!("{} req/s", show_rate(outcome.observed)),
    }
}

fn write_thresholds(out: &mut String, result: &RunResult, colour: Colour) -> fmt::Result {
    let thresholds = &result.thresholds;
    let width = thresholds.iter().map(|outcome| outcome.expression.chars().count()).max().unwrap_or(0);
    for (index, outcome) in thresholds.iter().enumerate() {
        let label = if index == 0 { "Thresholds" } else { "" };
        let mark = if outcome.met { colour.good("✓") } else { colour.bad("✗") };
        let observed = observed(result, outcome);
        let gap = if index == 0 { "\n" } else { "" };
        writeln!(out, "{gap}{label:LABEL$}{mark} {:<width$}   {observed}", outcome.expression)?;
    }
    Ok(())
}

fn plural(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", show_count(count), if count == 1 { "" } else { "s" })
}

/// `parts` with dots between them, broken only between parts so that no line goes beyond the width; see [`wrapped`].
fn listed(parts: &[String], indent: usize) -> String {
    broken(parts.iter().map(String::as_str), " · ", indent)
}

/// `text` broken at spaces so that no line goes beyond the width, with the further lines indented by `indent` columns,
/// which the first one is assumed to have.
fn wrapped(text: &str, indent: usize) -> String {
    broken(text.split_whitespace(), " ", indent)
}

fn broken<'a>(pieces: impl Iterator<Item = &'a str>, separator: &str, indent: usize) -> String {
    let mut lines = String::new();
    let mut column = indent;
    for (index, piece) in pieces.enumerate() {
        let gap = if index == 0 { "" } else { separator };
        let (gap_width, width) = (gap.chars().count(), piece.chars().count());
        if index > 0 && column + gap_width + width > WIDTH {
            let _ = write!(lines, "\n{:indent$}{piece}", "");
            column = indent + width;
        } else {
            let _ = write!(lines, "{gap}{piece}");
            column += gap_width + width;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Recorder, Sample};
    use crate::plan::Plan;

    fn closed() -> RunResult {
        let mut plan = Plan::for_url("http://127.0.0.1:8081/").expect("valid");
        plan.threads = 1;
        plan.connections = 64;
        let mut recorder = Recorder::new(false);
        for service_ns in 1..=10_000 {
            recorder.completed(Sample {
                scheduled_ns: 0,
                ready_ns: 0,
                sent_ns: 0,
                first_byte_ns: service_ns * 50,
                done_ns: service_ns * 50,
                status: 200,
            });
        }
        recorder.received_bytes(1_500_000);
        recorder.sent_bytes(400_000);
        let mut measured = crate::result::tests::measured(&recorder);
        measured.generator.workers[0].system_ns = 980_000_000;
        measured.generator.workers[0].spin_ns = 0;
        RunResult::new(&plan, measured)
    }

    #[test]
    fn a_closed_loop_reads_so() {
        assert_eq!(render(&closed(), Colour::None), include_str!("snapshots/closed.txt"));
    }

    #[test]
    fn an_open_loop_with_errors_reads_so() {
        assert_eq!(
            render(&crate::result::tests::example(), Colour::None),
            include_str!("snapshots/open.txt")
        );
    }

    #[test]
    fn no_line_is_too_long_and_none_ends_in_spaces() {
        let mut result = crate::result::tests::example();
        result.interrupted = true;
        result.plan.max_connections = 10_000;
        result.plan.parallel = 16;
        result.plan.rate_end = Some(2_000_000.0);
        result.plan.keepalive = false;
        result.verdict.valid = Some(false);
        result.verdict.reasons = vec!["because of words ".repeat(20)];
        result.status = (100..160).map(|code| (code.to_string(), 123_456_789)).collect();
        for line in render(&result, Colour::None).lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        for line in render(&closed(), Colour::None).lines() {
            assert_eq!(line, line.trim_end());
        }
    }

    #[test]
    fn colour_adds_nothing_but_escape_sequences() {
        let result = crate::result::tests::example();
        let mut coloured = render(&result, Colour::Ansi);
        assert!(coloured.contains('\x1b'));
        for code in ["\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[0m"] {
            coloured = coloured.replace(code, "");
        }
        assert_eq!(coloured, render(&result, Colour::None));
    }
}
