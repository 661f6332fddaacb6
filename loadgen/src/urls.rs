//! The file of `--urls`: a URL on each line, optionally a tab and a weight. Empty lines and those that begin with `#` are left
//! out.

use std::fs;
use std::path::Path;

use crate::error::UsageError;
use crate::plan::{NAMES_MAX, Plan, Request};
use crate::url::Url;

/// Reads the plan of a file: one request for each URL, and for all else the defaults.
///
/// # Errors
/// When the file cannot be read, a line is not right, or the URLs do not have one origin. The message names file and line.
pub fn read(path: &Path) -> Result<Plan, UsageError> {
    let text = fs::read_to_string(path).map_err(|source| UsageError::File {
        flag: "--urls",
        path: path.to_owned(),
        source,
    })?;
    parse(&text).map_err(|Fault { line, problem }| UsageError::Line { path: path.to_owned(), line, problem })
}

/// What is wrong on a line, which counts from 1.
#[derive(Debug)]
struct Fault {
    line: usize,
    problem: String,
}

fn parse(text: &str) -> Result<Plan, Fault> {
    let mut requests = Vec::new();
    let mut first: Option<(usize, Url)> = None;
    for (index, content) in text.lines().enumerate() {
        let line = index + 1;
        let content = content.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let (url, weight) = content.split_once('\t').unwrap_or((content, ""));
        let fault = |problem: String| Fault { line, problem };
        let url = Url::parse(url.trim_end()).map_err(|error| fault(error.to_string()))?;
        let weight = parse_weight(weight.trim()).map_err(fault)?;
        match &first {
            None => first = Some((line, url.clone())),
            Some((first_line, first)) => {
                if origin(&url) != origin(first) {
                    return Err(fault(format!(
                        "`{}` is not at {}, as the URL on line {first_line} is; a run has one origin, as each of its \
                         connections belongs to one: test other origins in runs of their own",
                        url.text,
                        shown_origin(first)
                    )));
                }
            }
        }
        requests.push(Request { name: url.target.clone(), weight, ..Request::get(&url.target) });
    }
    let Some((_, first)) = first else {
        let problem = "there is no URL; write one on each line, such as http://127.0.0.1:8080/".to_owned();
        return Err(Fault { line: 1, problem });
    };
    let base = format!("{}/", shown_origin(&first));
    let mut plan = Plan::for_url(&base).map_err(|error| Fault { line: 1, problem: error.to_string() })?;
    plan.requests = requests;
    if plan.names().len() > NAMES_MAX {
        plan.requests.iter_mut().for_each(|request| request.name.clear());
    }
    Ok(plan)
}

fn parse_weight(text: &str) -> Result<f64, String> {
    if text.is_empty() {
        return Ok(1.0);
    }
    match text.parse::<f64>() {
        Ok(weight) if weight.is_finite() && weight > 0.0 => Ok(weight),
        _ => Err(format!("the weight `{text}` is not a number above 0, such as 2 or 0.5")),
    }
}

/// What connections belong to (RFC 6454 §4).
fn origin(url: &Url) -> (bool, String, u16) {
    (url.is_https, url.host.to_ascii_lowercase(), url.port)
}

fn shown_origin(url: &Url) -> String {
    format!("{}://{}", if url.is_https { "https" } else { "http" }, url.authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_url_and_may_have_a_weight() {
        let text = "# all of them\n\nhttp://h:80/a\t3\r\nhttp://h/b?c=1#d\n  http://H/\t0.5 \nhttp://h/a\n";
        let plan = parse(text).expect("valid");
        let requests: Vec<_> =
            plan.requests.iter().map(|request| (request.target.as_str(), request.weight)).collect();
        assert_eq!(requests, [("/a", 3.0), ("/b?c=1", 1.0), ("/", 0.5), ("/a", 1.0)]);
        assert_eq!(plan.url.text, "http://h:80/");
        assert_eq!(plan.names(), ["/a", "/b?c=1", "/"]);
    }

    #[test]
    fn each_fault_has_its_line() {
        for (text, line, says) in [
            ("", 1, "no URL"),
            ("# none\n", 1, "no URL"),
            ("http://h/\nh/x\n", 2, "did you mean http://h/x?"),
            ("http://h/ 3\n", 1, "` ` (character 10) must be percent-encoded"),
            ("http://h/\t0\n", 1, "weight `0`"),
            ("http://h/\t-1\n", 1, "weight `-1`"),
            ("http://h/\tinf\n", 1, "weight `inf`"),
            ("http://h/\tmuch\n", 1, "weight `much`"),
            ("\nhttp://h/\nhttps://h/\n", 3, "on line 2"),
            ("http://h/\nhttp://h:81/\n", 2, "is not at http://h, as the URL on line 1 is"),
        ] {
            let fault = parse(text).expect_err(text);
            assert!(fault.line == line && fault.problem.contains(says), "{text:?}: {fault:?}");
        }
    }

    #[test]
    fn very_many_urls_have_results_in_common() {
        let lines =
            |count| (0..count).map(|index| format!("http://h/{index}")).collect::<Vec<_>>().join("\n");
        assert_eq!(parse(&lines(NAMES_MAX)).expect("valid").names().len(), NAMES_MAX);
        let many = parse(&lines(NAMES_MAX + 1)).expect("valid");
        assert_eq!((many.requests.len(), many.names().len()), (NAMES_MAX + 1, 0));
    }
}
