//! An example as a process: its arguments, its lines and its end.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Nothing that is waited for takes this long.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A running example. Dropping it kills it.
pub(crate) struct Example {
    name: String,
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
}

impl Example {
    pub(crate) fn start(name: &str, arguments: &[impl AsRef<OsStr>]) -> Self {
        let test = std::env::current_exe().expect("this program has a path");
        // target/PROFILE/deps/THIS and target/PROFILE/examples/NAME
        let program = test.ancestors().nth(2).expect("cargo's folders").join("examples").join(name);
        let child = Command::new(&program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.unwrap_or_else(|error| {
            panic!("{}: {error} (`cargo test -p ringtide-examples` builds it)", program.display())
        });
        let out = lines_of(child.stdout.take().expect("it is piped"));
        let err = lines_of(child.stderr.take().expect("it is piped"));
        Self { name: name.to_owned(), child, out, err }
    }

    /// Starts a server, and returns it with the address that it prints.
    pub(crate) fn serve(name: &str, arguments: &[&str]) -> (Self, String) {
        let server = Self::start(name, arguments);
        let line = server.line();
        let address = line.strip_prefix("listening at ").unwrap_or_else(|| panic!("{name}: {line}"));
        (server, address.to_owned())
    }

    /// The next line on standard output.
    pub(crate) fn line(&self) -> String {
        self.next_of(&self.out).unwrap_or_else(|| {
            panic!("{} has ended its output; errors: {:?}", self.name, self.err.iter().collect::<Vec<_>>())
        })
    }

    /// The next line on standard error.
    pub(crate) fn error_line(&self) -> String {
        self.next_of(&self.err).unwrap_or_else(|| panic!("{} has ended without an error", self.name))
    }

    /// All further lines on standard output, up to its end.
    pub(crate) fn rest(&self) -> Vec<String> {
        std::iter::from_fn(|| self.next_of(&self.out)).collect()
    }

    pub(crate) fn type_line(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("it is open");
        writeln!(stdin, "{line}").expect("it reads its input");
    }

    pub(crate) fn end_input(&mut self) {
        self.child.stdin = None;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("it is running");
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().expect("it is a child of this process") {
                return status;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("{} does not end", self.name);
    }

    fn next_of(&self, lines: &Receiver<String>) -> Option<String> {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("{} prints nothing", self.name),
        }
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // Both fail if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines_of(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}
