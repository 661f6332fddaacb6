//! How requests and thresholds came out: the verdict, status codes, errors.

use super::decoded::Decoded;
use super::markup::Markup;
use super::plot::{Plot, WIDTH, write_swatch};
use super::table::{Cell, Head, Table, Tone, write_letter};
use crate::metrics::ErrorKind;
use crate::report::text;
use crate::result::{LoopName, RunResult};
use crate::units::{show_count, show_time_ns};

/// The verdict with its reasons, what ended the run early, and the notes.
pub(super) fn write_verdict(out: &mut Markup, one: &Decoded<'_>, is_single: bool) {
    let result = one.result;
    let (class, judgement) = match result.verdict.valid {
        Some(true) => ("good", "✓ Valid: the generator was not the bottleneck"),
        Some(false) => ("bad", "✗ Not valid: these are not the server’s figures"),
        None => ("open", "No verdict"),
    };
    out.open("section", &[("class", &format!("verdict {class}")), ("aria-label", "Verdict")]);
    out.raw("<p class=\"judgement\">");
    if !is_single {
        write_letter(out, one.letter, one.colour);
        out.plain("span", one.name);
        out.raw(" ");
    }
    out.plain("strong", judgement);
    out.raw("</p>\n");
    write_list(out, &result.verdict.reasons);
    out.raw("</section>\n");
    if let Some(why) = text::ended_early(result) {
        out.element("p", &[("class", "verdict open")], &why);
    }
    let missed = result.thresholds.iter().filter(|threshold| !threshold.met).count();
    if !result.thresholds.is_empty() {
        let all = text::plural(result.thresholds.len() as u64, "threshold");
        let (class, line) = match missed {
            0 => ("good", format!("✓ {all} held")),
            missed => ("bad", format!("✗ {missed} of {all} missed")),
        };
        out.open("p", &[("class", &format!("verdict judgement {class}"))]);
        if !is_single {
            write_letter(out, one.letter, one.colour);
        }
        out.plain("strong", &line);
        out.raw("</p>\n");
    }
}

/// What a reader should know.
pub(super) fn write_notes(out: &mut Markup, heading: &'static str, result: &RunResult) {
    if !result.notes.is_empty() {
        out.open("section", &[("class", "notes")]);
        out.plain(heading, "Notes");
        write_list(out, &result.notes);
        out.raw("</section>\n");
    }
}

fn write_list(out: &mut Markup, sentences: &[String]) {
    if sentences.is_empty() {
        return;
    }
    out.raw("<ul>");
    for sentence in sentences {
        out.plain("li", sentence);
    }
    out.raw("</ul>\n");
}

/// How the thresholds did.
pub(super) fn write_thresholds(out: &mut Markup, result: &RunResult) {
    let row = |outcome: &crate::threshold::Outcome| {
        let mark = if outcome.met { "✓ held" } else { "✗ missed" };
        let tone = if outcome.met { Tone::Good } else { Tone::Bad };
        (
            outcome.expression.clone(),
            vec![Cell::of(text::observed(result, outcome)), Cell::of(mark).toned(tone, true)],
        )
    };
    let table = Table {
        caption: "Thresholds",
        corner: "threshold",
        heads: Head::texts(&["observed", "outcome"]),
        rows: result.thresholds.iter().map(row).collect(),
        is_numeric: false,
    };
    table.write(out);
}

/// Status codes, and errors by kind.
pub(super) fn write_outcomes(out: &mut Markup, result: &RunResult) {
    write_shares(out, result);
    let completed = result.requests.completed;
    let status = result.status.iter().map(|(code, count)| {
        let is_bad = code.starts_with(['4', '5', '6', '7', '8', '9']);
        let cells =
            vec![Cell::of(show_count(*count)).toned(Tone::Bad, is_bad), Cell::of(share(*count, completed))];
        (code.clone(), cells)
    });
    let table = Table {
        caption: "Completed requests by status",
        corner: "status",
        heads: Head::texts(&["requests", "share"]),
        rows: status.collect(),
        is_numeric: true,
    };
    table.write(out);
    let kinds = ErrorKind::ALL.into_iter().filter(|kind| result.errors.count(*kind) > 0);
    let errors = kinds.map(|kind| {
        let examples = text::examples(result, kind).join("; ");
        let meaning = match kind {
            ErrorKind::Timeout => {
                format!("no complete response within {}", show_time_ns(result.plan.timeout_s * 1e9))
            }
            kind => kind.description().to_owned(),
        };
        let detail = if examples.is_empty() { examples } else { format!("first: {examples}") };
        let cells = vec![
            Cell::of(show_count(result.errors.count(kind))).toned(Tone::Bad, true),
            Cell { detail, ..Cell::of(meaning) },
        ];
        (kind.name().to_owned(), cells)
    });
    let table = Table {
        caption: "Failed requests by kind",
        corner: "error",
        heads: Head::texts(&["requests", "meaning"]),
        rows: errors.collect(),
        is_numeric: false,
    };
    table.write(out);
}

/// All due requests as a bar, divided by how they ended.
fn write_shares(out: &mut Markup, result: &RunResult) {
    const HEIGHT: f64 = 30.0;
    let requests = &result.requests;
    let below_400: u64 = ["1xx", "2xx", "3xx"].map(|class| result.of_class(class)).iter().sum();
    let parts = [
        ("answered, status below 400", "ok", below_400),
        ("status of 400 or more", "refused", requests.completed.saturating_sub(below_400)),
        ("failed", "failed", requests.failed),
        ("unanswered at the end", "cut", requests.censored),
    ];
    let all: f64 = parts.iter().map(|(_, _, count)| *count as f64).sum();
    if all <= 0.0 {
        out.plain("p", "No request was due.");
        return;
    }
    let parts: Vec<_> = parts.into_iter().filter(|(_, _, count)| *count > 0).collect();
    let said: Vec<String> =
        parts.iter().map(|(name, _, count)| format!("{} {name}", show_count(*count))).collect();
    let mut plot = Plot::begin(out, HEIGHT, &format!("How the requests ended: {}", said.join(", ")));
    let mut from = 0.0;
    for (_, class, count) in &parts {
        // What is there is seen.
        let to = (from + *count as f64 / all * WIDTH).max(from + 2.0).min(WIDTH);
        plot.path(class, &format!("M{from:.1} 4H{to:.1}V26H{from:.1}z"));
        from = to;
    }
    plot.end();
    out.raw("<p class=\"key\">");
    for ((name, class, count), index) in parts.iter().zip(0..) {
        if index > 0 {
            out.raw(" ");
        }
        write_swatch(out, class, &format!("{} {name}", show_count(*count)));
    }
    out.raw("</p>\n");
    if result.plan.mode == LoopName::Open && requests.censored > 0 {
        out.plain("p", "Unanswered requests were due and waited, for a connection or for their answer, when the run ended.");
    }
}

fn share(count: u64, of: u64) -> String {
    if of == 0 { "-".to_owned() } else { text::show_percent(count as f64 / of as f64) }
}
