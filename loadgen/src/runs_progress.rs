//! The progress of a command that does many runs: a line that is drawn again on a terminal, plain lines, or a line per
//! minute where nobody may be looking.

use std::io::Write;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::progress::Display;

/// How fine the bar is.
const BAR_LENGTH: u64 = 1_000;

/// Tells how far the command is.
#[derive(Debug)]
pub struct RunsProgress {
    bar: Option<ProgressBar>,
    /// The least time between two lines; none are printed without one.
    interval: Option<Duration>,
    told: Option<Instant>,
}

impl RunsProgress {
    /// `line_interval` is that of plain lines.
    #[expect(clippy::missing_panics_doc, reason = "the template is a constant")]
    pub fn new(display: Display, line_interval: Duration) -> Self {
        let bar = (display == Display::Bar).then(|| {
            let bar = ProgressBar::with_draw_target(Some(BAR_LENGTH), ProgressDrawTarget::stderr());
            bar.set_style(
                ProgressStyle::with_template("{wide_bar} {msg}")
                    .expect("the template is valid")
                    .progress_chars("━━╌"),
            );
            bar
        });
        let interval = match display {
            Display::Lines => Some(line_interval),
            Display::SignsOfLife => Some(Duration::from_mins(1)),
            Display::Bar | Display::Silent => None,
        };
        // The first sign of life comes after its interval.
        Self { bar, interval, told: (display == Display::SignsOfLife).then(Instant::now) }
    }

    /// Tells `text`; `share` of the time has passed, if that is known.
    pub fn tell(&mut self, share: Option<f64>, text: &str) {
        self.tell_to(share, text, &mut std::io::stderr());
    }

    fn tell_to(&mut self, share: Option<f64>, text: &str, out: &mut impl Write) {
        if let Some(bar) = &self.bar {
            if let Some(share) = share {
                bar.set_position((share * BAR_LENGTH as f64) as u64);
            }
            bar.set_message(text.to_owned());
        }
        let Some(interval) = self.interval else { return };
        if self.told.is_none_or(|told| told.elapsed() >= interval) {
            self.told = Some(Instant::now());
            // A progress that cannot be told is no reason to end.
            let _ = writeln!(out, "{text}");
        }
    }
}

impl Drop for RunsProgress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(display: Display, interval: Duration) -> String {
        let mut out = Vec::new();
        let mut progress = RunsProgress::new(display, interval);
        progress.tell_to(Some(0.5), "one", &mut out);
        progress.tell_to(None, "two", &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn lines_are_there_when_asked_for_and_no_more_often() {
        assert_eq!(told(Display::Lines, Duration::ZERO), "one\ntwo\n");
        assert_eq!(told(Display::Lines, Duration::from_hours(1)), "one\n");
        assert_eq!(told(Display::Silent, Duration::ZERO), "");
        assert_eq!(told(Display::SignsOfLife, Duration::ZERO), "");
    }
}
