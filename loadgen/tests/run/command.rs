//! Runs the binary and parses its report. A time limit makes a hanging run fail its test.

use std::fmt;
use std::io::{Read, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ringtide::runtime::DriverChoice;
use serde_json::Value;

/// Every run in these tests takes less than a tenth of this.
const PATIENCE: Duration = Duration::from_mins(1);

/// Returns whether to test on io_uring. If io_uring is unavailable, the test fails, so that a skipped test does not
/// look like a passed one. `RINGTIDE_WITHOUT_IO_URING=1` skips it on purpose.
pub(crate) fn is_io_uring_usable() -> bool {
    static SAID: Once = Once::new();
    let Err(reason) = DriverChoice::IoUring.resolve() else { return true };
    let known = std::env::var_os("RINGTIDE_WITHOUT_IO_URING").is_some_and(|value| value == "1");
    assert!(known, "{reason}. RINGTIDE_WITHOUT_IO_URING=1 leaves its tests out.");
    SAID.call_once(|| not_checked(&format!("`run` on io_uring (RINGTIDE_WITHOUT_IO_URING=1): {reason}")));
    false
}

/// Prints what cannot be tested on this machine. It writes to standard error directly, because the harness hides the
/// output of a passing test.
pub(crate) fn not_checked(what: &str) {
    let _ = std::io::stderr().write_all(format!("NOT CHECKED: {what}\n").as_bytes());
}

/// A running command.
pub(crate) struct Running {
    child: Child,
    /// Receives everything that the child writes to the pipe, at its end.
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    words: String,
}

/// A command that has ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    words: String,
}

/// Starts `ringtide run URL --driver DRIVER FLAGS`.
pub(crate) fn begin(driver: &str, url: &str, flags: &[&str]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringtide"));
    command.args(["run", url, "--driver", driver]).args(flags);
    begin_command(command)
}

/// Starts `ringtide run --driver DRIVER WORDS`.
pub(crate) fn begin_bare(driver: &str, words: &[&str]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringtide"));
    command.args(["run", "--driver", driver]).args(words);
    begin_command(command)
}

/// Runs `ringtide run URL --driver DRIVER FLAGS` to its end.
pub(crate) fn run(driver: &str, url: &str, flags: &[&str]) -> Ended {
    begin(driver, url, flags).wait()
}

/// Like `run` with `--format json`. The run must succeed; returns its report.
#[track_caller]
pub(crate) fn report(driver: &str, url: &str, flags: &[&str]) -> Value {
    let mut flags = flags.to_vec();
    flags.extend(["--format", "json"]);
    run(driver, url, &flags).report(0)
}

/// Repeats a measurement up to five times, until `holds` returns true. A busy machine can disturb a single one, but wrong
/// arithmetic fails in each.
#[track_caller]
pub(crate) fn once_in_five<T: fmt::Debug>(measured: impl Fn() -> T, holds: impl Fn(&T) -> bool) -> T {
    let mut spoilt = Vec::new();
    while spoilt.len() < 5 {
        let measurement = measured();
        if holds(&measurement) {
            return measurement;
        }
        spoilt.push(measurement);
    }
    panic!("{spoilt:#?}");
}

/// Starts any command line.
pub(crate) fn begin_command(mut command: Command) -> Running {
    let words = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let stdout = read(child.stdout.take().expect("piped"));
    let stderr = read(child.stderr.take().expect("piped"));
    Running { child, stdout, stderr, words }
}

fn read(mut pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("a pipe can be read");
        let _ = sender.send(String::from_utf8(bytes).expect("UTF-8"));
    });
    receiver
}

impl Running {
    /// Interrupts the command like Ctrl-C.
    pub(crate) fn interrupt(&self) {
        self.signal(Signal::SIGINT);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("it runs");
    }

    /// Stops and continues the command like Ctrl-Z and `fg`.
    pub(crate) fn pause(&self, duration: Duration) {
        let process = Pid::from_raw(self.child.id() as i32);
        kill(process, Signal::SIGSTOP).expect("it runs");
        thread::sleep(duration);
        kill(process, Signal::SIGCONT).expect("it has not ended");
    }

    /// Waits until the command has ended.
    pub(crate) fn wait(mut self) -> Ended {
        let begun = Instant::now();
        let take = |pipe: &Receiver<String>, child: &mut Child| match pipe
            .recv_timeout(PATIENCE.saturating_sub(begun.elapsed()))
        {
            Ok(text) => text,
            Err(RecvTimeoutError::Disconnected) => panic!("{} printed what is not text", self.words),
            Err(RecvTimeoutError::Timeout) => {
                child.kill().expect("it can be killed");
                panic!("{} did not end within {PATIENCE:?}", self.words);
            }
        };
        let stdout = take(&self.stdout, &mut self.child);
        let stderr = take(&self.stderr, &mut self.child);
        let code = self.child.wait().expect("it has been started").code();
        Ended { code, stdout, stderr, words: self.words }
    }
}

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, stdout, stderr, words } = self;
        write!(f, "{words}\nended with {code:?}, and said\n{stdout}\nand as errors\n{stderr}")
    }
}

impl Ended {
    /// Checks that the command exited with `code`. Returns its JSON report.
    #[track_caller]
    pub(crate) fn report(&self, code: i32) -> Value {
        assert_eq!(self.code, Some(code), "{self:?}");
        self.any_report()
    }

    /// Returns the JSON report, whatever the command's exit code.
    #[track_caller]
    pub(crate) fn any_report(&self) -> Value {
        let report: Value =
            serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        check(&report);
        report
    }

    /// Checks that the command exited with `code`, printed no report, and printed one line that contains each of
    /// `says`.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32, says: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        let lines: Vec<&str> = self.stderr.lines().collect();
        assert!(lines.len() == 1 && lines[0].starts_with("error: "), "{self:?}");
        for piece in says {
            assert!(self.stderr.contains(piece), "it does not say `{piece}`: {self:?}");
        }
    }
}

impl Ended {
    /// The same for an error of usage, behind which is where to find help.
    #[track_caller]
    pub(crate) fn refused_with_advice(&self, code: i32, says: &[&str]) {
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), ""), "{self:?}");
        let lines: Vec<&str> = self.stderr.lines().collect();
        assert!(
            lines.len() == 3 && lines[0].starts_with("error: ") && lines[2].contains("--help"),
            "{self:?}"
        );
        for piece in says {
            assert!(lines[0].contains(piece), "it does not say `{piece}`: {self:?}");
        }
    }
}

/// Checks what must be true for every report.
#[track_caller]
fn check(report: &Value) {
    let count = |name: &str| report["requests"][name].as_u64().unwrap_or_else(|| panic!("{name}: {report}"));
    assert_eq!(
        count("scheduled"),
        count("completed") + count("failed") + count("censored"),
        "each request that was due has one end: {report}"
    );
    let sum = |object: &Value| object.as_object().expect("an object").values().map(number).sum::<u64>();
    assert_eq!(sum(&report["status"]), count("completed"), "each answer has a status: {report}");
    assert_eq!(sum(&report["errors"]), count("failed"), "each failure has a kind: {report}");
    let response = &report["latency_us"]["response"];
    let cut_short = number(&response["censored"]);
    assert_eq!(number(&response["count"]), count("completed") + cut_short, "none is dropped: {report}");
    // Connects that time out count as connect errors, and so do those that are refused, which wait for nothing.
    let least = count("censored") + number(&report["errors"]["timeout"]);
    let most = least + number(&report["errors"]["connect"]) + number(&report["errors"]["tls"]);
    assert!((least..=most).contains(&cut_short), "none is dropped: {report}");
    let connect = &report["phases_us"]["connect"];
    let opened = ["connections_opened", "connections_opened_before_start"].map(|name| number(&report[name]));
    assert_eq!(number(&connect["count"]), opened[0] + opened[1] + number(&connect["censored"]), "{report}");
    if let Some(tls) = report["tls"].as_object() {
        let ended = ["handshakes_full", "handshakes_resumed"].map(|name| number(&tls[name]));
        let tls = &report["phases_us"]["tls"];
        assert_eq!(number(&tls["count"]), ended[0] + ended[1] + number(&tls["censored"]), "{report}");
    }
    assert!(count("sent") <= count("scheduled"), "{report}");
}

/// Returns an integer of a report.
#[track_caller]
pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no whole number"))
}

/// Returns a number of a report.
#[track_caller]
pub(crate) fn float(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

impl Running {
    /// Waits until the process has a handler for SIGINT (proc(5), `SigCgt`).
    pub(crate) fn wait_until_it_catches_interrupts(&self) {
        self.wait_until("it never catches interrupts", |process| {
            let status = std::fs::read_to_string(format!("{process}/status")).expect("it runs");
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("Linux tells");
            let caught = u64::from_str_radix(caught.trim(), 16).expect("a mask");
            caught & 1 << (Signal::SIGINT as i32 - 1) != 0
        });
    }

    /// Waits until only the main thread and the signal thread are left and the main thread sleeps. By then it has
    /// joined the workers, so it is not waiting for them (proc(5), `task` and the third field of `stat`).
    pub(crate) fn wait_until_it_waits_alone(&self) {
        self.wait_until("it never waits", |process| {
            let threads = std::fs::read_dir(format!("{process}/task")).expect("it runs").count();
            let stat = std::fs::read_to_string(format!("{process}/stat")).expect("it runs");
            let state = stat.rsplit_once(") ").expect("Linux tells").1;
            threads == 2 && state.starts_with('S')
        });
    }

    fn wait_until(&self, never: &str, condition: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        let process = format!("/proc/{}", self.child.id());
        while !condition(&process) {
            assert!(begun.elapsed() < PATIENCE, "{never}");
            thread::yield_now();
        }
    }
}
