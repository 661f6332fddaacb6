//! A result as CSV (RFC 4180): a line with the names of the columns, and one per result, so that the lines of several
//! runs make a table. Not for the course of a run: `--timeseries` has that.

use super::text;
use crate::metrics::ErrorKind;
use crate::result::{Figure, RunResult, SummaryUs};

/// The lines of `results`, with that of the names. The columns are the same for every run. What is not known is empty.
pub fn render<'a>(results: impl IntoIterator<Item = &'a RunResult>) -> String {
    let mut out = String::new();
    for (index, result) in results.into_iter().enumerate() {
        let columns = columns(result);
        if index == 0 {
            let names = columns.iter().map(|(name, _)| name.as_str());
            push_line(&mut out, names);
        }
        push_line(&mut out, columns.iter().map(|(_, value)| value.as_str()));
    }
    out
}

fn push_line<'a>(out: &mut String, fields: impl Iterator<Item = &'a str>) {
    for (index, field) in fields.enumerate() {
        if index > 0 {
            out.push(',');
        }
        if field.contains([',', '"', '\r', '\n']) {
            out.push('"');
            out.push_str(&field.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(field);
        }
    }
    out.push_str("\r\n");
}

fn columns(result: &RunResult) -> Vec<(String, String)> {
    let RunResult { plan, requests, generator, .. } = result;
    let mut columns: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, value: String| columns.push((name.to_owned(), value));
    let some = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    add("url", plan.url.clone());
    add("method", plan.method.clone());
    add("http", plan.http.clone());
    add("mode", text::loop_name(plan).to_owned());
    add("connections", plan.connections.to_string());
    add("threads", plan.threads.to_string());
    add("parallel", plan.parallel.to_string());
    add("rate", some(plan.rate));
    add("rate_end", some(plan.rate_end));
    add("seed", plan.seed.to_string());
    add("started_unix_s", result.started_unix_s.to_string());
    add("duration_s", result.duration_s.to_string());
    add("scheduled", requests.scheduled.to_string());
    add("sent", requests.sent.to_string());
    add("completed", requests.completed.to_string());
    add("failed", requests.failed.to_string());
    add("censored", requests.censored.to_string());
    add("success", some(result.success));
    add("requests_per_second", result.requests_per_second.to_string());
    add("bytes_received_per_second", result.bytes_received_per_second.to_string());
    add("bytes_received", result.bytes_received.to_string());
    add("bytes_sent", result.bytes_sent.to_string());
    for kind in ErrorKind::ALL {
        add(&format!("errors_{}", kind.name()), result.errors.count(kind).to_string());
    }
    for class in ["1xx", "2xx", "3xx", "4xx", "5xx"] {
        add(&format!("status_{class}"), result.of_class(class).to_string());
    }
    for (name, summary) in [
        ("response", &result.latency_us.response),
        ("service", &result.latency_us.service),
        ("queue_wait", &result.latency_us.queue_wait),
        ("schedule_lag", &result.latency_us.schedule_lag),
    ] {
        add_summary(&mut add, name, summary);
    }
    add("cpu_us_per_request", some(generator.cpu_us_per_request));
    add("cpu_utilisation", generator.cpu_utilisation.to_string());
    let valid = result.verdict.valid;
    add("valid", valid.map_or("unknown".to_owned(), |valid| valid.to_string()));
    add("reasons", result.verdict.reasons.join("; "));
    let missed = result.thresholds.iter().filter(|threshold| !threshold.met);
    add("thresholds", result.thresholds.len().to_string());
    add("thresholds_missed", missed.count().to_string());
    columns
}

/// The figures of a distribution, and which of them are only lower bounds.
fn add_summary(add: &mut impl FnMut(&str, String), name: &str, summary: &SummaryUs) {
    for (figure_name, figure) in FIGURES {
        let value = summary.figure(figure);
        add(&format!("{name}_{figure_name}_us"), value.map_or(String::new(), |value| value.to_string()));
    }
    let is_bound = |(_, figure): &&(&str, Figure)| summary.is_lower_bound(*figure);
    let bounds: Vec<&str> = FIGURES.iter().filter(is_bound).map(|(name, _)| *name).collect();
    add(&format!("{name}_lower_bounds"), bounds.join(" "));
}

/// The figures with their names in JSON.
const FIGURES: [(&str, Figure); 11] = [
    ("min", Figure::Min),
    ("mean", Figure::Mean),
    ("stdev", Figure::Stdev),
    ("p50", Figure::P50),
    ("p75", Figure::P75),
    ("p90", Figure::P90),
    ("p95", Figure::P95),
    ("p99", Figure::P99),
    ("p99_9", Figure::P999),
    ("p99_99", Figure::P9999),
    ("max", Figure::Max),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of each line, by an independent reading of RFC 4180.
    fn parse(text: &str) -> Vec<Vec<String>> {
        let (mut lines, mut line, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '"' if quoted && letters.peek() == Some(&'"') => {
                    letters.next();
                    field.push('"');
                }
                '"' => quoted = !quoted,
                ',' if !quoted => line.push(std::mem::take(&mut field)),
                '\r' if !quoted => {
                    assert_eq!(letters.next(), Some('\n'));
                    line.push(std::mem::take(&mut field));
                    lines.push(std::mem::take(&mut line));
                }
                letter => field.push(letter),
            }
        }
        assert!(!quoted && field.is_empty() && line.is_empty());
        lines
    }

    #[test]
    fn every_line_has_every_column() {
        let mut odd = crate::result::tests::example();
        odd.plan.url = "http://h/?a=1,2&b=\"c\"".to_owned();
        odd.verdict.reasons = vec!["one,\nand".to_owned(), "another".to_owned()];
        let plain = crate::result::tests::example();
        let lines = parse(&render([&odd, &plain]));
        assert_eq!(lines.len(), 3);
        let of = |line: usize, name: &str| {
            let at = lines[0].iter().position(|column| column == name).unwrap_or_else(|| panic!("no {name}"));
            lines[line][at].as_str()
        };
        assert!(lines.iter().all(|line| line.len() == lines[0].len()));
        assert_eq!((of(1, "url"), of(1, "reasons")), ("http://h/?a=1,2&b=\"c\"", "one,\nand; another"));
        for (name, value) in [
            ("mode", "open"),
            ("rate", "1000"),
            ("scheduled", "1004"),
            ("failed", "3"),
            ("errors_timeout", "2"),
            ("status_2xx", "990"),
            ("status_5xx", "10"),
            ("response_p50_us", "502.527"),
            ("response_lower_bounds", "mean stdev p99_9 p99_99 max"),
            ("thresholds", "2"),
            ("thresholds_missed", "1"),
        ] {
            assert_eq!(of(2, name), value, "{name}");
        }
        let names: std::collections::BTreeSet<_> = lines[0].iter().collect();
        assert_eq!(names.len(), lines[0].len(), "no name is there twice");
    }
}
