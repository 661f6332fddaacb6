//! A result as Markdown, for the page of a job in continuous integration: the verdict first, then the figures and the
//! thresholds.

use std::fmt::{self, Write as _};

use super::{steps, text};
use crate::metrics::ErrorKind;
use crate::result::{Figure, LoopName, RunResult};
use crate::units::{show_bytes, show_count, show_rate, show_time_ns};

/// The page.
pub fn render(result: &RunResult) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_page(&mut out, result);
    out
}

fn write_page(out: &mut String, result: &RunResult) -> fmt::Result {
    let plan = &result.plan;
    let missed = result.thresholds.iter().filter(|threshold| !threshold.met).count();
    let thresholds = match (result.thresholds.len(), missed) {
        (0, _) => String::new(),
        (all, 0) => format!(" · {} held", text::plural(all as u64, "threshold")),
        (all, missed) => format!(" · {missed} of {} missed", text::plural(all as u64, "threshold")),
    };
    let verdict = match result.verdict.valid {
        Some(true) => "valid",
        Some(false) => "not valid: these are not the server's figures",
        None => "none",
    };
    let is_good = result.verdict.valid == Some(true) && missed == 0 && text::ended_early(result).is_none();
    writeln!(out, "## {} Verdict: {verdict}{thresholds}\n", if is_good { "✅" } else { "❌" })?;
    for reason in &result.verdict.reasons {
        writeln!(out, "- {}", escaped(reason))?;
    }
    if let Some(why) = text::ended_early(result) {
        writeln!(out, "- {}", escaped(&why))?;
    }
    if !out.ends_with("\n\n") {
        writeln!(out)?;
    }
    writeln!(
        out,
        "{} — {}\n",
        code(&format!("{} {}", plan.method, plan.url)),
        escaped(&text::plan_line(result))
    )?;
    write_figures(out, result)?;
    if result.requests.completed > 0 {
        write_latencies(out, result)?;
    }
    write_thresholds(out, result)?;
    write_errors(out, result)?;
    for note in &result.notes {
        writeln!(out, "> {}\n", escaped(note))?;
    }
    let machine = &result.environment;
    writeln!(
        out,
        "<sub>ringtide {} · {} · {} · kernel {}</sub>",
        escaped(&result.tool.version),
        escaped(&machine.cpu),
        text::plural(machine.cores as u64, "core"),
        escaped(&machine.kernel)
    )
}

fn write_figures(out: &mut String, result: &RunResult) -> fmt::Result {
    let requests = &result.requests;
    writeln!(out, "| | |\n|---|---|")?;
    writeln!(
        out,
        "| Requests/s | **{}** ({} completed in {}) |",
        show_rate(result.requests_per_second),
        show_count(requests.completed),
        show_time_ns(result.duration_s * 1e9)
    )?;
    if let Some(success) = result.success {
        writeln!(out, "| Success | {} |", text::show_percent(success))?;
    }
    writeln!(out, "| Failed | {} |", show_count(requests.failed))?;
    writeln!(out, "| Unanswered at the end | {} |", show_count(requests.censored))?;
    writeln!(out, "| Received | {}/s |\n", show_bytes(result.bytes_received_per_second))
}

fn write_latencies(out: &mut String, result: &RunResult) -> fmt::Result {
    let latency = &result.latency_us;
    let mut rows = vec![("response", &latency.response), ("service", &latency.service)];
    if result.plan.mode == LoopName::Open {
        rows.extend([("queue wait", &latency.queue_wait), ("schedule lag", &latency.schedule_lag)]);
    }
    let figures = [
        ("mean", Figure::Mean),
        ("p50", Figure::P50),
        ("p90", Figure::P90),
        ("p99", Figure::P99),
        ("p99.9", Figure::P999),
        ("max", Figure::Max),
    ];
    writeln!(out, "| Latency | {} |", figures.map(|(name, _)| name).join(" | "))?;
    writeln!(out, "|---|{}", "---:|".repeat(figures.len()))?;
    for (name, summary) in rows {
        let times = figures.map(|(_, figure)| steps::time(summary, figure));
        writeln!(out, "| {name} | {} |", times.join(" | "))?;
    }
    writeln!(out)
}

fn write_thresholds(out: &mut String, result: &RunResult) -> fmt::Result {
    if result.thresholds.is_empty() {
        return Ok(());
    }
    writeln!(out, "| Threshold | Observed | |\n|---|---:|---|")?;
    for outcome in &result.thresholds {
        let mark = if outcome.met { "✅ held" } else { "❌ missed" };
        let observed = escaped(&text::observed(result, outcome));
        writeln!(out, "| {} | {observed} | {mark} |", code(&outcome.expression))?;
    }
    writeln!(out)
}

fn write_errors(out: &mut String, result: &RunResult) -> fmt::Result {
    let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].map(|class| (class, result.of_class(class)));
    let seen: Vec<String> = classes
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(class, count)| format!("{class}: {}", show_count(*count)))
        .collect();
    if !seen.is_empty() {
        writeln!(out, "Status: {}\n", seen.join(" · "))?;
    }
    let kinds: Vec<ErrorKind> =
        ErrorKind::ALL.into_iter().filter(|kind| result.errors.count(*kind) > 0).collect();
    if kinds.is_empty() {
        return Ok(());
    }
    writeln!(out, "| Error | Count | |\n|---|---:|---|")?;
    for kind in kinds {
        let example = result.error_examples.get(kind.name()).map_or(kind.description(), String::as_str);
        let count = show_count(result.errors.count(kind));
        writeln!(out, "| {} | {count} | {} |", kind.name(), escaped(example))?;
    }
    writeln!(out)
}

/// Text that Markdown and HTML take as it is, in one line.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '@' | '$' => {
                out.push('\\');
                out.push(letter);
            }
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}

/// Text in the type of code. HTML, as a bar inside of Markdown's own marks would end the cell of a table.
fn code(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let text: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let mut out = String::from("<code>");
    for letter in text.chars() {
        match letter {
            '|' | '`' | '*' | '_' | '[' | ']' | '~' | '\\' | '@' | '$' => {
                let _ = write!(out, "&#{};", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
    out.push_str("</code>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_begins_with_the_verdict() {
        assert_eq!(render(&crate::result::tests::example()), include_str!("snapshots/summary.md"));
    }

    #[test]
    fn nothing_in_it_is_taken_for_markup() {
        let mut result = crate::result::tests::example();
        result.plan.url = "http://h/a|b`c`<script>_d_".to_owned();
        result.error_examples.insert("reset".to_owned(), "a|b <img> `c`\nd".to_owned());
        result.verdict.reasons = vec!["<b> | *x*".to_owned()];
        let page = render(&result);
        for piece in ["<script>", "<img>", "a|b", "*x*", "`c`"] {
            assert!(!page.replace("\\*x\\*", "").contains(piece), "`{piece}` in {page}");
        }
        assert!(
            page.contains("<code>GET http://h/a&#124;b&#96;c&#96;&lt;script&gt;&#95;d&#95;</code>"),
            "{page}"
        );
        for line in page.lines().filter(|line| line.starts_with('|')) {
            assert!(line.ends_with('|'), "{line}");
        }
    }

    #[test]
    fn a_good_run_is_said_to_be_one() {
        let mut result = crate::result::tests::example();
        result.verdict.valid = Some(true);
        result.verdict.reasons.clear();
        result.thresholds.truncate(1);
        assert!(
            render(&result).starts_with("## ✅ Verdict: valid · 1 threshold held\n\n<code>GET http"),
            "{}",
            render(&result)
        );
        result.thresholds.clear();
        result.verdict.valid = None;
        result.verdict.reasons = vec!["too short".to_owned()];
        assert!(
            render(&result).starts_with("## ❌ Verdict: none\n\n- too short\n\n<code>"),
            "{}",
            render(&result)
        );
    }
}
