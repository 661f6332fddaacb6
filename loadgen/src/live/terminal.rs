//! The terminal while the live view has it. Whatever ends the process, it is given back as it was found: the end of the
//! run, an error, a panic, a signal.
//!
//! Ctrl-C, Ctrl-Z and Ctrl-\ stay signals, for all processes in the foreground, as without a live view.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};
use signal_hook::consts::{SIGHUP, SIGQUIT, SIGTSTP};
use signal_hook::iterator::{Handle, Signals};

/// The screen is ours. Changes only while standard output is locked.
static IS_ENTERED: AtomicBool = AtomicBool::new(false);
/// There is no live view, or none any more.
static IS_OVER: AtomicBool = AtomicBool::new(true);
/// The process is about to be suspended, or was.
static IS_SUSPENDED: AtomicBool = AtomicBool::new(false);
/// Where keys come from, with the modes in which it was found.
static KEYS: Mutex<Option<Keys>> = Mutex::new(None);
/// What the user is told while the screen is ours. It is printed below when that is left.
static NOTICES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Keys {
    terminal: OwnedFd,
    found: Termios,
}

/// Whether this process may draw on its terminal: standard output is one that can move its cursor, and the process is in
/// its foreground.
pub(super) fn is_usable() -> bool {
    let is_plain = std::env::var_os("TERM").is_none_or(|name| name.is_empty() || name == "dumb");
    io::stdout().is_terminal() && !is_plain && is_in_foreground()
}

/// Shows a line to the user: at once, or when the live view has left the screen.
pub fn tell(notice: &str) {
    let mut notices = locked(&NOTICES);
    if IS_ENTERED.load(SeqCst) {
        notices.push(notice.to_owned());
    } else {
        eprintln!("ringtide: {notice}");
    }
}

/// What has been told while the screen is ours.
pub(super) fn notices() -> Vec<String> {
    locked(&NOTICES).clone()
}

/// Gives the terminal back for good. May be called at any time, from any thread.
pub fn restore() {
    IS_OVER.store(true, SeqCst);
    leave();
}

/// Has the terminal until it is dropped.
pub(super) struct Screen {
    signals: Option<Handle>,
}

impl Screen {
    /// Takes the screen, and watches all ways in which the process may end.
    pub(super) fn take() -> Self {
        let found = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            found(panic);
        }));
        IS_OVER.store(false, SeqCst);
        enter();
        Self { signals: watch_signals().ok() }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
        if let Some(signals) = &self.signals {
            signals.close();
        }
    }
}

/// Takes the screen, unless that is forbidden, was done, or the terminal is another process's now. Returns whether it was.
pub(super) fn enter() -> bool {
    let mut stdout = io::stdout().lock();
    let is_forbidden = IS_OVER.load(SeqCst) || IS_SUSPENDED.load(SeqCst);
    if is_forbidden || IS_ENTERED.load(SeqCst) || !is_in_foreground() {
        return false;
    }
    *locked(&KEYS) = listen_to_keys();
    IS_ENTERED.store(true, SeqCst);
    // If the terminal is gone, there is nobody to show anything to.
    let _ = execute!(stdout, EnterAlternateScreen, Hide);
    true
}

/// Whether the screen is ours at this moment. It stays so while standard output is locked.
pub(super) fn is_entered() -> bool {
    IS_ENTERED.load(SeqCst)
}

/// Whether keys can be read.
pub(super) fn has_keys() -> bool {
    is_entered() && locked(&KEYS).is_some()
}

fn leave() {
    // A thread may lock standard output again, so a panic within a drawing gets here, too.
    let mut stdout = io::stdout().lock();
    if !IS_ENTERED.swap(false, SeqCst) {
        return;
    }
    let _ = execute!(stdout, Show, LeaveAlternateScreen);
    if let Some(Keys { terminal, found }) = locked(&KEYS).take() {
        let _ = tcsetattr(&terminal, SetArg::TCSAFLUSH, &found);
    }
    for notice in locked(&NOTICES).drain(..) {
        eprintln!("ringtide: {notice}");
    }
}

/// Lets keys come one by one and unseen. Keys come from standard input, or from the terminal if that is something else.
fn listen_to_keys() -> Option<Keys> {
    let terminal = if io::stdin().is_terminal() {
        io::stdin().as_fd().try_clone_to_owned().ok()?
    } else {
        OwnedFd::from(File::open("/dev/tty").ok()?)
    };
    let found = tcgetattr(&terminal).ok()?;
    let mut modes = found.clone();
    modes.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
    modes.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
    modes.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
    tcsetattr(&terminal, SetArg::TCSANOW, &modes).ok()?;
    Some(Keys { terminal, found })
}

/// Whether the terminal of standard output listens to this process. A process in the background that changes its terminal
/// is stopped by the kernel (tcsetattr(3)).
fn is_in_foreground() -> bool {
    // If it is not the terminal of this session, it stops nobody.
    tcgetpgrp(io::stdout()).map_or(true, |group| group == getpgrp())
}

/// Gives the terminal back before a signal ends or suspends the process. The signals that end a run are not among them.
fn watch_signals() -> io::Result<Handle> {
    let mut signals = Signals::new([SIGTSTP, SIGHUP, SIGQUIT])?;
    let handle = signals.handle();
    let watch = move || {
        for signal in signals.forever() {
            IS_SUSPENDED.store(true, SeqCst);
            leave();
            // Returns if the signal only suspended the process, and that goes on.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
            IS_SUSPENDED.store(false, SeqCst);
        }
    };
    thread::Builder::new().name("terminal".to_owned()).spawn(watch)?;
    Ok(handle)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in them is whole at any time.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
