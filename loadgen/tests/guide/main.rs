//! The guide, the README and the examples of `--help`: every command in them runs, every page is listed, every link leads
//! somewhere. `shortened` says how a command differs from what the page shows.

#[path = "../run/certificates.rs"]
mod certificates;
mod commands;
#[expect(dead_code, reason = "pages bring their own way to write files")]
#[path = "../run/files.rs"]
mod files;
mod flags;
mod links;
mod pages;
mod running;
mod servers;
mod shortened;

use std::path::Path;

use commands::Shown;
use pages::{GUIDE, Page};

/// Runs every command of every page. A page says which exit code a command has, if that is not 0.
#[test]
fn every_command_runs() {
    let mut pages = pages::guide();
    pages.push(Page::read(&Path::new(GUIDE).join("../../README.md")));
    pages.extend(pages::help());
    for page in &pages {
        assert!(
            page.commands.iter().any(Shown::is_ours) || pages::is_without_commands(&page.name),
            "{} has no command of ringtide",
            page.name
        );
    }
    let failures = running::run(&pages);
    assert!(failures.is_empty(), "{} commands failed:\n\n{}", failures.len(), failures.join("\n\n"));
}

/// The right column of the pages for users of other tools names flags of `ringtide`.
#[test]
fn every_flag_that_a_table_names_exists() {
    let known = flags::known();
    for page in pages::guide() {
        for (line, flag) in flags::named_in_tables(&page.text) {
            assert!(known.contains(&flag), "{}:{line} names {flag}, which no command has", page.name);
        }
    }
}

#[test]
fn the_summary_lists_every_page() {
    let listed = links::of_summary();
    let mut there: Vec<String> = pages::names();
    there.sort();
    let mut sorted = listed.clone();
    sorted.sort();
    assert_eq!(sorted, there, "loadgen/guide/SUMMARY.md lists each page once, and nothing else");
}

#[test]
fn every_link_leads_somewhere() {
    let missing = links::that_lead_nowhere();
    assert!(missing.is_empty(), "{missing:#?}");
}
