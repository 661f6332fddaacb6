//! Runs the commands of all pages: those of a page one after the other, in a folder of its own; several pages at once.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::commands::Shown;
use crate::files::Directory;
use crate::pages::{Page, has_ending};
use crate::servers::{Ports, Servers};
use crate::shortened::shortened;

/// How many pages run at once.
const AT_ONCE: usize = 4;
/// Every command takes less than a tenth of this.
const PATIENCE: Duration = Duration::from_mins(1);
/// A busy machine can disturb a single run; a wrong command fails in each.
const ATTEMPTS: usize = 3;

/// Runs all commands. Returns a text for each that failed.
pub(crate) fn run(pages: &[Page]) -> Vec<String> {
    let servers = Servers::start();
    let result = saved_result(servers.ports());
    let next = Mutex::new(pages.iter());
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(page) = next.lock().expect("no panic").next() else { break };
                    let failed = run_page(page, &servers, &result);
                    failures.lock().expect("no panic").extend(failed);
                }
            });
        }
    });
    failures.into_inner().expect("no panic")
}

fn run_page(page: &Page, servers: &Servers, result: &str) -> Vec<String> {
    let directory = Directory::new();
    let folder = directory.path();
    servers.write_files(folder);
    let socket = Servers::at_socket(folder);
    for (name, content) in &page.files {
        // The URLs in a file are those of the page, too.
        let shown = Shown { line: 0, text: content.clone(), code: 0 };
        let content = if has_ending(name, "txt") || has_ending(name, "toml") {
            shortened(&shown, servers.ports(), folder)
        } else {
            content.clone()
        };
        fs::write(folder.join(name), content).expect("it can be written");
    }
    let mut failures = Vec::new();
    for shown in page.commands.iter().filter(|shown| shown.is_ours()) {
        let text = shortened(shown, servers.ports(), folder);
        if let Some(how) = run_one(shown, &text, folder, result) {
            failures.push(format!("{}:{}: {}\nran as: {text}\n{how}", page.name, shown.line, shown.text));
        }
    }
    socket.shutdown();
    failures
}

/// Runs a command, and returns how it failed.
fn run_one(shown: &Shown, text: &str, folder: &Path, result: &str) -> Option<String> {
    if text.starts_with("ringtide serve") {
        return serve(text, folder);
    }
    write_results(text, folder, result);
    let mut failed = None;
    for _ in 0..ATTEMPTS {
        let output = shell(text, folder);
        let code = output.status.code();
        // The generator may be the limit of a search on a busy machine.
        let is_busy = text.starts_with("ringtide find") && code == Some(4);
        // Targets are those of an optimised program on an idle machine.
        let is_slow = text.starts_with("ringtide targets") && code == Some(3);
        if code == Some(shown.code) || is_busy || is_slow {
            return None;
        }
        failed = Some(format!(
            "ended with {code:?} instead of {}:\n{}{}",
            shown.code,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    failed
}

/// A shell in the folder that finds the binary of the tests.
fn shell_command(text: &str, folder: &Path) -> Command {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_ringtide"));
    let place = binary.parent().expect("it is in a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("sh");
    command
        .args(["-c", text])
        .current_dir(folder)
        .env("PATH", format!("{}:{path}", place.display()))
        .env("GITHUB_STEP_SUMMARY", folder.join("step_summary.md"))
        .env("API_TOKEN", "secret")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs a command to its end, and ends one that hangs.
fn shell(text: &str, folder: &Path) -> Output {
    let child = shell_command(text, folder).process_group(0).spawn().expect("there is a shell");
    let group = Pid::from_raw(-(child.id() as i32));
    let (ended, has_ended) = channel::<()>();
    let watch = thread::spawn(move || {
        if has_ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            let _ = kill(group, Signal::SIGKILL);
        }
    });
    let output = child.wait_with_output().expect("it was started");
    drop(ended);
    watch.join().expect("no panic");
    output
}

/// Starts a server on a port of its choice, and stops it when it listens.
fn serve(text: &str, folder: &Path) -> Option<String> {
    let mut words: Vec<&str> = text.trim_end_matches('&').split_whitespace().collect();
    if let Some(at) = words.iter().position(|word| *word == "--addr") {
        words.drain(at..at + 2);
    }
    // `exec`, so that the signal reaches it.
    let text = format!("exec {} --addr 127.0.0.1:0", words.join(" "));
    let mut child = shell_command(&text, folder).spawn().expect("there is a shell");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("UTF-8");
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).expect("it has not been waited for");
    let output = child.wait_with_output().expect("it was started");
    let listens = line.contains("://");
    (!listens || output.status.code() != Some(0)).then(|| {
        let errors = String::from_utf8_lossy(&output.stderr);
        format!("`{text}` printed {line:?} and ended with {}: {errors}", output.status)
    })
}

/// A result of a real run, said to be valid: what is decided of it must not depend on how busy the machine is.
fn saved_result(ports: Ports) -> String {
    let folder = Directory::new();
    let text = format!(
        "ringtide run http://127.0.0.1:{}/ -n 200 -c 1 -t 1 --format json -o result.json --quiet",
        ports.plain
    );
    let output = shell(&text, folder.path());
    assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
    let result = fs::read_to_string(folder.path().join("result.json")).expect("it was written");
    let mut result: Value = serde_json::from_str(&result).expect("JSON");
    result["verdict"]["valid"] = true.into();
    result["verdict"]["reasons"] = Value::Array(Vec::new());
    result.to_string()
}

/// Writes the saved results that `compare`, `merge` and `report` read: three into each folder.
fn write_results(text: &str, folder: &Path, result: &str) {
    let mut words = text.split_whitespace().peekable();
    if words.next() != Some("ringtide")
        || !["compare", "merge", "report"].contains(words.peek().unwrap_or(&""))
    {
        return;
    }
    let mut is_value = false;
    for word in words.skip(1) {
        let is_input = !word.starts_with('-') && !is_value;
        is_value = ["-o", "--output", "--metric", "--min-effect", "--format", "--seed"].contains(&word);
        if !is_input {
            continue;
        }
        let path = folder.join(word);
        let files = if has_ending(word, "json") {
            vec![path]
        } else {
            (1..=3).map(|number| path.join(format!("{number}.json"))).collect()
        };
        for file in files {
            fs::create_dir_all(file.parent().expect("a folder")).expect("it can be made");
            fs::write(file, result).expect("it can be written");
        }
    }
}
