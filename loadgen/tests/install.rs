//! What comes with the command besides itself: completions, run in a real shell, and man pages.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

fn ringtide(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringtide"));
    command.args(words).stdin(Stdio::null()).output().expect("the binary starts")
}

/// What the command prints.
#[track_caller]
fn printed(words: &[&str]) -> String {
    let output = ringtide(words);
    assert_eq!(output.status.code(), Some(0), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The commands that the help lists.
fn commands() -> Vec<String> {
    let help = printed(&["--help"]);
    let (_, list) = help.split_once("Commands:\n").expect("it has them");
    let names = list.lines().map_while(|line| line.split_whitespace().next().map(str::to_owned));
    let names: Vec<_> = names.collect();
    assert!(names.iter().any(|name| name == "run") && names.iter().any(|name| name == "man"), "{help}");
    names
}

/// What bash offers when the last of these words is completed.
#[track_caller]
fn completed(words: &[&str]) -> Vec<String> {
    let script = r#"
        # It can only be called while bash completes for a person.
        compopt() { :; }
        source <("$0" completions bash) || exit
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        function_name=$(complete -p ringtide | sed 's/.*-F \([^ ]*\).*/\1/')
        "$function_name" ringtide "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        [ "${#COMPREPLY[@]}" = 0 ] || printf '%s\n' "${COMPREPLY[@]}""#;
    let mut command = Command::new("bash");
    command.args(["--norc", "-c", script, env!("CARGO_BIN_EXE_ringtide"), "ringtide"]).args(words);
    let output = command.stdin(Stdio::null()).output().expect("bash starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{words:?}: {stderr}");
    let mut offered: Vec<_> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    offered.sort();
    offered
}

#[test]
fn bash_completes_commands_flags_and_values() {
    let offered = completed(&[""]);
    for command in commands() {
        assert!(offered.contains(&command), "{command} is not in {offered:?}");
    }
    assert_eq!(completed(&["com"]), ["compare", "completions"]);
    assert_eq!(completed(&["run", "--thre"]), ["--threads", "--threshold"]);
    assert_eq!(completed(&["serve", "--ke"]), ["--key"]);
    assert_eq!(completed(&["run", "--format", ""]), ["csv", "json", "text"]);
    assert_eq!(completed(&["run", "--tls-resumption", "o"]), ["off", "on"]);
    assert_eq!(completed(&["completions", "b"]), ["bash"]);
}

#[test]
fn bash_completes_files() {
    let folder = env!("CARGO_MANIFEST_DIR");
    let start = format!("{folder}/Cargo.to");
    assert_eq!(completed(&["run", "--junit", &start]), [format!("{folder}/Cargo.toml")]);
}

#[test]
fn flags_that_a_command_refuses_are_not_offered() {
    assert!(completed(&["ab", "--scen"]).is_empty());
    assert_eq!(completed(&["run", "--scen"]), ["--scenario"]);
    assert_eq!(completed(&["find", "--url"]), ["--urls"]);
    assert!(completed(&["serve", "--until"]).is_empty());
}

#[test]
fn every_shell_has_its_script_and_another_is_refused() {
    for (shell, mark) in
        [("bash", "complete -F"), ("zsh", "#compdef ringtide"), ("fish", "complete -c ringtide")]
    {
        let script = printed(&["completions", shell]);
        assert!(script.contains(mark) && script.contains("threshold"), "{shell}: {script}");
    }
    let output = ringtide(&["completions", "tcsh"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("'tcsh'") && stderr.contains("bash, zsh, fish"), "{stderr}");
}

#[test]
fn the_manual_has_exit_codes_examples_environment_and_files() {
    let page = printed(&["man"]);
    let sections: Vec<_> = page.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
    let expected = [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "COMMANDS",
        "EXAMPLES",
        "\"EXIT STATUS\"",
        "ENVIRONMENT",
        "FILES",
    ];
    assert_eq!(sections, expected);
    for command in &commands() {
        assert!(page.contains(&format!("ringtide\\-{command}(1)")), "{command}: {page}");
    }
    for piece in ["RINGTIDE_DRIVER", "130  interrupted", "SSL_CERT_FILE", "/etc/resolv.conf"] {
        assert!(page.contains(piece), "{piece}: {page}");
    }
}

#[test]
fn the_page_of_a_command_has_all_that_its_help_has() {
    for command in &commands() {
        let help = printed(&[command, "--help"]);
        // As a reader sees it.
        let page = printed(&["man", command]).replace("\\-", "-").replace("\\*(Aq", "'").replace("\\fR", "");
        for flag in help.split_whitespace().filter(|word| word.starts_with("--")) {
            let flag = flag.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            assert!(page.contains(flag), "{command}: {flag} is not in {page}");
        }
        for (heading, section) in [("\n\nExample", "EXAMPLES"), ("\n\nExit codes:", "\"EXIT STATUS\"")] {
            assert_eq!(
                help.contains(heading),
                page.contains(&format!(".SH {section}")),
                "{command}: {heading}"
            );
        }
        assert_eq!(help.contains("[alias: -z]"), page.contains("[alias: -z]"), "{command}");
    }
    let page = printed(&["man", "run"]);
    // What groff would turn into other characters.
    assert!(!page.contains('~') && !page.contains('`') && !page.contains('^'), "{page}");
}

#[test]
fn all_pages_go_to_a_folder_that_is_made() {
    let folder = std::env::temp_dir().join(format!("ringtide-man-{}", std::process::id()));
    let deep = folder.join("share/man1");
    printed(&["man", "--dir", deep.to_str().expect("UTF-8")]);
    let names = fs::read_dir(&deep).expect("it was made").map(|entry| entry.expect("readable").file_name());
    let mut found: Vec<_> = names.map(|name| name.into_string().expect("UTF-8")).collect();
    found.sort();
    let pages = commands().into_iter().map(|command| format!("ringtide-{command}.1"));
    let mut expected: Vec<_> = pages.chain(["ringtide.1".to_owned()]).collect();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(
        fs::read_to_string(deep.join("ringtide-run.1")).expect("it is text"),
        printed(&["man", "run"])
    );
    fs::remove_dir_all(folder).expect("ours");
}

#[test]
fn a_page_that_is_not_there_or_cannot_be_written_is_named() {
    let output = ringtide(&["man", "fly"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("`fly`") && stderr.contains("run, find, ab"), "{stderr}");
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let output = ringtide(&["man", "--dir", file.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("Cargo.toml"), "{stderr}");
}
