//! The pages: where they are, and the commands in them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::commands::{self, Shown};

/// The folder of the guide.
pub(crate) const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/guide");

/// A page of the guide, the README, or the help of a command.
pub(crate) struct Page {
    /// As a failure names it.
    pub(crate) name: String,
    /// All of it.
    pub(crate) text: String,
    /// The commands in it, in their order.
    pub(crate) commands: Vec<Shown>,
    /// Blocks with a file name: the name, and what is in the file.
    pub(crate) files: Vec<(String, String)>,
}

impl Page {
    pub(crate) fn read(path: &Path) -> Self {
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (commands, files) = commands::of_markdown(&text);
        Self { name, text, commands, files }
    }
}

/// The names of all Markdown files of the guide but its list of pages.
pub(crate) fn names() -> Vec<String> {
    let entries = fs::read_dir(GUIDE).expect("the guide is there");
    let names = entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned());
    names.filter(|name| has_ending(name, "md") && name != "SUMMARY.md").collect()
}

/// Returns whether a file's name ends so.
pub(crate) fn has_ending(name: &str, ending: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found == ending)
}

/// All pages of the guide.
pub(crate) fn guide() -> Vec<Page> {
    names().into_iter().map(|name| Page::read(&Path::new(GUIDE).join(name))).collect()
}

/// Pages with figures or Rust only.
pub(crate) fn is_without_commands(name: &str) -> bool {
    ["benchmarks.md", "library.md"].contains(&name)
}

/// The help of the program and of each of its commands that has examples.
pub(crate) fn help() -> Vec<Page> {
    let mut pages = vec![help_of(&[])];
    for command in commands_of(&pages[0].text) {
        let page = help_of(&[&command]);
        if page.text.contains("\nExample") {
            assert!(!page.commands.is_empty(), "{}: no example was found:\n{}", page.name, page.text);
            pages.push(page);
        }
    }
    assert!(pages.len() > 4, "the help lists commands, and most have examples");
    pages
}

fn help_of(words: &[&str]) -> Page {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringtide"));
    let output = command.args(words).arg("--help").stdin(Stdio::null()).output().expect("the binary starts");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let commands = commands::of_help(&text);
    let name = [&["ringtide"], words, &["--help"]].concat().join(" ");
    Page { name, text, commands, files: Vec::new() }
}

/// The names below `Commands:`.
pub(crate) fn commands_of(help: &str) -> Vec<String> {
    let after = help.split_once("Commands:\n").expect("the help lists the commands").1;
    let lines = after.lines().take_while(|line| !line.is_empty());
    lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}
