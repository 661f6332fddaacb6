//! The outcome of a search for a rate as text, for people.

use std::fmt::{self, Write as _};

use super::Style;
use crate::decide::{FindResult, LimitName, Probe};
use crate::units::{show_rate, show_time_ns, show_typed_rate, three_digits};

/// Where values start.
const LABEL: usize = 12;

/// The report of a search.
pub fn render(found: &FindResult, style: Style) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_report(&mut text, found, style);
    text
}

fn write_report(out: &mut String, found: &FindResult, style: Style) -> fmt::Result {
    writeln!(out, "{}", style.bold(&found.url))?;
    writeln!(out, "{} probes · objective {} · seed {}\n", found.probes.len(), found.slo, found.seed)?;
    if !found.probes.is_empty() {
        writeln!(out, "{:>12}{:>12}{:>12}{:>10}   objective", "rate", "p50", "p99", "errors")?;
        let mut curve: Vec<&Probe> = found.probes.iter().collect();
        curve.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        for probe in curve {
            writeln!(out, "{}", line(probe, style))?;
        }
        writeln!(out)?;
    }
    let answer = answer(found);
    let answer = if found.rate > 0.0 { style.good(&answer) } else { style.bad(&answer) };
    writeln!(out, "{:LABEL$}{answer}", "Rate")?;
    writeln!(out, "{:LABEL$}{}", "Limit", style.wrapped(limit(found), LABEL))?;
    for (index, note) in found.notes.iter().enumerate() {
        let label = if index == 0 { "Note" } else { "" };
        writeln!(out, "{label:LABEL$}- {}", style.wrapped(note, LABEL + 2))?;
    }
    Ok(())
}

/// A probe in a line; without its rate, which comes first, it is also what progress says.
pub fn line(probe: &Probe, style: Style) -> String {
    let time = |us: Option<f64>| {
        let bound = if probe.kept_up { "" } else { "≥ " };
        us.map_or_else(|| "–".to_owned(), |us| format!("{bound}{}", show_time_ns(us * 1e3)))
    };
    let mark = if !probe.valid {
        "? not valid".to_owned()
    } else if probe.met {
        style.good("✓ met")
    } else if !probe.kept_up {
        style.bad("✗ did not keep up")
    } else {
        let missed: Vec<&str> = probe
            .conditions
            .iter()
            .filter(|condition| !condition.met)
            .map(|condition| condition.expression.trim())
            .collect();
        style.bad(&format!("✗ missed {}", missed.join(", ")))
    };
    format!(
        "{:>12}{:>12}{:>12}{:>10}   {mark}",
        show_rate(probe.rate),
        time(probe.p50_us),
        time(probe.p99_us),
        format!("{} %", three_digits(probe.errors * 100.0))
    )
}

fn answer(found: &FindResult) -> String {
    match (found.rate > 0.0, found.limited_by) {
        (true, LimitName::Interrupt) => {
            format!("{}/s holds the objective so far", show_typed_rate(found.rate))
        }
        (true, _) => format!("{}/s is the highest that holds the objective", show_typed_rate(found.rate)),
        (false, LimitName::Generator) => "nothing is known: no probe at the lowest rate is valid".to_owned(),
        (false, LimitName::Interrupt) => "nothing was found yet".to_owned(),
        (false, _) => "not even the lowest rate holds the objective".to_owned(),
    }
}

fn limit(found: &FindResult) -> &'static str {
    match found.limited_by {
        LimitName::Objective if found.rate > 0.0 => "the server: at most 2 % above, the objective is missed",
        LimitName::Objective => "the server misses it; a lower --from may hold it",
        LimitName::Generator if found.rate > 0.0 => {
            "the generator: above, it cannot judge the server; give it more cores (-t), or cores of its own (--cpus)"
        }
        LimitName::Generator => {
            "the generator: it cannot judge the server even there; give it cores of its own (--cpus)"
        }
        LimitName::To => "--to: the server may hold the objective at higher rates",
        LimitName::Interrupt => "the search was interrupted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::{Found, Limit};
    use crate::result::tests::example;

    fn probe(rate: f64, change: impl FnOnce(&mut Probe)) -> Probe {
        let mut probe = Probe::of(rate, example());
        (probe.valid, probe.met, probe.errors, probe.success) = (true, true, 0.0, Some(1.0));
        change(&mut probe);
        probe
    }

    #[test]
    fn a_search_reads_so() {
        let probes = vec![
            probe(100.0, |_| ()),
            probe(200.0, |probe| (probe.met, probe.errors) = (false, 0.003)),
            probe(141.0, |probe| (probe.met, probe.kept_up) = (false, false)),
            probe(119.0, |probe| {
                (probe.met, probe.valid) = (false, false);
                probe.reasons = vec!["the generator sent requests late".to_owned()];
            }),
        ];
        let mut found = FindResult::new(Found { rate: Some(100.0), limit: Limit::Objective }, probes);
        (found.url, found.slo) = ("http://127.0.0.1:8080/".to_owned(), "p99<10ms,errors<0.1%".to_owned());
        assert_eq!(render(&found, Style::PLAIN), include_str!("snapshots/search.txt"));
        for line in render(&found, Style::for_terminal(60)).lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn each_end_says_what_it_means() {
        let says = |rate, limit| render(&FindResult::new(Found { rate, limit }, Vec::new()), Style::PLAIN);
        for (rate, limit, words) in [
            (None, Limit::Objective, "a lower --from may hold it"),
            (None, Limit::Generator, "cannot judge the server even there"),
            (Some(5.0), Limit::Generator, "above, it cannot judge"),
            (Some(5.0), Limit::Highest, "--to: the server may hold"),
            (Some(5.0), Limit::Unfinished, "5/s holds the objective so far"),
            (None, Limit::Unfinished, "nothing was found yet"),
        ] {
            let text = says(rate, limit);
            assert!(text.contains(words), "{text}");
        }
    }
}
