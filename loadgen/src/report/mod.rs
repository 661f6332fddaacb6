//! Results as people and programs read them.

pub mod comparison;
pub mod csv;
mod drawing;
pub mod html;
pub mod interval_log;
pub mod junit;
pub mod openmetrics;
pub mod search;
mod steps;
pub mod summary;
pub mod targets;
pub mod text;
pub mod timeseries;

use std::fmt::Write as _;

use crate::result::{Figure, SummaryUs};
use crate::units::show_time_ns;

/// The narrowest terminal that a report fits,
pub const WIDTH_MIN: usize = 60;
/// and the longest line that is easy to read; also where there is no terminal.
pub const WIDTH_MAX: usize = 80;

/// A time of a distribution.
fn time(summary: &SummaryUs, figure: Figure) -> String {
    let Some(time_us) = summary.figure(figure) else { return "-".to_owned() };
    let sign = if summary.is_lower_bound(figure) { "≥ " } else { "" };
    format!("{sign}{}", show_time_ns(time_us * 1e3))
}

/// The style of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether it may use colour.
    pub colour: Colour,
    /// The longest line.
    width: usize,
}

/// The figures of a distribution, with the names that people read.
pub(crate) const FIGURES: [(&str, Figure); 11] = [
    ("min", Figure::Min),
    ("mean", Figure::Mean),
    ("standard deviation", Figure::Stdev),
    ("p50", Figure::P50),
    ("p75", Figure::P75),
    ("p90", Figure::P90),
    ("p95", Figure::P95),
    ("p99", Figure::P99),
    ("p99.9", Figure::P999),
    ("p99.99", Figure::P9999),
    ("max", Figure::Max),
];

/// Whether a report may use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// The escape sequences that every terminal knows.
    Ansi,
    /// Plain text.
    None,
}

impl Colour {
    /// Colour on a terminal, unless the user forbids it (<https://no-color.org>) or the terminal is a plain one.
    pub fn for_output(is_terminal: bool) -> Self {
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        if is_terminal && !forbidden { Self::Ansi } else { Self::None }
    }
}

impl Style {
    /// Plain text in lines of [`WIDTH_MAX`]: for files and pipes.
    pub const PLAIN: Self = Self { colour: Colour::None, width: WIDTH_MAX };

    /// For a terminal with this many columns. Those beyond [`WIDTH_MAX`] stay empty; below [`WIDTH_MIN`] the terminal
    /// breaks the lines.
    pub fn for_terminal(columns: usize) -> Self {
        Self { colour: Colour::for_output(true), width: columns.clamp(WIDTH_MIN, WIDTH_MAX) }
    }

    /// Whether tables must save columns.
    fn is_narrow(self) -> bool {
        self.width < WIDTH_MAX
    }

    fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self.colour {
            Colour::Ansi => format!("\x1b[{code}m{text}\x1b[0m"),
            Colour::None => text.to_owned(),
        }
    }

    /// `parts` with dots between them, broken only between parts so that no line exceeds the width; see
    /// [`wrapped`](Self::wrapped).
    fn listed(self, parts: &[String], indent: usize) -> String {
        self.broken(parts.iter().map(String::as_str), " · ", indent)
    }

    /// `text` broken at spaces so that no line exceeds the width. Further lines are indented by `indent` columns; the
    /// first is assumed to start there.
    fn wrapped(self, text: &str, indent: usize) -> String {
        self.broken(text.split_whitespace(), " ", indent)
    }

    fn broken<'a>(self, pieces: impl Iterator<Item = &'a str>, separator: &str, indent: usize) -> String {
        broken(pieces, separator, indent, self.width)
    }
}

/// `pieces` with separators between them, broken only between pieces so that no line exceeds `width`. Further lines are
/// indented by `indent` columns; the first is assumed to start there.
pub(crate) fn broken<'a>(
    pieces: impl Iterator<Item = &'a str>,
    separator: &str,
    indent: usize,
    width: usize,
) -> String {
    let mut lines = String::new();
    let mut column = indent;
    for (index, piece) in pieces.enumerate() {
        let gap = if index == 0 { "" } else { separator };
        let (gap_width, piece_width) = (gap.chars().count(), piece.chars().count());
        if index > 0 && column + gap_width + piece_width > width {
            let _ = write!(lines, "\n{:indent$}{piece}", "");
            column = indent + piece_width;
        } else {
            let _ = write!(lines, "{gap}{piece}");
            column += gap_width + piece_width;
        }
    }
    lines
}
