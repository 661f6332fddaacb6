//! The figures of results: those that matter first, and the tables of times.

use super::decoded::Decoded;
use super::markup::Markup;
use super::table::{Cell, Head, Table, Tone};
use crate::report::{FIGURES, text, time};
use crate::result::{Figure, LoopName, RunResult, SummaryUs};
use crate::units::{show_bytes, show_count, show_rate, show_time_ns};

/// The most important figures of a result.
pub(super) fn write_cards(out: &mut Markup, result: &RunResult) {
    let (requests, response) = (&result.requests, &result.latency_us.response);
    let nothing = |count: u64| if count > 0 { " bad" } else { "" };
    let success = result.success.map_or_else(|| "-".to_owned(), text::show_percent);
    let cards = [
        ("Requests/s", show_rate(result.requests_per_second), ""),
        ("Success", success, if result.success.is_some_and(|success| success < 1.0) { " bad" } else { "" }),
        ("Response p50", time(response, Figure::P50), ""),
        ("Response p99", time(response, Figure::P99), ""),
        ("Response max", time(response, Figure::Max), ""),
        ("Completed", show_count(requests.completed), ""),
        ("Failed", show_count(requests.failed), nothing(requests.failed)),
        ("Unanswered at the end", show_count(requests.censored), ""),
    ];
    out.raw("<dl class=\"cards\">\n");
    for (name, value, tone) in cards {
        out.raw("<div>");
        out.plain("dt", name);
        out.element("dd", &[("class", &format!("figure{tone}"))], &value);
        out.raw("</div>\n");
    }
    out.raw("</dl>\n");
}

/// The name of a number that each result has, where it is, and how it is shown.
type Number = (&'static str, fn(&RunResult) -> Option<f64>, fn(f64) -> String);

/// The counts and rates of several results side by side.
pub(super) fn write_side_by_side(out: &mut Markup, all: &[Decoded<'_>]) {
    let mut rows: Vec<(String, Vec<Cell>)> = Vec::new();
    let verdict = |one: &Decoded<'_>| match one.result.verdict.valid {
        Some(true) => Cell::of("valid").toned(Tone::Good, true),
        Some(false) => Cell::of("not valid").toned(Tone::Bad, true),
        None => Cell::of("none"),
    };
    rows.push(("Verdict".to_owned(), all.iter().map(verdict).collect()));
    let numbers: [Number; 6] = [
        ("Requests/s", |result| Some(result.requests_per_second), show_rate),
        ("Success", |result| result.success, text::show_percent),
        ("Completed", |result| Some(result.requests.completed as f64), |count| show_count(count as u64)),
        ("Failed", |result| Some(result.requests.failed as f64), |count| show_count(count as u64)),
        (
            "Unanswered at the end",
            |result| Some(result.requests.censored as f64),
            |count| show_count(count as u64),
        ),
        ("Received/s", |result| Some(result.bytes_received_per_second), show_bytes),
    ];
    for (name, of, show) in numbers {
        let base = of(all[0].result);
        let cell = |(index, one): (usize, &Decoded<'_>)| {
            let value = of(one.result);
            // Of counts, as of runs of other lengths, a difference would say nothing.
            let compares = index > 0 && name.ends_with("/s");
            Cell {
                text: value.map_or_else(|| "-".to_owned(), show),
                detail: if compares { difference(base, value) } else { String::new() },
                tone: if name == "Failed" && value > Some(0.0) { Tone::Bad } else { Tone::Neutral },
            }
        };
        rows.push((name.to_owned(), all.iter().enumerate().map(cell).collect()));
    }
    let table = Table {
        caption: "Side by side; in small print, the difference from the first",
        corner: "",
        heads: Head::results(all),
        rows,
        is_numeric: true,
    };
    table.write(out);
}

/// The times of one kind of several results side by side.
pub(super) fn write_times_side_by_side(
    out: &mut Markup,
    all: &[Decoded<'_>],
    caption: &str,
    of: fn(&RunResult) -> &SummaryUs,
) {
    let base = of(all[0].result);
    let row = |(name, figure): &(&str, Figure)| {
        let cell = |(index, one): (usize, &Decoded<'_>)| {
            let summary = of(one.result);
            let known =
                |summary: &SummaryUs| summary.figure(*figure).filter(|_| !summary.is_lower_bound(*figure));
            let detail = if index > 0 { difference(known(base), known(summary)) } else { String::new() };
            Cell { detail, ..Cell::of(time(summary, *figure)) }
        };
        ((*name).to_owned(), all.iter().enumerate().map(cell).collect())
    };
    let rows = FIGURES.iter().map(row).collect();
    Table { caption, corner: "", heads: Head::results(all), rows, is_numeric: true }.write(out);
}

/// How much larger a figure is than that of the first result.
fn difference(base: Option<f64>, other: Option<f64>) -> String {
    match (base, other) {
        (Some(base), Some(other)) if base > 0.0 => {
            let percent = (other - base) / base * 100.0;
            let sign = if percent < 0.0 { "−" } else { "+" };
            let percent = percent.abs();
            if percent < 10.0 { format!("{sign}{percent:.1} %") } else { format!("{sign}{percent:.0} %") }
        }
        _ => String::new(),
    }
}

/// The times of a result.
pub(super) fn write_latencies(out: &mut Markup, result: &RunResult) {
    let latency = &result.latency_us;
    let mut columns = vec![("response", &latency.response), ("service", &latency.service)];
    if result.plan.mode == LoopName::Open {
        columns.extend([("queue wait", &latency.queue_wait), ("schedule lag", &latency.schedule_lag)]);
    }
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let figure = |(name, figure): &(&str, Figure)| {
        let cells = columns.iter().map(|(_, summary)| Cell::of(time(summary, *figure)));
        ((*name).to_owned(), cells.collect::<Vec<_>>())
    };
    let mut rows: Vec<_> = FIGURES.iter().map(figure).collect();
    let counts = |of: fn(&SummaryUs) -> u64| -> Vec<Cell> {
        columns.iter().map(|(_, summary)| Cell::of(show_count(of(summary)))).collect()
    };
    rows.push(("requests".to_owned(), counts(|summary| summary.count)));
    rows.push(("of these cut short".to_owned(), counts(|summary| summary.censored)));
    Table { caption: "Times", corner: "", heads: Head::texts(&names), rows, is_numeric: true }.write(out);
}

/// What the columns of times mean.
pub(super) fn write_meanings(out: &mut Markup, is_open: bool) {
    out.raw(
        "<dl class=\"meanings\"><dt>response</dt><dd>from when the request was due to the last byte of its answer: what a \
         user sees</dd><dt>service</dt><dd>from when it was sent: what server and network take</dd>",
    );
    if is_open {
        out.raw(
            "<dt>queue wait</dt><dd>from when it was due until a connection was free: the server falling behind</dd>\
             <dt>schedule lag</dt><dd>from then until it was sent: the generator being late</dd>",
        );
    }
    out.raw(
        "<dt>≥</dt><dd>a lower bound, because requests timed out or were cut off: the true value is that or more</dd>\
         </dl>\n",
    );
}

/// The requests of each name.
pub(super) fn write_steps(out: &mut Markup, result: &RunResult) {
    let Some(steps) = &result.steps else { return };
    let rows = steps.0.iter().map(|(name, step)| {
        let response = &step.latency_us.response;
        let per_second =
            if result.duration_s > 0.0 { step.requests.completed as f64 / result.duration_s } else { 0.0 };
        let cells = vec![
            Cell::of(show_count(step.requests.completed)),
            Cell::of(show_rate(per_second)),
            Cell::of(time(response, Figure::P50)),
            Cell::of(time(response, Figure::P90)),
            Cell::of(time(response, Figure::P99)),
            Cell::of(time(response, Figure::Max)),
            Cell::of(show_count(step.requests.failed)).toned(Tone::Bad, step.requests.failed > 0),
            Cell::of(show_count(step.requests.censored)),
        ];
        (name.clone(), cells)
    });
    let heads = ["completed", "requests/s", "p50", "p90", "p99", "max", "failed", "unanswered"];
    let table = Table {
        caption: "Response times by the name of the request",
        corner: "request",
        heads: Head::texts(&heads),
        rows: rows.collect(),
        is_numeric: true,
    };
    table.write(out);
}

/// The course of a run as figures.
pub(super) fn write_course(out: &mut Markup, one: &Decoded<'_>) {
    use super::over_time::{bin_name, figure};

    let Some(course) = &one.course else { return };
    let is_open = one.result.plan.mode == LoopName::Open;
    let rows = course.bins.iter().map(|bin| {
        let mut cells = vec![Cell::of(show_rate(bin.requests_per_second))];
        cells.extend(["p50", "p90", "p99", "max"].map(|name| {
            Cell::of(match figure(bin, name) {
                Some((ns, true)) => format!("≥ {}", show_time_ns(ns)),
                Some((ns, false)) => show_time_ns(ns),
                None => "-".to_owned(),
            })
        }));
        cells.push(Cell::of(show_count(bin.unanswered())).toned(Tone::Bad, bin.failed > 0));
        cells.push(Cell::of(show_count(bin.in_flight)));
        if is_open {
            cells.push(Cell::of(show_count(bin.waiting)));
        }
        (bin_name(bin), cells)
    });
    let mut heads = vec!["requests/s", "p50", "p90", "p99", "max", "no answer", "in flight"];
    if is_open {
        heads.push("waiting");
    }
    out.raw("<details><summary>The same as figures</summary>\n");
    let table = Table {
        caption: "Course of the run",
        corner: "time",
        heads: Head::texts(&heads),
        rows: rows.collect(),
        is_numeric: true,
    };
    table.write(out);
    out.raw("</details>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_relative_to_the_first() {
        assert_eq!(difference(Some(200.0), Some(210.0)), "+5.0 %");
        assert_eq!(difference(Some(200.0), Some(100.0)), "−50 %");
        assert_eq!(difference(Some(0.0), Some(100.0)), "");
        assert_eq!(difference(None, Some(100.0)), "");
    }
}
