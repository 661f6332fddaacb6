//! The flags that the tables of the guide name.

use std::collections::BTreeSet;
use std::process::Command;

use regex::Regex;

use crate::pages;

/// Every flag of every command, such as `-c` and `--connections`.
pub(crate) fn known() -> BTreeSet<String> {
    let help = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_ringtide")).args(words).arg("--help").output();
        String::from_utf8(output.expect("the binary starts").stdout).expect("UTF-8")
    };
    let flag = Regex::new(r"(?m)^ {2,6}(-\w)?(?:, )?(--[a-z0-9-]+)?|\[alias: (-\w)\]").expect("a pattern");
    let mut all = BTreeSet::new();
    for command in pages::commands_of(&help(&[])) {
        for found in flag.captures_iter(&help(&[&command])) {
            all.extend(found.iter().skip(1).flatten().map(|flag| flag.as_str().to_owned()));
        }
    }
    assert!(all.contains("--rate") && all.contains("-q") && all.contains("--slo"), "{all:?}");
    all
}

/// The flags in columns of tables that are headed `ringtide` or `flag`, with their lines.
pub(crate) fn named_in_tables(text: &str) -> Vec<(usize, String)> {
    let code = Regex::new(r"`([^`]+)`").expect("a pattern");
    let mut column = None;
    let mut all = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if !line.starts_with('|') {
            column = None;
            continue;
        }
        // A bar inside of a cell is written with a backslash.
        let line = line.replace("\\|", "/");
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        match column {
            None => column = Some(cells.iter().position(|cell| ["ringtide", "flag"].contains(cell))),
            Some(Some(column)) => {
                let cell = cells.get(column).copied().unwrap_or_default();
                for found in code.captures_iter(cell) {
                    let words = found[1].split_whitespace().filter(|word| word.starts_with('-'));
                    let names = words.filter_map(|word| word.split('=').next());
                    all.extend(names.filter(|name| *name != "-").map(|name| (index + 1, name.to_owned())));
                }
            }
            Some(None) => {}
        }
    }
    all
}

#[test]
fn flags_of_the_right_column_are_found() {
    let table = "| wrk | ringtide |\n|---|---|\n| `-x` | `-c 5`, not `--http2` |\n\n| a | b |\n|---|---|\n| `-y` | `-z` |\n";
    assert_eq!(named_in_tables(table), [(3, "-c".to_owned()), (3, "--http2".to_owned())]);
}
