//! A comparison as text, for people.

use std::fmt::{self, Write as _};

use super::Style;
use crate::decide::{Comparison, Difference, Metric, PAIRS_MIN, RESULTS_MIN, Verdict};
use crate::units::{show_count, show_rate, show_time_ns, three_digits};

/// Where values start.
const LABEL: usize = 12;

/// The report of a comparison of the sides with these names.
pub fn render(comparison: &Comparison, names: [&str; 2], style: Style) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_report(&mut text, comparison, names, style);
    text
}

fn write_report(out: &mut String, comparison: &Comparison, names: [&str; 2], style: Style) -> fmt::Result {
    for (side, name) in ["A", "B"].into_iter().zip(names) {
        writeln!(out, "{side}  {}", style.bold(name))?;
    }
    writeln!(out, "{}\n", style.wrapped(&measured(comparison), 0))?;
    if !comparison.metrics.is_empty() {
        writeln!(out, "{:LABEL$}{:>12}{:>12}{:>12}   95 % interval", "", "A", "B", "difference")?;
        for (metric, difference) in &comparison.metrics {
            write_metric(out, *metric, difference, *metric == comparison.metric)?;
        }
        writeln!(out)?;
    }
    let verdict = style.wrapped(&verdict(comparison), LABEL);
    let verdict = match comparison.verdict {
        Verdict::Slower => style.bad(&verdict),
        Verdict::Faster => style.good(&verdict),
        Verdict::NoDifference => verdict,
    };
    writeln!(out, "{:LABEL$}{verdict}", "Verdict")?;
    if let Some(power) = power(comparison) {
        writeln!(out, "{:LABEL$}{}", "Power", style.wrapped(&power, LABEL))?;
    }
    let reasons = comparison.excluded_because.iter().map(|reason| format!("not valid: {reason}"));
    for (index, note) in comparison.notes.iter().cloned().chain(reasons).enumerate() {
        let label = if index == 0 { "Note" } else { "" };
        writeln!(out, "{label:LABEL$}- {}", style.wrapped(&note, LABEL + 2))?;
    }
    Ok(())
}

fn measured(comparison: &Comparison) -> String {
    let excluded = match comparison.excluded {
        0 => String::new(),
        1 => "; 1 more is not valid and does not count".to_owned(),
        count => format!("; {count} more are not valid and do not count"),
    };
    let Some(duration_s) = comparison.duration_s else {
        let results = comparison.results;
        return format!(
            "{} of A and {} of B{excluded}",
            count_of(results.a, "result"),
            count_of(results.b, "result")
        );
    };
    format!(
        "{} in {}, each in random order{excluded} · seed {}",
        count_of(comparison.pairs, "pair"),
        show_time_ns(duration_s * 1e9),
        comparison.seed
    )
}

fn count_of(count: usize, what: &str) -> String {
    format!("{} {what}{}", show_count(count as u64), if count == 1 { "" } else { "s" })
}

fn write_metric(out: &mut String, metric: Metric, difference: &Difference, decides: bool) -> fmt::Result {
    let show = |value: f64| match metric {
        Metric::RequestsPerSecond => show_rate(value),
        Metric::Response(_) => show_time_ns(value * 1e3),
    };
    let interval = difference
        .interval95
        .map_or_else(|| "none".to_owned(), |[low, high]| format!("{} to {} %", signed(low), signed(high)));
    writeln!(
        out,
        "{:LABEL$}{:>12}{:>12}{:>12}   {interval}{}",
        metric.label(),
        show(difference.a),
        show(difference.b),
        format!("{} %", signed(difference.difference)),
        if decides { "  decides" } else { "" }
    )
}

/// A share in percent, with its sign.
fn signed(share: f64) -> String {
    format!("{:+.1}", share * 100.0)
}

/// A share in percent.
fn percent(share: f64) -> String {
    format!("{} %", three_digits(share.abs() * 100.0))
}

/// The verdict in a sentence that begins with its word.
fn verdict(comparison: &Comparison) -> String {
    let word = comparison.verdict.name();
    let metric = comparison.metric.label();
    if comparison.by_failures {
        return format!("{word}: by its failures, see below");
    }
    let Some((difference, [low, high])) =
        comparison.deciding().and_then(|deciding| Some((deciding.difference, deciding.interval95?)))
    else {
        return if comparison.duration_s.is_some() {
            let (valid, all) = (comparison.pairs, comparison.pairs + comparison.excluded);
            format!(
                "{word} was shown, and none could be: {valid} of {all} pairs are valid, and it takes {PAIRS_MIN}"
            )
        } else {
            format!(
                "{word} was shown, and none could be: it takes {RESULTS_MIN} results on each side to tell one from \
                 chance"
            )
        };
    };
    let interval = format!("(95 % interval: {} to {} %)", signed(low), signed(high));
    if comparison.verdict != Verdict::NoDifference {
        format!("{word}: B's {metric} is {} {interval}", change(difference))
    } else if comparison.is_equivalent() {
        let least = percent(comparison.min_effect);
        format!("{word}: if B's {metric} differs at all, then by less than {least} {interval}")
    } else if low > 0.0 || high < 0.0 {
        let least = percent(comparison.min_effect);
        format!(
            "{word} that counts: B's {metric} is {}, which is less than {least} {interval}",
            change(difference)
        )
    } else {
        format!("{word} was shown in {metric} {interval}; that does not prove that there is none")
    }
}

/// `4.2 % lower`.
fn change(difference: f64) -> String {
    format!("{} {}", percent(difference), if difference < 0.0 { "lower" } else { "higher" })
}

fn power(comparison: &Comparison) -> Option<String> {
    let power = comparison.power?;
    let found = format!("a difference of {} would be found 9 times out of 10", percent(power.detectable));
    let Some(factor) = power.factor_for_min_effect.filter(|factor| *factor > 1.0) else { return Some(found) };
    let results = comparison.results.a.max(comparison.results.b) as f64 * factor;
    let results = || format!("{} results on each side", show_count(results.ceil() as u64));
    let needed = comparison
        .duration_s
        .map_or_else(results, |duration_s| format!("-d {}", rounded_up(duration_s * factor)));
    Some(format!("{found}; for one of {} it takes {needed}", percent(comparison.min_effect)))
}

/// Seconds as one would type them.
fn rounded_up(seconds: f64) -> String {
    let seconds = seconds.ceil() as u64;
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds.div_ceil(60)),
        _ => format!("{}h", seconds.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::Rules;
    use crate::report::Colour;
    use crate::result::RunResult;
    use crate::result::tests::example;

    fn result(completed: u64) -> RunResult {
        let mut result = example();
        result.requests.completed = completed;
        result.success = Some(1.0);
        result
    }

    /// Twenty pairs whose B has this part of A's requests.
    fn compared(part: f64, noise: u64) -> Comparison {
        let a = |pair: u64| 41_000 + 97 * (pair % 7);
        let b = |pair: u64| (a(pair) as f64 * part) as u64 + noise * (pair % 5);
        let pairs: Vec<_> = (0..20).map(|pair| (result(a(pair)), result(b(pair)))).collect();
        let rules = Rules { metric: Metric::RequestsPerSecond, min_effect: 0.01, seed: 7 };
        let mut comparison = Comparison::of_pairs(&pairs, rules);
        comparison.duration_s = Some(10.2);
        comparison
    }

    fn text(comparison: &Comparison) -> String {
        render(comparison, ["http://127.0.0.1:8081/", "http://127.0.0.1:8082/"], Style::PLAIN)
    }

    #[test]
    fn a_slower_side_reads_so() {
        let mut slower = compared(0.95, 50);
        slower.excluded = 2;
        slower.excluded_because = vec!["A: the generator waited 12 % of the time for its core".to_owned()];
        assert_eq!(text(&slower), include_str!("snapshots/comparison.txt"));
    }

    #[test]
    fn each_verdict_says_what_it_rests_on() {
        let says = |comparison: &Comparison| {
            let text = text(comparison);
            let at = text.find("Verdict").expect("there is one");
            text[at..].split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let same = says(&compared(1.0, 0));
        assert!(
            same.starts_with("Verdict no difference: if B's requests/s differs at all, then by less"),
            "{same}"
        );
        let noisy = says(&compared(0.9, 2_000));
        assert!(noisy.contains("no difference was shown in requests/s (95 % interval: -"), "{noisy}");
        assert!(noisy.contains("for one of 1.00 % it takes -d "), "{noisy}");
        let faster = says(&compared(1.1, 0));
        assert!(faster.starts_with("Verdict faster: B's requests/s is 10.0 % higher (95 %"), "{faster}");
        let mut small = compared(0.98, 0);
        (small.verdict, small.min_effect) = (Verdict::NoDifference, 0.019);
        let small = says(&small);
        assert!(
            small.starts_with("Verdict no difference that counts: B's requests/s is 2.00 % lower"),
            "{small}"
        );
        let mut failing = compared(1.1, 0);
        (failing.verdict, failing.by_failures) = (Verdict::Slower, true);
        assert!(says(&failing).starts_with("Verdict slower: by its failures"), "{}", says(&failing));
        let mut few = compared(1.0, 0);
        (few.pairs, few.excluded) = (2, 18);
        few.metrics[0].1.interval95 = None;
        assert!(says(&few).contains("2 of 20 pairs are valid, and it takes 6"), "{}", says(&few));
        few.duration_s = None;
        assert!(says(&few).contains("it takes 3 results on each side"), "{}", says(&few));
    }

    #[test]
    fn it_fits_every_terminal() {
        let mut comparison = compared(0.95, 50);
        comparison.notes = vec!["a note that is longer than any terminal, and goes on and on ".repeat(3)];
        let style = Style { colour: Colour::None, ..Style::for_terminal(80) };
        for line in render(&comparison, ["a", "b"], style).lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn times_are_rounded_to_what_one_types() {
        assert_eq!(["12s", "3m", "3h"], [11.2, 125.0, 7_300.0].map(rounded_up));
    }
}
