//! A terminal for a test (a pseudo-terminal, pty(7)) with a command in its foreground, and what stands on its screen.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use rustix::termios::{Winsize, tcsetwinsize};

/// Everything in these tests takes less than a tenth of this.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct OnTerminal {
    child: Child,
    keyboard: File,
    /// Keeps the terminal, whose modes can be read at both ends.
    terminal: OwnedFd,
    seen: Arc<Mutex<Seen>>,
}

struct Seen {
    parser: vt100::Parser,
    /// All that was ever written.
    bytes: Vec<u8>,
}

impl OnTerminal {
    /// Starts `ringtide WORDS` on a terminal of this size.
    pub(crate) fn start(columns: u16, rows: u16, words: &[&str], environment: &[(&str, &str)]) -> Self {
        let pair = openpty(None, None).expect("there are terminals");
        tcsetwinsize(&pair.master, size(columns, rows)).expect("it is a terminal");
        let end = || Stdio::from(pair.slave.try_clone().expect("there are descriptors"));
        // As a shell does, it makes the terminal the one that signals come from.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(env!("CARGO_BIN_EXE_ringtide")).args(words);
        command.env("TERM", "xterm").env_remove("NO_COLOR").envs(environment.iter().copied());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("setsid is there");
        let parser = vt100::Parser::new(not_0(rows), not_0(columns), 0);
        let seen = Arc::new(Mutex::new(Seen { parser, bytes: Vec::new() }));
        let mut screen = File::from(pair.master.try_clone().expect("there are descriptors"));
        thread::spawn({
            let seen = Arc::clone(&seen);
            move || {
                let mut bytes = [0; 4096];
                // It ends when nobody has the other end any more.
                while let Ok(size @ 1..) = screen.read(&mut bytes) {
                    let mut seen = seen.lock().expect("no panic");
                    seen.parser.process(&bytes[..size]);
                    seen.bytes.extend(&bytes[..size]);
                }
            }
        });
        Self { child, keyboard: File::from(pair.master), terminal: pair.slave, seen }
    }

    /// Types `keys`.
    pub(crate) fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal listens");
    }

    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        self.seen.lock().expect("no panic").parser.screen_mut().set_size(not_0(rows), not_0(columns));
        tcsetwinsize(&self.keyboard, size(columns, rows)).expect("it is a terminal");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("it runs");
    }

    /// What stands on the screen.
    pub(crate) fn contents(&self) -> String {
        self.seen.lock().expect("no panic").parser.screen().contents()
    }

    /// All bytes that were ever written, as text.
    pub(crate) fn written(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().expect("no panic").bytes).into_owned()
    }

    /// Whether a program has the screen for itself.
    pub(crate) fn is_taken(&self) -> bool {
        self.seen.lock().expect("no panic").parser.screen().alternate_screen()
    }

    /// Whether keys are shown, and come in lines: the modes as the terminal was found.
    pub(crate) fn has_usual_modes(&self) -> bool {
        let modes = tcgetattr(&self.terminal).expect("it is a terminal").local_flags;
        modes.contains(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG)
    }

    /// Whether the command has been suspended.
    pub(crate) fn is_suspended(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
    }

    /// Waits until `holds`.
    #[track_caller]
    pub(crate) fn wait_until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            assert!(begun.elapsed() < PATIENCE, "{what} does not come:\n{}", self.contents());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until this stands on the screen.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        self.wait_until(text, |this| this.contents().contains(text));
    }

    /// Waits until the command has ended, and returns its exit code.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it has been started") {
                return status.code();
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end:\n{}", self.contents());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        // A test that failed leaves nothing behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn not_0(size: u16) -> NonZeroU16 {
    NonZeroU16::new(size).expect("a screen has a size")
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}
