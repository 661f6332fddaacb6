//! The frame of a plot: an SVG in the page with axes, grid and lines. What is in it is the matter of the files that draw.
//!
//! Sizes are in the plot's own units, of which the full width of the page has [`WIDTH`]. On a narrow screen the style
//! sheet makes the letters larger and hides every mark that is not needed.

use std::fmt::Write as _;

use super::markup::Markup;
use super::scale::{Scale, shown};
use crate::ranges::show_round_time_ns;
use crate::units::{show_rate, show_typed_time_ns};

/// The size of a plot.
pub(super) const WIDTH: f64 = 720.0;
/// Room for the marks of the vertical axis, in the larger letters of a narrow screen too.
pub(super) const LEFT: f64 = 84.0;
/// Where the drawing ends, with room for half of the last mark.
pub(super) const RIGHT: f64 = WIDTH - 48.0;
/// Room for the marks of the horizontal axis.
const BOTTOM: f64 = 34.0;
/// Room above the drawing.
pub(super) const TOP: f64 = 12.0;

/// Marks of the horizontal axis that are nearer than this to the last one shown are left out on narrow screens.
const NARROW_GAP: f64 = 92.0;

/// An SVG that is being written.
pub(super) struct Plot<'m> {
    out: &'m mut Markup,
    /// Where the horizontal axis is.
    bottom: f64,
}

/// A place on a line, and whether the true value may be higher.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) is_lower_bound: bool,
}

impl<'m> Plot<'m> {
    /// Where the horizontal axis of a plot with this height is.
    pub(super) fn bottom_of(height: f64) -> f64 {
        height - BOTTOM
    }

    /// Begins a plot; `label` says what it shows to those who do not see it.
    pub(super) fn begin(out: &'m mut Markup, height: f64, label: &str) -> Self {
        let size = format!("0 0 {} {}", shown(WIDTH), shown(height));
        out.open("svg", &[("viewBox", &size), ("role", "img"), ("aria-label", label)]);
        Self { out, bottom: Self::bottom_of(height) }
    }

    /// Ends it.
    pub(super) fn end(self) {
        self.out.close("svg");
        self.out.raw("\n");
    }

    /// Marks at the left, with lines across.
    pub(super) fn vertical_axis(&mut self, ticks: &[(f64, String)]) {
        let mut lines = String::new();
        for (y, _) in ticks {
            let _ = write!(lines, "M{} {}H{}", shown(LEFT), shown(*y), shown(RIGHT));
        }
        self.path("grid", &lines);
        for (y, label) in ticks {
            self.text("tick end", LEFT - 8.0, y + 4.0, label);
        }
    }

    /// Marks below, with lines up, and the axis itself. Marks are in order.
    pub(super) fn horizontal_axis(&mut self, ticks: &[(f64, String)]) {
        let mut lines = String::new();
        for (x, _) in ticks {
            let _ = write!(lines, "M{} {}V{}", shown(*x), shown(self.bottom), shown(TOP));
        }
        self.path("grid", &lines);
        self.path("axis", &format!("M{} {}H{}", shown(LEFT), shown(self.bottom), shown(RIGHT)));
        let mut last = f64::NEG_INFINITY;
        for (x, label) in ticks {
            let is_needed = x - last >= NARROW_GAP;
            if is_needed {
                last = *x;
            }
            let class = if is_needed { "tick middle" } else { "tick middle minor" };
            self.text(class, *x, self.bottom + 20.0, label);
        }
    }

    /// Text at a place.
    pub(super) fn text(&mut self, class: &str, x: f64, y: f64, text: &str) {
        self.out.element("text", &[("class", class), ("x", &shown(x)), ("y", &shown(y))], text);
    }

    /// Lines and areas, as in the attribute `d` of SVG.
    pub(super) fn path(&mut self, class: &str, path: &str) {
        if !path.is_empty() {
            self.out.element("path", &[("class", class), ("d", path)], "");
        }
    }

    /// A line from place to place, dashed where it is only a lower bound.
    pub(super) fn line(&mut self, class: &str, places: &[Place]) {
        for is_lower_bound in [false, true] {
            let mut path = String::new();
            for pair in places.windows(2).filter(|pair| pair[1].is_lower_bound == is_lower_bound) {
                let (from, to) = (pair[0], pair[1]);
                let is_joined = path.ends_with(&format!("{} {}", shown(from.x), shown(from.y)));
                if !is_joined {
                    let _ = write!(path, "M{} {}", shown(from.x), shown(from.y));
                }
                let _ = write!(path, "L{} {}", shown(to.x), shown(to.y));
            }
            let bound = if is_lower_bound { " bound" } else { "" };
            self.path(&format!("line {class}{bound}"), &path);
        }
    }

    /// The letter of a line, beside its end.
    pub(super) fn letter(&mut self, class: &str, end: Place, letter: &str) {
        self.text(&format!("letter {class}"), end.x + 5.0, end.y + 4.0, letter);
    }

    /// A part of the plot that tells its figures when it is pointed at.
    pub(super) fn hint(&mut self, from_x: f64, to_x: f64, text: &str) {
        let (x, width) = (shown(from_x), shown((to_x - from_x).max(0.5)));
        let (y, height) = (shown(TOP), shown(self.bottom - TOP));
        let place = [("class", "hint"), ("x", &*x), ("y", &*y), ("width", &*width), ("height", &*height)];
        self.out.open("rect", &place);
        self.out.plain("title", text);
        self.out.close("rect");
    }
}

/// A line as in a plot, and what it is.
pub(super) fn write_line_key(out: &mut Markup, class: &str, name: &str) {
    out.raw("<span class=\"nowrap\">");
    out.open("svg", &[("viewBox", "0 0 24 12"), ("class", "sample"), ("aria-hidden", "true")]);
    out.element("path", &[("class", &format!("line {class}")), ("d", "M0 6H24")], "");
    out.raw("</svg> ");
    out.text(name);
    out.raw("</span> ");
}

/// An area as in a plot, and what it is.
pub(super) fn write_swatch(out: &mut Markup, class: &str, name: &str) {
    out.raw("<span class=\"nowrap\">");
    out.open("svg", &[("viewBox", "0 0 12 12"), ("class", "swatch"), ("aria-hidden", "true")]);
    out.element("path", &[("class", class), ("d", "M0 0H12V12H0z")], "");
    out.raw("</svg> ");
    out.text(name);
    out.raw("</span>");
}

/// The marks of an axis of times in nanoseconds.
pub(super) fn time_ticks(scale: Scale) -> Vec<(f64, String)> {
    scale.ticks().into_iter().map(|ns| (scale.at(ns), show_round_time_ns(ns.round() as u64))).collect()
}

/// The marks of an axis of seconds.
pub(super) fn second_ticks(scale: Scale) -> Vec<(f64, String)> {
    scale.ticks_of_seconds().into_iter().map(|second| (scale.at(second), show_second(second))).collect()
}

/// The marks of an axis of counts or rates.
pub(super) fn count_ticks(scale: Scale) -> Vec<(f64, String)> {
    scale.ticks().into_iter().map(|count| (scale.at(count), short_count(count))).collect()
}

/// A time since the start, to a millisecond.
pub(super) fn show_second(second: f64) -> String {
    show_typed_time_ns((second.max(0.0) * 1e3).round() as u64 * 1_000_000)
}

/// A count in few letters: `200`, `20k`, `1.5M`.
fn short_count(count: f64) -> String {
    let (value, suffix) = match count {
        count if count >= 1e9 => (count / 1e9, "G"),
        count if count >= 1e6 => (count / 1e6, "M"),
        count if count >= 1e4 => (count / 1e3, "k"),
        count if count >= 1.0 => (count, ""),
        count => return show_rate(count),
    };
    let rounded = (value * 1e3).round() / 1e3;
    format!("{rounded}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_short() {
        for (count, text) in
            [(0.0, "0"), (0.5, "0.50"), (2_500.0, "2500"), (20_000.0, "20k"), (1.5e6, "1.5M"), (2e9, "2G")]
        {
            assert_eq!(short_count(count), text);
        }
        assert_eq!(
            (show_second(0.0), show_second(90.0), show_second(0.2504)),
            ("0s".into(), "1m30s".into(), "250ms".into())
        );
    }

    #[test]
    fn a_line_is_dashed_where_it_is_a_bound() {
        let mut out = Markup::default();
        let mut plot = Plot::begin(&mut out, 200.0, "a plot");
        let place = |x: f64, is_lower_bound| Place { x, y: 1.5, is_lower_bound };
        plot.line("c1", &[place(1.0, false), place(2.0, false), place(3.0, true), place(4.0, true)]);
        plot.end();
        let text = out.into_string();
        assert!(text.contains("<path class=\"line c1\" d=\"M1 1.5L2 1.5\">"), "{text}");
        assert!(text.contains("<path class=\"line c1 bound\" d=\"M2 1.5L3 1.5L4 1.5\">"), "{text}");
    }
}
