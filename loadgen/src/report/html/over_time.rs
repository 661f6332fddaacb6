//! Rates and counts over time: achieved against asked, and what was in flight.

use std::fmt::Write as _;

use super::asked::Asked;
use super::course::{Bin, Course};
use super::decoded::Decoded;
use super::markup::Markup;
use super::plot::{LEFT, Place, Plot, RIGHT, TOP, count_ticks, second_ticks, show_second};
use super::scale::Scale;
use crate::units::{show_count, show_rate};

const HEIGHT: f64 = 240.0;

/// Draws requests per second over time. At least one of `all` has a course.
pub(super) fn draw_rates(out: &mut Markup, all: &[Decoded<'_>], label: &str) {
    let courses = || all.iter().filter_map(|one| Some((one, one.colour, one.course.as_ref()?)));
    let end_s = courses().map(|(_, _, course)| course.end_s()).fold(0.0, f64::max);
    let asked = |one: &Decoded<'_>, course: &Course| Asked::of(&one.result.plan, course.end_s());
    let mut most = 0.0_f64;
    for (one, _, course) in courses() {
        let seen = course.bins.iter().map(|bin| bin.requests_per_second.max(bin.failed_per_second));
        most = seen.fold(most, f64::max).max(asked(one, course).map_or(0.0, |asked| asked.most()));
    }
    let x = Scale::linear(0.0, end_s, LEFT, RIGHT);
    let y = Scale::linear(0.0, most * 1.08, Plot::bottom_of(HEIGHT), TOP);
    let mut plot = Plot::begin(out, HEIGHT, label);
    plot.vertical_axis(&count_ticks(y));
    plot.horizontal_axis(&second_ticks(x));
    let many = all.len() > 1;
    for (one, class, course) in courses() {
        if let Some(asked) = asked(one, course) {
            let places = asked.places.iter().map(|(second, rate)| place(x.at(*second), y.at(*rate)));
            let class = if many { format!("asked {class}") } else { "asked".to_owned() };
            plot.line(&class, &places.collect::<Vec<_>>());
        }
        if course.bins.iter().any(|bin| bin.failed_per_second > 0.0) && !many {
            plot.line("failures", &steps(course, x, y, |bin| bin.failed_per_second));
        }
        let places = steps(course, x, y, |bin| bin.requests_per_second);
        plot.line(class, &places);
        if let (true, Some(end)) = (many, places.last()) {
            plot.letter(class, *end, one.letter);
        }
    }
    // With several, those of the longest: the others are in the tables.
    let longest = courses().max_by(|(_, _, a), (_, _, b)| a.end_s().total_cmp(&b.end_s()));
    if let Some((one, _, course)) = longest {
        let asked = asked(one, course);
        for bin in &course.bins {
            let mut hint = bin_name(bin);
            for (one, _, course) in courses() {
                let middle = f64::midpoint(bin.from_s, bin.to_s);
                let same = course.bins.iter().find(|bin| bin.from_s <= middle && middle < bin.to_s);
                let Some(same) = same else { continue };
                let name = if many { one.letter } else { "completed" };
                let _ = write!(hint, "\n{name} {}/s", show_rate(same.requests_per_second));
            }
            if let (Some(asked), false) = (&asked, many) {
                let middle = f64::midpoint(bin.from_s, bin.to_s);
                let _ = write!(hint, "\nasked {}/s", show_rate(asked.at(middle)));
            }
            if bin.failed > 0 && !many {
                let _ = write!(hint, "\nfailed {}", show_count(bin.failed));
            }
            plot.hint(x.at(bin.from_s), x.at(bin.to_s), &hint);
        }
    }
    plot.end();
}

/// A count of a bin.
type Count = fn(&Bin) -> u64;

/// Draws what was in flight, waited, and was open.
pub(super) fn draw_in_flight(out: &mut Markup, course: &Course, label: &str) {
    let counts: [(&str, Count); 3] =
        [("c3", |bin| bin.connections), ("c1", |bin| bin.in_flight), ("c2", |bin| bin.waiting)];
    let most = course.bins.iter().flat_map(|bin| counts.map(|(_, of)| of(bin))).max().unwrap_or(0);
    let x = Scale::linear(0.0, course.end_s(), LEFT, RIGHT);
    let y = Scale::linear(0.0, most as f64 * 1.08, Plot::bottom_of(HEIGHT), TOP);
    let mut plot = Plot::begin(out, HEIGHT, label);
    plot.vertical_axis(&count_ticks(y));
    plot.horizontal_axis(&second_ticks(x));
    for (class, of) in counts {
        plot.line(class, &steps(course, x, y, |bin| of(bin) as f64));
    }
    for bin in &course.bins {
        let [open, flying, waiting] = counts.map(|(_, of)| show_count(of(bin)));
        let hint = format!("{}\nin flight {flying}\nwaiting {waiting}\nconnections {open}", bin_name(bin));
        plot.hint(x.at(bin.from_s), x.at(bin.to_s), &hint);
    }
    plot.end();
}

fn place(x: f64, y: f64) -> Place {
    Place { x, y, is_lower_bound: false }
}

/// A level line over each bin.
fn steps(course: &Course, x: Scale, y: Scale, of: impl Fn(&Bin) -> f64) -> Vec<Place> {
    let ends = |bin: &Bin| [bin.from_s, bin.to_s].map(|second| place(x.at(second), y.at(of(bin))));
    course.bins.iter().flat_map(ends).collect()
}

/// When a bin was.
pub(super) fn bin_name(bin: &Bin) -> String {
    format!("{} to {}", show_second(bin.from_s), show_second(bin.to_s))
}

/// A figure of a bin in nanoseconds, and whether it is only a lower bound.
pub(super) fn figure(bin: &Bin, name: &str) -> Option<(f64, bool)> {
    let times = &bin.response_us;
    let us = match name {
        "p50" => times.p50,
        "p90" => times.p90,
        "p99" => times.p99,
        _ => times.max,
    };
    Some((us? * 1e3, times.lower_bounds.iter().any(|bound| bound == name)))
}
