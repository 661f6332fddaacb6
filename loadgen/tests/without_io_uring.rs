//! Everything works where io_uring is forbidden. These tests run the binary under a seccomp filter that refuses the
//! system calls, as containers do. They are never skipped: they fail if the filter cannot be installed. Other tests
//! allow io_uring, but not the memory for its rings.
//!
//! A filter applies to a thread and everything that it starts (seccomp(2)). So a separate thread installs it, starts
//! the binary and ends.

// Other systems have no io_uring to forbid.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use ringtide::runtime::DriverChoice;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello world\n";

/// The errors of a container's profile and of a kernel without io_uring, with their numbers.
const ERRNOS: [(&str, i32); 2] =
    [("EPERM", nix::errno::Errno::EPERM as i32), ("ENOSYS", nix::errno::Errno::ENOSYS as i32)];

/// io_uring_setup, io_uring_enter, io_uring_register: the same numbers on every architecture.
const CALLS: [i64; 3] = [425, 426, 427];

/// Forbids io_uring for this thread and everything that it starts.
fn forbid_io_uring(errno: i32) {
    let architecture =
        TargetArch::try_from(std::env::consts::ARCH).expect("seccompiler knows this architecture");
    let rules: BTreeMap<_, _> = CALLS.iter().map(|call| (*call, Vec::new())).collect();
    let filter =
        SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno as u32), architecture)
            .expect("the rules are valid");
    let program: BpfProgram = filter.try_into().expect("the filter is small");
    seccompiler::apply_filter(&program).expect("this system has seccomp, and these tests need it");
    let status = fs::read_to_string("/proc/thread-self/status").expect("Linux tells");
    assert!(status.lines().any(|line| line.split_whitespace().eq(["Seccomp:", "2"])), "{status}");
}

/// Runs the binary with `words` to its end, under a filter that fails with `errno`.
fn forbidden(errno: i32, words: &[&str]) -> Output {
    thread::scope(|scope| {
        let filtered = scope.spawn(|| {
            forbid_io_uring(errno);
            ringtide(words)
        });
        filtered.join().expect("the filter is installed")
    })
}

fn ringtide(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringtide"))
        .args(words)
        // With this variable, the fallback would be the user's choice.
        .env_remove("RINGTIDE_DRIVER")
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts")
}

/// Runs the binary with `words` to its end, as a user who may lock at most `kib` KiB of memory (`RLIMIT_MEMLOCK`).
///
/// Also returns whether the run surely had that much for itself. This is so if root runs the tests: root has no limit,
/// and each run gets a user of its own. The processes of one user share the limit, and locked memory still counts for a
/// while after a process has ended.
fn with_locked_memory(kib: u32, words: &[&str]) -> (Output, bool) {
    static USERS: AtomicU32 = AtomicU32::new(0);
    // A shell lowers the limit between fork and exec, where Rust code would be unsafe; a lower limit remains. The
    // binary is passed as an open file, because that user may have no access to its directory.
    let binary = fs::File::open(env!("CARGO_BIN_EXE_ringtide")).expect("it has been built");
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "ulimit -l \"$0\" 2>/dev/null; exec /proc/self/fd/0 \"$@\"", &kib.to_string()])
        .args(words)
        .env_remove("RINGTIDE_DRIVER")
        .current_dir("/")
        .stdin(binary);
    let is_root = geteuid().is_root();
    if is_root {
        // Differs from the users of this test in another checkout, and is below the range that a container maps.
        let user = 20_000 + std::process::id() % 5_000 * 8 + USERS.fetch_add(1, Ordering::Relaxed) % 8;
        command.uid(user).gid(user);
    }
    let output = command.output().expect("root can become another user, and these tests need it");
    let (_, limit) = getrlimit(Resource::RLIMIT_MEMLOCK).expect("every process has limits");
    (output, is_root && limit >= u64::from(kib) * 1024)
}

/// Returns why forcing io_uring failed; `None` if it succeeded, because some kernels do not count rings as locked
/// memory.
fn refusal(output: &Output) -> Option<&str> {
    if output.status.success() {
        println!("nothing to fall back from: this kernel does not count rings as locked memory");
        return None;
    }
    let stderr = text(&output.stderr);
    let (_, reason) =
        stderr.split_once("io_uring is not usable here: ").unwrap_or_else(|| panic!("{output:?}"));
    let reason = reason.trim_end();
    let known = std::env::var_os("RINGTIDE_WITHOUT_IO_URING").is_some_and(|value| value == "1");
    assert!(known || reason.contains("locked memory"), "{reason}");
    Some(reason)
}

/// A server that answers every client as long as the test runs.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("there are descriptors");
            thread::spawn(move || {
                let mut bytes = Vec::new();
                let mut piece = [0; 4096];
                while let Ok(size @ 1..) = stream.read(&mut piece) {
                    bytes.extend_from_slice(&piece[..size]);
                    while let Some(end) = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                        bytes.drain(..end + 4);
                        if stream.write_all(ANSWER).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    address
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn a_run_works_on_the_fallback_and_says_why_in_one_line() {
    let url = format!("http://{}/", server());
    for (name, errno) in ERRNOS {
        for mode in [&["-c", "8", "-t", "2"][..], &["-p", "4"], &["-R", "5k"], &["--no-keepalive"]] {
            let mut words = vec!["run", &url, "-n", "200", "--format", "json"];
            words.extend(mode);
            let output = forbidden(errno, &words);
            let stderr = text(&output.stderr);
            assert!(output.status.success(), "{name}: {stderr}");
            let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
            assert_eq!(report["environment"]["driver"], "fallback", "{name}");
            assert_eq!(report["status"]["200"], 200, "{name}: {report}");
            // One line, even if several workers fell back.
            assert_eq!(stderr.lines().count(), 1, "{name}: {stderr}");
            assert!(stderr.starts_with("ringtide: io_uring is not usable here ("), "{name}: {stderr}");
            assert!(stderr.ends_with("; using the fallback driver\n"), "{name}: {stderr}");
            assert!(stderr.contains("seccomp"), "{name}: {stderr}");
        }
    }
}

#[test]
fn the_server_works_too() {
    let mut server = thread::spawn(|| {
        forbid_io_uring(nix::errno::Errno::EPERM as i32);
        Command::new(env!("CARGO_BIN_EXE_ringtide"))
            .args(["serve", "--addr", "127.0.0.1:0"])
            .env_remove("RINGTIDE_DRIVER")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts")
    })
    .join()
    .expect("the filter is installed");
    let mut line = String::new();
    BufReader::new(server.stdout.as_mut().expect("piped"))
        .read_line(&mut line)
        .expect("it says where it listens");
    let url = line.trim_end().strip_prefix("listening on ").map(|url| format!("{url}bytes/100000"));
    let url = url.unwrap_or_else(|| panic!("{line}"));
    let output = forbidden(nix::errno::Errno::EPERM as i32, &["run", &url, "-n", "200", "-c", "8"]);
    kill(Pid::from_raw(server.id() as i32), Signal::SIGTERM).expect("it runs");
    let server = server.wait_with_output().expect("it ends");
    assert!(output.status.success() && text(&output.stdout).contains("200: 200"), "{output:?}");
    let said = text(&server.stderr);
    assert_eq!(said.matches("using the fallback driver").count(), 1, "{said}");
}

#[test]
fn the_fallback_by_choice_needs_no_explanation() {
    let url = format!("http://{}/", server());
    for (name, errno) in ERRNOS {
        let output = forbidden(errno, &["run", &url, "-n", "50", "-c", "2", "--driver", "fallback"]);
        assert!(output.status.success(), "{name}: {output:?}");
        assert_eq!(text(&output.stderr), "", "{name}");
        assert!(text(&output.stdout).contains(" · fallback · "), "{name}: {output:?}");
    }
}

#[test]
fn io_uring_by_force_fails_with_the_reason() {
    let url = format!("http://{}/", server());
    for (name, errno) in ERRNOS {
        let output =
            forbidden(errno, &["run", &url, "-n", "50", "-c", "4", "-t", "2", "--driver", "io_uring"]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {stderr}");
        assert_eq!(text(&output.stdout), "", "{name}");
        assert_eq!(stderr.lines().count(), 1, "{name}: {stderr}");
        assert!(stderr.starts_with("error: io_uring is not usable here: "), "{name}: {stderr}");
        assert!(stderr.contains("seccomp"), "{name}: {stderr}");
    }
}

/// The small ring of the probe fits into the limit, but the worker's ring does not.
#[test]
fn a_ring_that_does_not_fit_into_the_locked_memory_is_a_reason_to_fall_back() {
    let url = format!("http://{}/", server());
    let run = |driver| {
        let words = ["run", &url, "-n", "100", "-c", "4", "-t", "1", "--format", "json", "--driver", driver];
        with_locked_memory(64, &words).0
    };
    let (forced, output) = (run("io_uring"), run("auto"));
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["status"]["200"], 100, "{report}");
    match refusal(&forced) {
        Some(reason) => {
            assert_eq!(report["environment"]["driver"], "fallback");
            assert_eq!(
                stderr,
                format!("ringtide: io_uring is not usable here ({reason}); using the fallback driver\n")
            );
        }
        None => assert_eq!((&report["environment"]["driver"], stderr), (&"io_uring".into(), "")),
    }
}

#[test]
fn a_report_names_both_drivers_when_the_locked_memory_does_for_some_workers() {
    let url = format!("http://{}/", server());
    let run = |driver| {
        let words = ["run", &url, "-n", "100", "-c", "4", "-t", "4", "--format", "json", "--driver", driver];
        // With pages of 4 KiB, these are 180 pages. One worker needs 55, and 35 of them first. So the workers cannot
        // all fail because of each other.
        with_locked_memory(720, &words)
    };
    let ((forced, _), (output, is_enough)) = (run("io_uring"), run("auto"));
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["status"]["200"], 100, "{report}");
    let driver = report["environment"]["driver"].as_str().expect("a string");
    match refusal(&forced) {
        Some(reason) => {
            assert_eq!(
                stderr,
                format!("ringtide: io_uring is not usable here ({reason}); using the fallback driver\n")
            );
            let is_for_some = is_enough && reason.contains("locked memory");
            assert!(driver == "fallback and io_uring" || driver == "fallback" && !is_for_some, "{driver}");
        }
        None => assert_eq!((driver, stderr), ("io_uring", "")),
    }
}

/// The workers start one after the other, so the last is the one that finds the memory taken.
#[test]
fn the_server_tells_of_a_later_worker_too() {
    let run = |driver| {
        // Standard input ends soon, and the server with it.
        let words = ["serve", "--addr", "127.0.0.1:0", "-t", "4", "--until-stdin-closes", "--driver", driver];
        with_locked_memory(720, &words).0
    };
    let (forced, output) = (run("io_uring"), run("auto"));
    assert!(output.status.success() && text(&output.stdout).starts_with("listening on "), "{output:?}");
    let told = refusal(&forced).map_or(String::new(), |reason| {
        format!("ringtide: io_uring is not usable here ({reason}); using the fallback driver\n")
    });
    assert_eq!(text(&output.stderr), told + "ringtide: 0 requests received, 0 answered\n");
}

/// Without the filter, the same command runs on io_uring.
#[test]
fn without_the_filter_io_uring_is_used() {
    if let Err(reason) = DriverChoice::IoUring.resolve()
        && std::env::var_os("RINGTIDE_WITHOUT_IO_URING").is_some_and(|value| value == "1")
    {
        // Written to standard error directly, because the harness hides the output of a passing test.
        let line =
            format!("NOT CHECKED: io_uring without a filter (RINGTIDE_WITHOUT_IO_URING=1): {reason}\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
        return;
    }
    let url = format!("http://{}/", server());
    let output = ringtide(&["run", &url, "-n", "50", "-c", "2", "--format", "json"]);
    assert_eq!(text(&output.stderr), "");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["environment"]["driver"], "io_uring");
}
