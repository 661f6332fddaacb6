//! The live view of a run: figures and drawings on a terminal, brought up to date every second, and keys.
//!
//! It looks at a run from outside, through [`Run::subscribe`] and [`Run::state`]; the workers do not know whether
//! somebody looks. A thread of the lowest priority draws, a few times a second and only what has changed. It is no part of
//! the measurement, and no report is made of what it shows.

mod charts;
mod figures;
mod help;
mod history;
mod judge;
mod reserve;
mod screen;
mod table;
mod terminal;
#[cfg(test)]
mod tests;
mod threads;
mod view;

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind};
use ratatui::prelude::CrosstermBackend;

use self::figures::{Figures, Maker};
use self::reserve::Reserve;
use self::terminal::{Screen, enter, has_keys, is_entered, is_usable, notices};
pub use self::terminal::{restore, tell};
use self::view::View;
use crate::environment::lower_priority_of_this_thread;
use crate::plan::{Mode, Plan};
use crate::progress::{Joined, Phase, RunState};
use crate::report::Colour;
use crate::run::{Run, Stopper};
use crate::units::{show_count, show_typed_rate};

/// How long a key may wait, and the end of the run.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// How often it is seen whether anything has changed.
const DRAW_INTERVAL: Duration = Duration::from_millis(250);

/// How long the end of the run waits for a terminal that takes nothing. Its files are written after that.
const TERMINAL_PATIENCE: Duration = Duration::from_secs(2);

/// The bytes of a frame: room for those of a large terminal.
const FRAME_SIZE: usize = 64 * 1024;

/// Whether a live view can be shown: on a terminal that can move its cursor, and that listens to this process.
pub fn is_possible() -> bool {
    is_usable()
}

/// A live view. Dropping it gives the terminal back, and prints what was told to the user in the meantime.
#[derive(Debug)]
pub struct Live {
    /// Dropped to end the thread.
    running: Option<Sender<()>>,
    /// Hears when the thread has ended.
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    /// Shows `run`, which has not started, until the returned value is dropped.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(run: &mut Run) -> io::Result<Self> {
        let shared = Arc::new(Mutex::new(Figures::default()));
        let mut maker = Maker::new(run.plan());
        let figures = Arc::clone(&shared);
        run.subscribe(move |second| {
            let update = maker.take(second);
            update.enter(second.point, &mut locked(&figures));
        });
        let eyes = Eyes {
            title: title(run.plan()),
            watch: run.state(),
            stopper: run.stopper(),
            shared,
            figures: Figures::default(),
            reserve: Reserve::new(),
            has_colour: Colour::for_output(true) == Colour::Ansi,
            seen: Seen { phase: Phase::Connecting, joined: Joined::default(), notices: Vec::new() },
            is_paused: false,
            shows_help: false,
        };
        let (running, runs) = channel();
        let (tells, ended) = channel();
        let screen = Screen::take();
        let look = move || {
            let _tells = tells;
            lower_priority_of_this_thread();
            eyes.look(&runs);
            drop(screen);
        };
        let thread = thread::Builder::new().name("live".to_owned()).spawn(look)?;
        Ok(Self { running: Some(running), ended, thread: Some(thread) })
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.running = None;
        // A terminal that takes nothing must not keep the results of the run from being written.
        if self.ended.recv_timeout(TERMINAL_PATIENCE) == Err(RecvTimeoutError::Disconnected)
            && let Some(thread) = self.thread.take()
        {
            // A view that panicked has printed why.
            let _ = thread.join();
        }
    }
}

/// Two lines about what is run.
fn title(plan: &Plan) -> [String; 2] {
    let what = match &plan.requests[..] {
        [one] => format!("{} {}", one.method, plan.url.text),
        many => format!("{} requests to {}", show_count(many.len() as u64), plan.url.authority),
    };
    let mut details = Vec::new();
    let (least, most) = (plan.connections, plan.connections_max());
    let count = |count: usize| show_count(count as u64);
    details.push(match (least, most) {
        (1, 1) => "1 connection".to_owned(),
        (least, most) if most > least => format!("{} to {} connections", count(least), count(most)),
        _ => format!("{} connections", count(least)),
    });
    if plan.parallel > 1 {
        details.push(format!("{} in flight each", plan.parallel));
    }
    details.push(if plan.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", plan.threads) });
    details.push(match &plan.mode {
        Mode::Closed => "closed loop".to_owned(),
        Mode::Open(open) if !open.replay.is_empty() => "open loop, replay".to_owned(),
        Mode::Open(open) => match &open.stages[..] {
            [stage] if stage.rate_start.to_bits() == stage.rate_end.to_bits() => {
                format!("open loop at {}/s", show_typed_rate(stage.rate_start))
            }
            [stage] => format!(
                "open loop, {} to {}/s",
                show_typed_rate(stage.rate_start),
                show_typed_rate(stage.rate_end)
            ),
            stages => format!("open loop, {} stages", stages.len()),
        },
    });
    [what, details.join(" · ")]
}

/// What is seen apart from the figures.
struct Seen {
    phase: Phase,
    joined: Joined,
    notices: Vec<String>,
}

/// The thread that looks and draws.
struct Eyes {
    title: [String; 2],
    watch: RunState,
    stopper: Stopper,
    shared: Arc<Mutex<Figures>>,
    figures: Figures,
    reserve: Reserve,
    has_colour: bool,
    seen: Seen,
    is_paused: bool,
    shows_help: bool,
}

impl Eyes {
    /// Draws until `runs` is closed.
    fn look(mut self, runs: &Receiver<()>) {
        let Ok(mut terminal) = Terminal::new(CrosstermBackend::new(Frames::new())) else { return };
        let mut drawn = None;
        let mut next = Instant::now();
        while runs.recv_timeout(wait()) == Err(RecvTimeoutError::Timeout) {
            let is_new = enter();
            let has_key = self.take_keys();
            if is_new || has_key || Instant::now() >= next {
                next = Instant::now() + DRAW_INTERVAL;
                self.catch_up();
                let stamp = self.stamp();
                if is_new || has_key || drawn != Some(stamp) {
                    drawn = Some(stamp);
                    self.draw(&mut terminal, is_new);
                }
            }
        }
    }

    /// Does what the keys say that have been pressed. Returns whether there is something to draw anew.
    fn take_keys(&mut self) -> bool {
        let mut is_changed = false;
        while has_keys() && event::poll(Duration::ZERO).unwrap_or(false) {
            let Ok(event) = event::read() else { break };
            is_changed = true;
            let Event::Key(key) = event else { continue };
            if key.kind == KeyEventKind::Release {
                continue;
            }
            match key.code {
                KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
                KeyCode::Char('?' | 'h') => self.shows_help = !self.shows_help,
                KeyCode::Esc => self.shows_help = false,
                KeyCode::Char('q') => {
                    // If the run is over already, this changes nothing.
                    self.stopper.stop();
                    self.is_paused = false;
                }
                _ => {}
            }
        }
        is_changed
    }

    /// Takes over what is new, unless drawing is paused.
    fn catch_up(&mut self) {
        if self.is_paused {
            return;
        }
        let figures = locked(&self.shared);
        if figures.seconds != self.figures.seconds {
            self.figures.copy_from(&figures);
        }
        drop(figures);
        self.seen = Seen { phase: self.watch.phase(), joined: self.watch.joined(), notices: notices() };
    }

    /// What makes a new drawing necessary, apart from keys.
    fn stamp(&self) -> (u64, u8, u64, u64, usize) {
        let Seen { phase, joined, notices } = &self.seen;
        // The number of the phase, how far it is, and what changes more often than once a second.
        let (phase, elapsed, moving) = match phase {
            Phase::Connecting => (0, Duration::ZERO, joined.connections),
            Phase::WarmingUp(elapsed) => (1, *elapsed, 0),
            Phase::Measuring(elapsed) => (2, *elapsed, joined.failed),
            Phase::Draining(elapsed) => (3, *elapsed, joined.in_flight),
            Phase::Ending => (4, Duration::ZERO, 0),
        };
        (self.figures.seconds, phase, elapsed.as_secs(), moving, notices.len())
    }

    fn draw(&mut self, terminal: &mut Terminal<CrosstermBackend<Frames>>, is_new: bool) {
        let Self { title, watch, figures, reserve, seen, .. } = self;
        let view = View {
            title,
            timetable: watch.timetable(),
            phase: seen.phase,
            joined: seen.joined,
            figures,
            notices: &seen.notices,
            is_paused: self.is_paused,
            has_keys: has_keys(),
            shows_help: self.shows_help,
            has_colour: self.has_colour,
        };
        // So nobody leaves the screen in the middle of a drawing.
        let stdout = io::stdout().lock();
        if !is_entered() {
            return;
        }
        reserve.lend(|| {
            // A terminal that is gone, or takes nothing at this moment, is no reason to end a run.
            if is_new {
                let _ = terminal.clear();
            }
            let _ = terminal.draw(|frame| screen::draw(&view, frame.area(), frame.buffer_mut()));
        });
        drop(stdout);
    }
}

/// Waits for a key as long as there is nothing else to do. Returns how long to wait for the end of the run then.
fn wait() -> Duration {
    // A process in the background must not read from its terminal (SIGTTIN).
    match has_keys().then(|| event::poll(LOOK_INTERVAL)) {
        Some(Ok(_)) => Duration::ZERO,
        Some(Err(_)) | None => LOOK_INTERVAL,
    }
}

/// Collects the bytes of a frame, and writes them to standard output at once.
struct Frames(Vec<u8>);

impl Frames {
    fn new() -> Self {
        Self(Vec::with_capacity(FRAME_SIZE))
    }
}

impl Write for Frames {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        let written =
            if is_entered() { stdout.write_all(&self.0).and_then(|()| stdout.flush()) } else { Ok(()) };
        self.0.clear();
        written
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panics with it has changed a part of the figures only, and nothing depends on them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
