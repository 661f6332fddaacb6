//! A result in the text format of OpenMetrics 1.0, for collectors of metrics.

use std::fmt::{self, Write as _};

use crate::metrics::ErrorKind;
use crate::result::{Figure, RunResult, SummaryUs};

/// The exposition.
pub fn render(result: &RunResult) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_all(&mut out, result);
    out.push_str("# EOF\n");
    out
}

const QUANTILES: [(&str, Figure); 7] = [
    ("0.5", Figure::P50),
    ("0.75", Figure::P75),
    ("0.9", Figure::P90),
    ("0.95", Figure::P95),
    ("0.99", Figure::P99),
    ("0.999", Figure::P999),
    ("0.9999", Figure::P9999),
];

fn write_all(out: &mut String, result: &RunResult) -> fmt::Result {
    let plan = &result.plan;
    head(out, "ringtide_run", "info", None, "What was run.")?;
    sample(
        out,
        "ringtide_run_info",
        &[
            ("version", &result.tool.version),
            ("url", &plan.url),
            ("method", &plan.method),
            ("http", &plan.http),
            ("mode", super::text::loop_name(plan)),
        ],
        1.0,
    )?;
    let gauges = [
        ("ringtide_started_timestamp_seconds", "When the measured part began.", result.started_unix_s),
        ("ringtide_duration_seconds", "How long it was.", result.duration_s),
    ];
    for (name, help, value) in gauges {
        gauge(out, name, Some("seconds"), help, value)?;
    }
    gauge(
        out,
        "ringtide_requests_per_second",
        None,
        "Completed requests per second.",
        result.requests_per_second,
    )?;
    head(out, "ringtide_requests", "counter", None, "Requests that were due, by how they ended.")?;
    let requests = &result.requests;
    for (outcome, count) in
        [("completed", requests.completed), ("failed", requests.failed), ("censored", requests.censored)]
    {
        sample(out, "ringtide_requests_total", &[("outcome", outcome)], count as f64)?;
    }
    head(out, "ringtide_responses", "counter", None, "Complete responses by status.")?;
    for (code, count) in &result.status {
        sample(out, "ringtide_responses_total", &[("code", code)], *count as f64)?;
    }
    head(out, "ringtide_errors", "counter", None, "Failed requests by kind.")?;
    for kind in ErrorKind::ALL {
        let count = result.errors.count(kind) as f64;
        sample(out, "ringtide_errors_total", &[("kind", kind.name())], count)?;
    }
    for (name, help, count) in [
        ("ringtide_received_bytes", "Bytes of responses.", result.bytes_received),
        ("ringtide_sent_bytes", "Bytes of requests.", result.bytes_sent),
    ] {
        head(out, name, "counter", Some("bytes"), help)?;
        sample(out, &format!("{name}_total"), &[], count as f64)?;
    }
    let latency = &result.latency_us;
    for (name, help, summary) in [
        ("ringtide_response_seconds", "From when a request was due to its last byte.", &latency.response),
        ("ringtide_service_seconds", "From the send to the last byte.", &latency.service),
        (
            "ringtide_queue_wait_seconds",
            "From when it was due until a connection was free.",
            &latency.queue_wait,
        ),
        ("ringtide_schedule_lag_seconds", "From then to the send.", &latency.schedule_lag),
    ] {
        write_summary(out, name, help, summary)?;
    }
    if let Some(valid) = result.verdict.valid {
        let help = "Whether the figures are the server's; left out if the run was too short to judge.";
        gauge(out, "ringtide_verdict_valid", None, help, f64::from(u8::from(valid)))?;
    }
    if !result.thresholds.is_empty() {
        head(out, "ringtide_threshold_met", "gauge", None, "Whether a threshold held.")?;
        for threshold in &result.thresholds {
            let met = f64::from(u8::from(threshold.met));
            sample(out, "ringtide_threshold_met", &[("expression", &threshold.expression)], met)?;
        }
    }
    Ok(())
}

/// A distribution, and how many of its times are only lower bounds. The sum is left out, as times that were cut short
/// have none.
fn write_summary(out: &mut String, name: &str, help: &str, summary: &SummaryUs) -> fmt::Result {
    head(out, name, "summary", Some("seconds"), help)?;
    for (quantile, figure) in QUANTILES {
        if let Some(time_us) = summary.figure(figure) {
            sample(out, name, &[("quantile", quantile)], time_us / 1e6)?;
        }
    }
    sample(out, &format!("{name}_count"), &[], summary.count as f64)?;
    let name = name.strip_suffix("_seconds").unwrap_or(name);
    if let Some(max_us) = summary.max {
        let help = "The longest of these times.";
        gauge(out, &format!("{name}_max_seconds"), Some("seconds"), help, max_us / 1e6)?;
    }
    let help = "Of these, how many were cut short: they would have taken longer.";
    gauge(out, &format!("{name}_censored"), None, help, summary.censored as f64)
}

fn gauge(out: &mut String, name: &str, unit: Option<&str>, help: &str, value: f64) -> fmt::Result {
    head(out, name, "gauge", unit, help)?;
    sample(out, name, &[], value)
}

fn head(out: &mut String, name: &str, kind: &str, unit: Option<&str>, help: &str) -> fmt::Result {
    writeln!(out, "# TYPE {name} {kind}")?;
    if let Some(unit) = unit {
        writeln!(out, "# UNIT {name} {unit}")?;
    }
    writeln!(out, "# HELP {name} {}", escaped(help))
}

fn sample(out: &mut String, name: &str, labels: &[(&str, &str)], value: f64) -> fmt::Result {
    out.push_str(name);
    for (index, (label, text)) in labels.iter().enumerate() {
        let open = if index == 0 { '{' } else { ',' };
        write!(out, "{open}{label}=\"{}\"", escaped(text))?;
    }
    let close = if labels.is_empty() { "" } else { "}" };
    writeln!(out, "{close} {value}")
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_family_comes_once_and_each_sample_belongs_to_the_one_before_it() {
        let mut result = crate::result::tests::example();
        result.plan.url = "http://h/\"a\"\\b\nc".to_owned();
        let text = render(&result);
        assert!(text.ends_with("\n# EOF\n"), "{text}");
        let (mut families, mut current) = (BTreeSet::new(), ("", ""));
        for line in text.lines().filter(|line| *line != "# EOF") {
            let words: Vec<&str> = line.split(' ').collect();
            if let ["#", "TYPE", name, kind] = words[..] {
                assert!(families.insert(name), "{name} is there twice");
                current = (name, kind);
                continue;
            }
            if words[0] == "#" {
                assert_eq!(words[2], current.0, "{line}");
                assert!(words[1] != "UNIT" || current.0.ends_with(&format!("_{}", words[3])), "{line}");
                continue;
            }
            let (name, value) = line.rsplit_once(' ').expect("a value");
            assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
            let name = name.split('{').next().expect("a name");
            let suffixes: &[&str] = match current.1 {
                "counter" => &["_total"],
                "info" => &["_info"],
                "summary" => &["", "_count"],
                _ => &[""],
            };
            let suffix = name.strip_prefix(current.0).unwrap_or_else(|| panic!("{line} in {}", current.0));
            assert!(suffixes.contains(&suffix), "{line}");
        }
        for line in [
            "ringtide_requests_total{outcome=\"failed\"} 3",
            "ringtide_errors_total{kind=\"timeout\"} 2",
            "ringtide_response_seconds_count 1003",
            "ringtide_response_censored 3",
            "ringtide_threshold_met{expression=\"errors<0.1%\"} 0",
            "ringtide_responses_total{code=\"503\"} 10",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} in {text}");
        }
        assert!(text.contains("url=\"http://h/\\\"a\\\"\\\\b\\nc\""), "{text}");
    }
}
