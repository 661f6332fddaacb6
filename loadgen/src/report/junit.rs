//! The thresholds of a result as JUnit XML, which the servers of continuous integration show as tests.

use std::fmt::Write as _;

use super::text;
use crate::result::{EndedBy, RunResult};

/// The document: a test case for each threshold, one for the verdict, and one for `--max-errors` if it ended the run.
/// The verdict fails only if it was required to be valid; else it is skipped.
pub fn render(result: &RunResult, require_valid: bool) -> String {
    let mut cases: Vec<(String, Outcome)> = Vec::new();
    let verdict = match (result.verdict.valid, require_valid) {
        (Some(true), _) => Outcome::Passed,
        (_, true) => Outcome::Failed(not_valid(result)),
        (_, false) => Outcome::Skipped(not_valid(result)),
    };
    cases.push(("the verdict is valid".to_owned(), verdict));
    if result.ended_by == EndedBy::MaxErrors {
        let why = text::ended_early(result).unwrap_or_default();
        cases.push(("--max-errors".to_owned(), Outcome::Failed(why)));
    }
    for threshold in &result.thresholds {
        let outcome =
            if threshold.met { Outcome::Passed } else { Outcome::Failed(text::missed(result, threshold)) };
        cases.push((threshold.expression.clone(), outcome));
    }
    let failures = cases.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Failed(_))).count();
    let skipped = cases.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Skipped(_))).count();
    let class = escaped(&format!("{} {}", result.plan.method, result.plan.url));
    let time = result.duration_s;
    let tests = cases.len();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "<testsuites name=\"ringtide\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" time=\"{time}\">\n  \
         <testsuite name=\"{class}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\" \
         time=\"{time}\">"
    );
    for (name, outcome) in cases {
        let name = escaped(&name);
        let _ = write!(out, "    <testcase classname=\"{class}\" name=\"{name}\" time=\"{time}\"");
        let _ = match outcome {
            Outcome::Passed => writeln!(out, "/>"),
            Outcome::Failed(why) => {
                let why = escaped(&why);
                writeln!(out, ">\n      <failure message=\"{why}\">{why}</failure>\n    </testcase>")
            }
            Outcome::Skipped(why) => {
                writeln!(out, ">\n      <skipped message=\"{}\"/>\n    </testcase>", escaped(&why))
            }
        };
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

fn not_valid(result: &RunResult) -> String {
    result.verdict.reasons.join("; ")
}

/// For text and for values of attributes. What XML 1.0 has no way to write (its §2.2) becomes the character for such
/// things.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' | '\n' | '\r' => {
                let _ = write!(out, "&#{};", u32::from(letter));
            }
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parser_reads_what_was_meant() {
        let mut result = crate::result::tests::example();
        result.plan.url = "http://h/?a=<b>&c=\"d\"'e'\t]]>\u{1}".to_owned();
        result.thresholds[0].met = false;
        result.thresholds[0].observed = Some(1_000_000.0);
        result.verdict.valid = Some(false);
        result.verdict.reasons = vec!["a < b".to_owned(), "c & d\nand e".to_owned()];
        for require_valid in [false, true] {
            let text = render(&result, require_valid);
            let document = roxmltree::Document::parse(&text).expect("well-formed");
            let suite = document.root_element().first_element_child().expect("a suite");
            let url = "GET http://h/?a=<b>&c=\"d\"'e'\t]]>\u{fffd}";
            assert_eq!(suite.attribute("name"), Some(url));
            let cases: Vec<_> = suite.children().filter(|node| node.has_tag_name("testcase")).collect();
            let names: Vec<_> = cases.iter().filter_map(|case| case.attribute("name")).collect();
            assert_eq!(names, ["the verdict is valid", "p99<10ms", "errors<0.1%"]);
            let of = |case: usize, tag: &str| {
                let child = cases[case].children().find(|node| node.has_tag_name(tag))?;
                child.attribute("message").map(str::to_owned)
            };
            let tag = if require_valid { "failure" } else { "skipped" };
            assert_eq!(of(0, tag).as_deref(), Some("a < b; c & d\nand e"));
            assert_eq!(of(1, "failure").as_deref(), Some("threshold missed: p99<10ms (observed 1.00 s)"));
            assert!(of(2, "failure").is_some_and(|why| why.starts_with("threshold missed: errors<0.1% (")));
            let (failed, skipped) = if require_valid { ("3", "0") } else { ("2", "1") };
            assert_eq!(
                (suite.attribute("failures"), suite.attribute("skipped")),
                (Some(failed), Some(skipped))
            );
            assert_eq!(suite.attribute("tests"), Some("3"));
        }
    }

    #[test]
    fn what_held_has_no_failures() {
        let mut result = crate::result::tests::example();
        result.verdict.valid = Some(true);
        result.thresholds.truncate(1);
        let text = render(&result, true);
        assert!(!text.contains("<failure") && !text.contains("<skipped"), "{text}");
        result.ended_by = EndedBy::MaxErrors;
        let text = render(&result, true);
        assert!(text.contains("name=\"--max-errors\"") && text.contains("failures=\"1\""), "{text}");
    }
}
