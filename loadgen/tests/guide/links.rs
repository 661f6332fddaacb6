//! The links of the guide and the README: to files, to headings, and the list of pages.

use std::fs;
use std::path::Path;

use regex::Regex;

use crate::pages::{self, GUIDE};

/// The pages that `SUMMARY.md` lists.
pub(crate) fn of_summary() -> Vec<String> {
    let text =
        fs::read_to_string(Path::new(GUIDE).join("SUMMARY.md")).expect("the guide has a list of pages");
    of(&text).into_iter().map(|(_, target)| target).collect()
}

/// Links to files that do not exist, and to headings that their page does not have.
pub(crate) fn that_lead_nowhere() -> Vec<String> {
    let root = Path::new(GUIDE).join("../..");
    let mut files: Vec<_> = pages::names().into_iter().map(|name| Path::new(GUIDE).join(name)).collect();
    files.extend([root.join("README.md"), Path::new(GUIDE).join("SUMMARY.md")]);
    let mut missing = Vec::new();
    let mut seen = 0;
    for file in files {
        let text = fs::read_to_string(&file).expect("a page");
        for (line, target) in of(&text) {
            if target.contains("://") {
                continue;
            }
            seen += 1;
            let (path, heading) = target.split_once('#').unwrap_or((&target, ""));
            let at = if path.is_empty() { file.clone() } else { file.parent().expect("a folder").join(path) };
            let is_there = at.exists()
                && (heading.is_empty()
                    || fs::read_to_string(&at)
                        .is_ok_and(|text| headings(&text).iter().any(|name| name == heading)));
            if !is_there {
                missing.push(format!("{}:{line} links to {target}", file.display()));
            }
        }
    }
    assert!(seen > 20, "only {seen} links were found");
    missing
}

/// The targets of all links outside of blocks of code, with their lines.
fn of(text: &str) -> Vec<(usize, String)> {
    let link = Regex::new(r#"(?:\]\(|src=")([^)" ]+)[)"]"#).expect("a pattern");
    let mut is_code = false;
    let mut all = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            is_code = !is_code;
        }
        if !is_code {
            all.extend(link.captures_iter(line).map(|found| (index + 1, found[1].to_owned())));
        }
    }
    all
}

/// The names of the headings, as mdBook and code hosts make them for links.
fn headings(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| line.starts_with('#'));
    lines
        .map(|line| {
            let kept = line.trim_start_matches('#').trim().to_lowercase();
            let kept = kept.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}
