//! A result as text, for people, in 60 to 80 columns.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::drawing::write_drawing;
use super::steps::write_steps;
use super::{FIGURES, Style, time};
use crate::metrics::ErrorKind;
use crate::result::{EndedBy, Figure, LoopName, PlanSummary, RunResult, StageSummary};
use crate::threshold::Outcome;
use crate::units::{
    show_bytes, show_count, show_rate, show_time_ns, show_typed_rate, show_typed_time_ns, three_digits,
};

/// Where values start,
const LABEL: usize = 15;
/// and remarks beside a value.
const DETAIL: usize = LABEL + 15;

/// How many stages of an open loop are listed.
const STAGES_SHOWN_MAX: usize = 4;

/// The report of a run.
pub fn render(result: &RunResult, style: Style) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_report(&mut text, result, style);
    text
}

fn write_report(out: &mut String, result: &RunResult, style: Style) -> fmt::Result {
    writeln!(out, "{} {}", style.bold(&result.plan.method), style.bold(&result.plan.url))?;
    writeln!(out, "{}", description(result, style))?;
    if let Some(why) = ended_early(result) {
        writeln!(out, "{}", style.bad(&style.wrapped(&why, 0)))?;
    }
    let is_invalid = result.verdict.valid == Some(false);
    if is_invalid {
        writeln!(out)?;
        write_verdict(out, result, style)?;
    }
    writeln!(out)?;
    write_counts(out, result, style)?;
    // Of requests that did not complete only the wait is known, which is no latency.
    if result.requests.completed > 0 {
        writeln!(out)?;
        write_latencies(out, result, style)?;
    }
    write_steps(out, result, style)?;
    write_connects(out, result, style)?;
    write_handshakes(out, result, style)?;
    write_http2(out, result, style)?;
    write_outcomes(out, result, style)?;
    writeln!(out)?;
    write_generator(out, result, style)?;
    if !is_invalid {
        write_verdict(out, result, style)?;
    }
    write_notes(out, result, style)?;
    write_thresholds(out, result, style)?;
    write_drawing(out, result, style)
}

/// In a sentence, what ended the run before its plan was done, if anything did.
pub fn ended_early(result: &RunResult) -> Option<String> {
    let (requests, plan) = (&result.requests, &result.plan);
    let ended = requests.completed + requests.failed;
    match (result.ended_by, plan.requests) {
        (EndedBy::Interrupt, _) if requests.scheduled > 0 => {
            Some("Interrupted: this is the report of what ran.".to_owned())
        }
        (EndedBy::Interrupt, _) if plan.warmup_s > 0.0 && result.duration_s <= 0.0 => {
            Some("Interrupted before the measured part: nothing was measured.".to_owned())
        }
        (EndedBy::Interrupt, _) => Some("Interrupted before the first request.".to_owned()),
        (EndedBy::MaxErrors, _) => Some(format!(
            "Stopped early: {} of {} failed (--max-errors {}).",
            show_count(requests.failed),
            plural(ended, "request"),
            plan.max_errors.as_deref().unwrap_or_default()
        )),
        (EndedBy::Duration, Some(wanted)) => Some(format!(
            "Time was up after {} of {} (--duration, --requests).",
            show_count(ended),
            plural(wanted, "request")
        )),
        (EndedBy::Data, _) => {
            Some("Ended when each row of data had been used (order = \"unique\").".to_owned())
        }
        (EndedBy::Duration | EndedBy::Requests, _) => None,
    }
}

fn description(result: &RunResult, style: Style) -> String {
    style.listed(&plan_parts(result), 0)
}

/// What was run, in a line.
pub(super) fn plan_line(result: &RunResult) -> String {
    plan_parts(result).join(" · ")
}

/// `closed` or `open`.
pub(super) fn loop_name(plan: &PlanSummary) -> &'static str {
    match plan.mode {
        LoopName::Closed => "closed",
        LoopName::Open => "open",
    }
}

fn plan_parts(result: &RunResult) -> Vec<String> {
    let PlanSummary { connections, max_connections, threads, parallel, .. } = result.plan;
    let plan = &result.plan;
    let mut parts = vec![plural(connections as u64, "connection"), plural(threads as u64, "thread")];
    if max_connections > connections {
        parts[0] = format!("{connections} to {max_connections} connections");
    }
    if parallel > 1 {
        parts.push(format!("{parallel} in flight each"));
    }
    match plan.mode {
        LoopName::Open => parts.extend(open_loop(plan)),
        LoopName::Closed => parts.push("closed loop".to_owned()),
    }
    if let Some(proxy) = &plan.proxy {
        parts.push(format!("through {proxy}"));
    }
    if !plan.keepalive {
        parts.push("a connection per request".to_owned());
    }
    parts.push(format!("HTTP/{}", plan.http));
    parts.push(result.environment.driver.clone());
    parts.push(format!("seed {}", plan.seed));
    parts
}

/// Its rate over time, such as `open loop, 1k to 20k/s Poisson`; a part for each of several stages.
pub(super) fn open_loop(plan: &PlanSummary) -> Vec<String> {
    if let Some(replay) = plan.replay {
        let due = show_typed_time_ns((replay.duration_s * 1e9).round() as u64);
        return vec![format!("open loop: replay of {} over {due}", plural(replay.requests, "request"))];
    }
    let arrival = match plan.arrival {
        Some(crate::plan::Arrival::Poisson) => " Poisson",
        _ => "",
    };
    let rates = |stage: &StageSummary| {
        let (start, end) = (show_typed_rate(stage.rate), show_typed_rate(stage.rate_end));
        if stage.rate.to_bits() == stage.rate_end.to_bits() { start } else { format!("{start} to {end}") }
    };
    match &plan.stages[..] {
        [stage] if stage.rate.to_bits() == stage.rate_end.to_bits() => {
            vec![format!("open loop at {}/s{arrival}", rates(stage))]
        }
        [stage] => vec![format!("open loop, {}/s{arrival}", rates(stage))],
        stages => {
            let time = |stage: &StageSummary| {
                show_typed_time_ns((stage.duration_s.unwrap_or_default() * 1e9).round() as u64)
            };
            let mut listed: Vec<_> = stages
                .iter()
                .take(STAGES_SHOWN_MAX)
                .map(|stage| format!("then {}/s for {}", rates(stage), time(stage)))
                .collect();
            if stages.len() > STAGES_SHOWN_MAX {
                listed.push(plural((stages.len() - STAGES_SHOWN_MAX) as u64, "more stage"));
            }
            if let Some(first) = listed.first_mut() {
                *first = first.replacen("then", &format!("open loop{arrival}:"), 1);
            }
            listed
        }
    }
}

fn write_counts(out: &mut String, result: &RunResult, style: Style) -> fmt::Result {
    let requests = &result.requests;
    let elapsed = show_time_ns(result.duration_s * 1e9);
    let completed = requests.completed - result.drain.map_or(0, |drain| drain.completed);
    writeln!(
        out,
        "{:LABEL$}{}   {}",
        "Requests/s",
        style.bold(&format!("{:<12}", show_rate(result.requests_per_second))),
        style.wrapped(&format!("{} completed in {elapsed}", show_count(completed)), DETAIL)
    )?;
    if let Some(success) = result.success {
        let shown = format!("{:<12}", show_percent(success));
        let shown = if success < 1.0 { style.bad(&shown) } else { shown };
        writeln!(out, "{:LABEL$}{shown}   answered, status below 400", "Success")?;
    }
    let received = format!("{} received,", show_bytes(result.bytes_received as f64));
    let sent = format!("{} sent", show_bytes(result.bytes_sent as f64));
    writeln!(
        out,
        "{:LABEL$}{:<12}   {}",
        "Transfer",
        format!("{}/s", show_bytes(result.bytes_received_per_second)),
        style.broken([&*received, &*sent].into_iter(), " ", DETAIL)
    )?;
    if let Some(drain) = result.drain {
        let line = format!(
            "{} completed and {} failed in {} after the end; they are in no rate",
            show_count(drain.completed),
            show_count(drain.failed),
            show_time_ns(drain.took_s * 1e9)
        );
        writeln!(out, "{:LABEL$}{}", "Drain", style.wrapped(&line, LABEL))?;
    }
    if requests.failed + requests.censored > 0 {
        let line = format!(
            "{} due = {} completed + {} failed + {} unanswered at the end",
            show_count(requests.scheduled),
            show_count(requests.completed),
            show_count(requests.failed),
            show_count(requests.censored)
        );
        writeln!(out, "{:LABEL$}{}", "Requests", style.wrapped(&line, LABEL))?;
    }
    Ok(())
}

/// A share. It never shows 100 % or 0 % unless it is exactly that.
pub(super) fn show_percent(share: f64) -> String {
    // Cut off, not rounded: 99.996 % is not 100 %. The division may have lost one part in 10¹².
    let hundredths = (share * 1e4 * (1.0 + 1e-12)).floor() / 100.0;
    match hundredths {
        _ if share >= 1.0 => "100 %".to_owned(),
        percent if percent >= 99.99 && share > 0.9999 => "> 99.99 %".to_owned(),
        percent if percent >= 0.01 => format!("{percent} %"),
        _ if share > 0.0 => "< 0.01 %".to_owned(),
        _ => "0 %".to_owned(),
    }
}

fn write_latencies(out: &mut String, result: &RunResult, style: Style) -> fmt::Result {
    // Four columns fit the narrowest terminal.
    let (label, column) = if style.is_narrow() { (8, 13) } else { (LABEL, 14) };
    let latency = &result.latency_us;
    let mut columns = vec![("response", &latency.response), ("service", &latency.service)];
    if result.plan.mode == LoopName::Open {
        columns.extend([("queue wait", &latency.queue_wait), ("schedule lag", &latency.schedule_lag)]);
    }
    write!(out, "{:label$}", "Latency")?;
    for (name, _) in &columns {
        write!(out, "{name:>column$}")?;
    }
    writeln!(out)?;
    let is_shown = |figure: &Figure| !matches!(figure, Figure::Min | Figure::Stdev);
    for (name, figure) in FIGURES.into_iter().filter(|(_, figure)| is_shown(figure)) {
        write!(out, "{:label$}", format!("  {name}"))?;
        for (_, summary) in &columns {
            write!(out, "{:>column$}", time(summary, figure))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// The times of the connects, if the measured part had any, successful or not; and how many connections were open if that was
/// left to the load.
fn write_connects(out: &mut String, result: &RunResult, style: Style) -> fmt::Result {
    let connect = &result.phases_us.connect;
    let PlanSummary { connections, max_connections, .. } = result.plan;
    let open_max = result
        .connections_open_max
        .filter(|_| max_connections > connections)
        .map(|open| format!("at most {} of {} open", show_count(open), show_count(max_connections as u64)));
    if !shows_connects(result) {
        let Some(open_max) = open_max else { return Ok(()) };
        return writeln!(out, "\n{:LABEL$}{open_max}", "Connections");
    }
    let mut parts: Vec<String> = [("p50", Figure::P50), ("p99", Figure::P99), ("max", Figure::Max)]
        .map(|(name, figure)| format!("{name} {}", time(connect, figure)))
        .into();
    let (opened, before) = (result.connections_opened, result.connections_opened_before_start);
    parts.push(match before {
        0 => format!("{} opened", show_count(opened)),
        _ => format!("{} opened, and {} before the start", show_count(opened), show_count(before)),
    });
    parts.extend(open_max);
    if connect.censored > 0 {
        parts.push(format!("{} timed out or cut off", show_count(connect.censored)));
    }
    writeln!(out, "\n{:LABEL$}{}", "Connects", style.listed(&parts, LABEL))
}

fn shows_connects(result: &RunResult) -> bool {
    result.connections_opened + result.phases_us.connect.censored > 0
}

/// The times of the TLS handshakes, and what they agreed on.
fn write_handshakes(out: &mut String, result: &RunResult, style: Style) -> fmt::Result {
    let Some(tls) = &result.tls else { return Ok(()) };
    let times = &result.phases_us.tls;
    if times.count == 0 {
        return Ok(());
    }
    // Directly below the connects, if they are shown.
    let gap = if shows_connects(result) { "" } else { "\n" };
    let mut parts: Vec<String> = [("p50", Figure::P50), ("p99", Figure::P99), ("max", Figure::Max)]
        .map(|(name, figure)| format!("{name} {}", time(times, figure)))
        .into();
    parts.push(format!("{} full", show_count(tls.handshakes_full)));
    parts.push(format!("{} resumed", show_count(tls.handshakes_resumed)));
    if times.censored > 0 {
        parts.push(format!("{} timed out or cut off", show_count(times.censored)));
    }
    writeln!(out, "{gap}{:LABEL$}{}", "Handshakes", style.listed(&parts, LABEL))?;
    if let (Some(version), Some(cipher)) = (&tls.version, &tls.cipher) {
        let ciphers = cipher.split(" and ").map(str::to_owned);
        let parts: Vec<String> = std::iter::once(format!("TLS {version}")).chain(ciphers).collect();
        writeln!(out, "{:LABEL$}{}", "", style.listed(&parts, LABEL))?;
    }
    Ok(())
}

/// What happened in HTTP/2, if anything did.
fn write_http2(out: &mut String, result: &RunResult, style: Style) -> fmt::Result {
    let Some(http2) = &result.http2 else { return Ok(()) };
    let codes = |what: &str, counts: &BTreeMap<String, u64>| {
        let codes: Vec<String> =
            counts.iter().map(|(code, count)| format!("{} {code}", show_count(*count))).collect();
        (!codes.is_empty()).then(|| format!("{what}: {}", codes.join(", ")))
    };
    let lines = [
        codes("streams reset", &http2.resets),
        codes("shutdowns announced (GOAWAY)", &http2.goaways),
        (http2.replayed > 0).then(|| format!("{} sent again", plural(http2.replayed, "request"))),
    ];
    for (index, line) in lines.into_iter().flatten().enumerate() {
        let label = if index == 0 { "\nHTTP/2         " } else { "               " };
        writeln!(out, "{label}{}", style.wrapped(&line, LABEL))?;
    }
    Ok(())
}

fn write_outcomes(out: &mut String, result: &RunResult, style: Style) -> fmt::Result {
    if !result.status.is_empty() {
        let codes: Vec<String> =
            result.status.iter().map(|(code, count)| format!("{code}: {}", show_count(*count))).collect();
        writeln!(out, "\n{:LABEL$}{}", "Status", style.listed(&codes, LABEL))?;
    }
    let kinds: Vec<ErrorKind> =
        ErrorKind::ALL.into_iter().filter(|kind| result.errors.count(*kind) > 0).collect();
    let count = |kind: &ErrorKind| show_count(result.errors.count(*kind));
    let width = kinds.iter().map(|kind| count(kind).len()).max().unwrap_or(0);
    for (index, kind) in kinds.iter().enumerate() {
        let label = if index == 0 { "\nErrors         " } else { "               " };
        let name = match kind {
            ErrorKind::Timeout => {
                let limit = show_typed_time_ns((result.plan.timeout_s * 1e9).round() as u64);
                // With pipelining, a timeout takes the requests behind with it.
                let behind = match &result.http2 {
                    None if result.plan.parallel > 1 => ", or behind a request without one",
                    _ => "",
                };
                format!("no complete response within {limit}{behind}")
            }
            _ => kind.description().to_owned(),
        };
        let head = format!("{:<11}{:>width$}   ", kind.name(), count(kind));
        let indent = LABEL + head.chars().count();
        let line = format!("{head}{}", style.wrapped(&name, indent));
        writeln!(out, "{label}{}", style.bad(&line))?;
        for example in examples(result, *kind) {
            writeln!(out, "{:indent$}{}", "", style.wrapped(&format!("first: {example}"), indent))?;
        }
    }
    Ok(())
}

/// The first message of the kind; for TLS, the first of each of its kinds.
pub(super) fn examples(result: &RunResult, kind: ErrorKind) -> Vec<&str> {
    let examples = &result.error_examples;
    let of_tls = examples.iter().filter(|(key, _)| kind == ErrorKind::Tls && key.starts_with("tls."));
    let of_tls: Vec<&str> = of_tls.map(|(_, text)| text.as_str()).collect();
    if of_tls.is_empty() {
        examples.get(kind.name()).map(String::as_str).into_iter().collect()
    } else {
        of_tls
    }
}

fn write_generator(out: &mut String, result: &RunResult, style: Style) -> fmt::Result {
    let generator = &result.generator;
    let mut parts = Vec::new();
    let spinning = generator.spin_share;
    let is_spinning = spinning >= 0.005;
    if let (Some(cpu_us), Some(user_us)) = (generator.cpu_us_per_request, generator.user_us_per_request) {
        parts.push(format!(
            "{} µs CPU/request ({} user + {} system)",
            three_digits(cpu_us),
            three_digits(user_us),
            three_digits((cpu_us - user_us).max(0.0))
        ));
        if is_spinning && generator.cpu_utilisation > 0.0 {
            let spun_us = cpu_us * (spinning / generator.cpu_utilisation).min(1.0);
            parts.push(format!("{} µs of it spinning", three_digits(spun_us)));
        }
    }
    parts.push(if is_spinning {
        let busy = (generator.cpu_utilisation - spinning).max(0.0);
        format!("{:.0} % busy and {:.0} % spinning", busy * 100.0, spinning * 100.0)
    } else {
        format!("{:.0} % busy", generator.cpu_utilisation * 100.0)
    });
    let waited = generator.workers.iter().map(|worker| worker.run_queue_share).fold(0.0, f64::max);
    if waited >= 0.005 {
        parts.push(format!("{:.0} % waiting for a core", waited * 100.0));
    }
    if let Some(steal) = generator.steal_share.filter(|share| *share >= 0.005) {
        parts.push(format!("{:.0} % stolen by the hypervisor", steal * 100.0));
    }
    if let Some(wakeup_us) = generator.wakeup_us {
        parts.push(format!("{} µs to wake up", three_digits(wakeup_us)));
    }
    if let Some(syscalls) = generator.syscalls_per_request {
        parts.push(format!("{} syscalls/request", three_digits(syscalls)));
    }
    if let Some(bytes) = generator.heap_bytes_per_request {
        parts.push(format!("heap {}/request in flight", show_bytes(bytes as f64)));
    }
    if let Some(bytes) = generator.heap_bytes_per_connection {
        parts.push(format!("heap {}/connection", show_bytes(bytes as f64)));
    }
    parts.push(format!("peak RSS {}", show_bytes(generator.rss_peak_bytes as f64)));
    writeln!(out, "{:LABEL$}{}", "Generator", style.listed(&parts, LABEL))
}

fn write_notes(out: &mut String, result: &RunResult, style: Style) -> fmt::Result {
    for (index, note) in result.notes.iter().enumerate() {
        let label = if index == 0 { "Note" } else { "" };
        match result.notes.len() {
            1 => writeln!(out, "{label:LABEL$}{}", style.wrapped(note, LABEL))?,
            _ => writeln!(out, "{label:LABEL$}- {}", style.wrapped(note, LABEL + 2))?,
        }
    }
    Ok(())
}

fn write_verdict(out: &mut String, result: &RunResult, style: Style) -> fmt::Result {
    let verdict = match result.verdict.valid {
        Some(true) => format!("{}: the generator was not the bottleneck", style.good("valid")),
        Some(false) => style.bad("not valid: these are not the server's figures"),
        None => {
            format!("none: {}", style.wrapped(&result.verdict.reasons.join("; "), LABEL + "none: ".len()))
        }
    };
    writeln!(out, "{:LABEL$}{verdict}", "Verdict")?;
    if result.verdict.valid.is_none() {
        return Ok(());
    }
    for reason in &result.verdict.reasons {
        writeln!(out, "{:LABEL$}- {}", "", style.wrapped(reason, LABEL + 2))?;
    }
    Ok(())
}

/// In a line, that a threshold of `result` was missed, and by which figure.
pub fn missed(result: &RunResult, outcome: &Outcome) -> String {
    let prefix = if outcome.observed.is_some() { "observed " } else { "" };
    format!("threshold missed: {} ({prefix}{})", outcome.expression, observed(result, outcome))
}

/// The figure that a threshold of `result` was checked against, with its unit; or why there is none.
pub(super) fn observed(result: &RunResult, outcome: &Outcome) -> String {
    let Some(observed) = outcome.observed else {
        let nothing =
            if result.requests.scheduled > 0 { "nothing was completed" } else { "nothing was measured" };
        return nothing.to_owned();
    };
    match outcome.unit.as_str() {
        "us" if outcome.lower_bound => {
            let doubt = if outcome.is_undecided() { ": cannot be shown" } else { "" };
            format!("≥ {}{doubt}", show_time_ns(observed * 1e3))
        }
        "us" => show_time_ns(observed * 1e3),
        // Three digits would round 99.88 % to the 99.9 % that it misses.
        "%" => format!("{observed:.3} %"),
        "requests" => plural(observed as u64, "request"),
        _ => format!("{} req/s", show_rate(observed)),
    }
}

fn write_thresholds(out: &mut String, result: &RunResult, style: Style) -> fmt::Result {
    let thresholds = &result.thresholds;
    let width = thresholds.iter().map(|outcome| outcome.expression.chars().count()).max().unwrap_or(0);
    for (index, outcome) in thresholds.iter().enumerate() {
        let label = if index == 0 { "Thresholds" } else { "" };
        let mark = if outcome.met { style.good("✓") } else { style.bad("✗") };
        let observed = observed(result, outcome);
        let gap = if index == 0 { "\n" } else { "" };
        // The mark is one column, whatever its colour takes.
        let line = [format!("{:<width$}", outcome.expression), observed];
        let line = style.broken(line.iter().map(String::as_str), "   ", LABEL + 2);
        writeln!(out, "{gap}{label:LABEL$}{mark} {line}")?;
    }
    Ok(())
}

pub(super) fn plural(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", show_count(count), if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Handshake, Recorder, Sample};
    use crate::plan::Plan;
    use crate::report::Colour;
    use crate::result::{Http2Summary, TlsSummary};

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
        assert_eq!(render(&closed(), Style::PLAIN), include_str!("snapshots/closed.txt"));
    }

    #[test]
    fn an_open_loop_with_errors_reads_so() {
        assert_eq!(
            render(&crate::result::tests::example(), Style::PLAIN),
            include_str!("snapshots/open.txt")
        );
    }

    fn on_terminal(columns: usize) -> Style {
        Style { colour: Colour::None, ..Style::for_terminal(columns) }
    }

    #[test]
    fn it_fits_a_narrow_terminal() {
        let open = crate::result::tests::example();
        assert_eq!(render(&open, on_terminal(60)), include_str!("snapshots/narrow.txt"));
        assert_eq!(render(&open, on_terminal(20)), render(&open, on_terminal(60)));
        assert_eq!(render(&open, on_terminal(200)), render(&open, Style::PLAIN));
    }

    #[test]
    fn no_line_is_too_long_and_none_ends_in_spaces() {
        let mut result = crate::result::tests::example();
        result.ended_by = EndedBy::MaxErrors;
        result.plan.max_errors = Some("100%".to_owned());
        result.requests.failed = 123_456_789_012;
        result.requests.completed = 123_456_789_012;
        result.errors.incomplete = 123_456_789_012;
        result.bytes_received = u64::MAX;
        result.plan.max_connections = 10_000;
        result.plan.parallel = 16;
        let stage = StageSummary { duration_s: Some(86_400.5), rate: 1_234_567.0, rate_end: 2_345_678.5 };
        result.plan.stages = vec![stage; 6];
        result.plan.arrival = Some(crate::plan::Arrival::Poisson);
        result.plan.keepalive = false;
        result.phases_us.tls = result.latency_us.response.clone();
        result.tls = Some(TlsSummary {
            version: Some("1.2 and 1.3".to_owned()),
            cipher: Some(
                "TLS_AES_256_GCM_SHA384 and TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256".to_owned(),
            ),
            handshakes_full: 123_456_789_012,
            handshakes_resumed: 123_456_789_012,
        });
        let codes = ["PROTOCOL_ERROR", "ENHANCE_YOUR_CALM", "REFUSED_STREAM", "INADEQUATE_SECURITY"];
        let counts: BTreeMap<_, _> =
            codes.into_iter().map(|code| (code.to_owned(), 123_456_789_012)).collect();
        result.http2 = Some(Http2Summary {
            replayed: 123_456_789_012,
            resets: counts.clone(),
            goaways: counts,
            streams_max_peer: None,
        });
        result.errors.tls = 5;
        for kind in ["tls", "tls.alert", "tls.unknown_issuer"] {
            result.error_examples.insert(kind.to_owned(), "a message of its own ".repeat(9));
        }
        result.verdict.valid = Some(false);
        result.verdict.reasons = vec!["because of words ".repeat(20)];
        result.status = (100..160).map(|code| (code.to_string(), 123_456_789)).collect();
        result.thresholds[0].expression = "requests_per_second >= 1000000000".to_owned();
        for width in 60..=80 {
            for result in [&result, &closed()] {
                for line in render(result, on_terminal(width)).lines() {
                    assert!(line.chars().count() <= width, "{width}: {line}");
                    assert_eq!(line, line.trim_end());
                }
            }
        }
    }

    #[test]
    fn handshakes_are_shown_below_the_connects() {
        let mut plan = Plan::for_url("https://127.0.0.1:8081/").expect("valid");
        plan.threads = 1;
        let mut recorder = Recorder::new(false);
        let shown = |recorder: &Recorder| {
            let text = render(&RunResult::new(&plan, crate::result::tests::measured(recorder)), Style::PLAIN);
            text.lines()
                .skip_while(|line| !line.starts_with("Handshakes"))
                .take(2)
                .collect::<Vec<_>>()
                .join("\n")
        };
        assert_eq!(shown(&recorder), "");
        for is_resumed in [false, true, true] {
            recorder.connected(1_000_000);
            let cipher = "TLS_AES_128_GCM_SHA256";
            recorder.shook_hands(2_000_000, Handshake { version: "1.3", cipher, is_resumed });
        }
        // Those of the connections that stay are no less those of the measured part.
        recorder.reset();
        recorder.handshake_cut_short(5_000);
        assert_eq!(
            shown(&recorder),
            "Handshakes     p50 2.00 ms · p99 2.00 ms · max 2.00 ms · 1 full · 2 resumed\n               \
             1 timed out or cut off"
        );
        let result = RunResult::new(&plan, crate::result::tests::measured(&recorder));
        assert_eq!(result.phases_us.tls.count, 4);
        assert!(
            render(&result, Style::PLAIN).contains("\n               TLS 1.3 · TLS_AES_128_GCM_SHA256\n")
        );
    }

    #[test]
    fn what_happened_in_http2_is_shown() {
        let mut result = closed();
        let shown = |result: &RunResult| {
            let text = render(result, Style::PLAIN);
            let lines = text.lines().skip_while(|line| !line.starts_with("HTTP/2"));
            lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
        };
        result.http2 = Some(Http2Summary::default());
        assert_eq!(shown(&result), "", "nothing has");
        result.http2 = Some(Http2Summary {
            replayed: 1_234,
            resets: [("CANCEL".to_owned(), 1), ("REFUSED_STREAM".to_owned(), 1_233)].into(),
            goaways: [("NO_ERROR".to_owned(), 2)].into(),
            streams_max_peer: Some(100),
        });
        assert_eq!(
            shown(&result),
            "HTTP/2         streams reset: 1 CANCEL, 1,233 REFUSED_STREAM\n               \
             shutdowns announced (GOAWAY): 2 NO_ERROR\n               1,234 requests sent again"
        );
    }

    #[test]
    fn an_early_end_is_told() {
        let mut result = crate::result::tests::example();
        assert_eq!(ended_early(&result), None);
        result.ended_by = EndedBy::MaxErrors;
        result.plan.max_errors = Some("3".to_owned());
        assert_eq!(
            ended_early(&result).as_deref(),
            Some("Stopped early: 3 of 1,003 requests failed (--max-errors 3).")
        );
        result.ended_by = EndedBy::Duration;
        result.plan.requests = Some(5000);
        assert_eq!(
            ended_early(&result).as_deref(),
            Some("Time was up after 1,003 of 5,000 requests (--duration, --requests).")
        );
    }

    #[test]
    fn a_share_is_not_rounded_to_all_or_nothing() {
        for (share, shown) in [
            (1.0, "100 %"),
            (0.999_999, "> 99.99 %"),
            (0.9999, "99.99 %"),
            (0.999, "99.9 %"),
            (0.9988, "99.88 %"),
            (0.29, "29 %"),
            (0.000_1, "0.01 %"),
            (0.000_01, "< 0.01 %"),
            (0.0, "0 %"),
        ] {
            assert_eq!(show_percent(share), shown);
        }
    }

    #[test]
    fn colour_adds_nothing_but_escape_sequences() {
        let result = crate::result::tests::example();
        let mut coloured = render(&result, Style { colour: Colour::Ansi, ..Style::PLAIN });
        assert!(coloured.contains('\x1b'));
        for code in ["\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[0m"] {
            coloured = coloured.replace(code, "");
        }
        assert_eq!(coloured, render(&result, Style::PLAIN));
    }
}
