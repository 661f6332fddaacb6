//! The curve of percentiles, as HdrHistogram draws it: the share of slower requests becomes ten times smaller at each step to
//! the right, so that the slowest ones have room.

use std::fmt::Write as _;

use super::decoded::Decoded;
use super::markup::Markup;
use super::plot::{LEFT, Place, Plot, RIGHT, TOP, time_ticks};
use super::scale::Scale;
use crate::estimate::{Curve, Quantile, Reading};
use crate::units::show_time_ns;

const HEIGHT: f64 = 320.0;

/// The curve is read at this many places of each step to the right.
const READ_PER_DECADE: u32 = 100;
/// And tells its figures at this many.
const HINTS_PER_DECADE: u32 = 8;
/// The last percentile is 99.999.
const DECADES_MAX: u32 = 5;

/// Percentiles with a mark.
const MARKS: [(f64, &str); 6] = [
    (50.0, "50 %"),
    (90.0, "90 %"),
    (99.0, "99 %"),
    (99.9, "99.9 %"),
    (99.99, "99.99 %"),
    (99.999, "99.999 %"),
];

/// A curve of a plot.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    /// Its colour, as in the style sheet,
    pub(super) class: &'static str,
    /// what hints call it,
    pub(super) name: &'a str,
    /// the letter at its end,
    pub(super) letter: &'a str,
    /// and the distribution.
    pub(super) curve: &'a Curve,
}

/// A line for each of several results.
pub(super) fn lines<'a>(
    all: &'a [Decoded<'a>],
    of: impl Fn(&'a Decoded<'a>) -> Option<&'a Curve>,
) -> Vec<Line<'a>> {
    let line = |one: &'a Decoded<'a>| {
        Some(Line { class: one.colour, name: one.letter, letter: one.letter, curve: of(one)? })
    };
    all.iter().filter_map(line).collect()
}

/// Draws `lines`, of which there is at least one.
pub(super) fn draw(out: &mut Markup, lines: &[Line<'_>], label: &str) {
    let count = lines.iter().map(|line| line.curve.count()).max().unwrap_or(1).max(1);
    // Up to the last decade that a request is in.
    let decades = (count as f64).log10().ceil().clamp(2.0, f64::from(DECADES_MAX));
    let x = Scale::linear(0.0, decades, LEFT, RIGHT);
    let min = lines.iter().map(|line| line.curve.min().ns).fold(f64::INFINITY, f64::min);
    let max = lines.iter().map(|line| line.curve.max().ns).fold(1.0, f64::max);
    let y = Scale::of_times(min, max, Plot::bottom_of(HEIGHT), TOP);
    let mut plot = Plot::begin(out, HEIGHT, label);
    plot.vertical_axis(&time_ticks(y));
    let marks = MARKS.iter().map(|(percent, label)| (nines(*percent), *label));
    let marks: Vec<_> = marks
        .filter(|(at, _)| *at <= decades + 1e-9)
        .map(|(at, label)| (x.at(at), label.to_owned()))
        .collect();
    plot.horizontal_axis(&marks);
    for line in lines {
        let places = places(line.curve, decades, x, y);
        plot.line(line.class, &places);
        if let (Some(end), true) = (places.last(), lines.len() > 1) {
            plot.letter(line.class, *end, line.letter);
        }
    }
    let steps = decades as u32 * HINTS_PER_DECADE;
    for step in 0..steps {
        let at = |step: f64| step / f64::from(HINTS_PER_DECADE);
        // The place in the middle of the hint.
        let middle = at(f64::from(step) + 0.5);
        let mut text = show_percentile(middle);
        for line in lines {
            let reading = read(line.curve, middle);
            let sign = if reading.is_lower_bound { "≥ " } else { "" };
            let _ = write!(text, "\n{} {sign}{}", line.name, show_time_ns(reading.ns));
        }
        plot.hint(x.at(at(f64::from(step))), x.at(at(f64::from(step + 1))), &text);
    }
    plot.end();
}

/// The curve as steps: each place is one of the times.
fn places(curve: &Curve, decades: f64, x: Scale, y: Scale) -> Vec<Place> {
    let place = |at: f64, reading: Reading| Place {
        x: x.at(at),
        y: y.at(reading.ns),
        is_lower_bound: reading.is_lower_bound,
    };
    // Beyond this, even the slowest request is no longer a share.
    let end = (curve.count() as f64).log10().min(decades);
    let min = curve.min();
    let (mut last, mut all) = (min, vec![place(0.0, min)]);
    let steps = (end * f64::from(READ_PER_DECADE)).floor() as u32;
    for step in 1..=steps {
        let at = f64::from(step) / f64::from(READ_PER_DECADE);
        let reading = read(curve, at);
        if reading != last {
            all.push(place(at, Reading { ns: last.ns, ..reading }));
            all.push(place(at, reading));
            last = reading;
        }
    }
    all.push(place(end, last));
    if end < decades && curve.max() != last {
        all.push(place(end, curve.max()));
    }
    all
}

/// The time that all but one of 10^`nines` requests do not exceed.
fn read(curve: &Curve, nines: f64) -> Reading {
    const WHOLE: u64 = 1_000_000_000_000;
    let slower = (WHOLE as f64 / 10.0_f64.powf(nines)).round() as u64;
    let part = WHOLE - slower.clamp(1, WHOLE - 1);
    curve.quantile(Quantile::new(part, WHOLE))
}

/// 90 is 1, 99 is 2, 99.9 is 3.
fn nines(percent: f64) -> f64 {
    -(1.0 - percent / 100.0).log10()
}

/// A percentile with as many decimals as tell it from the next one.
fn show_percentile(nines: f64) -> String {
    let decimals = nines.floor().max(0.0) as usize;
    format!("{:.decimals$} %", 100.0 - 100.0 / 10.0_f64.powf(nines))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::histogram;

    #[test]
    fn percentiles_stand_at_their_nines() {
        for ((percent, _), at) in MARKS.iter().zip([std::f64::consts::LOG10_2, 1.0, 2.0, 3.0, 4.0, 5.0]) {
            assert!((nines(*percent) - at).abs() < 1e-4, "{percent}");
        }
        assert_eq!(
            (show_percentile(0.301), show_percentile(1.5), show_percentile(3.0)),
            ("50 %".into(), "96.8 %".into(), "99.900 %".into())
        );
    }

    #[test]
    fn the_curve_rises_from_the_shortest_to_the_longest_time() {
        let mut times = histogram();
        for index in 1..=1_000_u64 {
            times.saturating_record(index * 1_000_000);
        }
        let curve = Curve::exact(&times);
        for (nines, ms) in [(std::f64::consts::LOG10_2, 500.0), (1.0, 900.0), (2.0, 990.0), (3.0, 999.0)] {
            assert!((read(&curve, nines).ns / 1e6 / ms - 1.0).abs() < 0.004, "{nines}");
        }
        let (x, y) = (Scale::linear(0.0, 5.0, 0.0, 500.0), Scale::log(1e6, 1e9, 300.0, 0.0));
        let places = places(&curve, 5.0, x, y);
        assert!(places.windows(2).all(|pair| pair[0].x <= pair[1].x && pair[0].y >= pair[1].y), "{places:?}");
        let (first, last) = (places[0], places[places.len() - 1]);
        assert!(first.y > 299.0 && last.y < 1.0 && (last.x - 300.0).abs() < 1e-6, "{first:?} {last:?}");
        assert!(places.iter().all(|place| !place.is_lower_bound));
    }

    #[test]
    fn a_single_request_is_a_curve_too() {
        let mut times = histogram();
        times.saturating_record(5_000);
        let curve = Curve::exact(&times);
        let mut out = Markup::default();
        draw(&mut out, &[Line { class: "c1", name: "response", letter: "A", curve: &curve }], "one");
        assert!(out.into_string().contains("4 µs"));
    }
}
