//! The page: its sections in their order, for one result or for several side by side.

use super::decoded::Decoded;
use super::markup::Markup;
use super::percentiles::{self, Line};
use super::plot::{show_second, write_line_key};
use super::table::write_letter;
use super::{facts, figures, heat_map, outcomes, over_time, phases, style};
use crate::report::text;
use crate::result::{LoopName, RunResult};
use crate::units::show_time_ns;

/// The page with `all`, of which there is at least one.
pub(super) fn write(all: &[Decoded<'_>]) -> String {
    let mut out = Markup::default();
    let title = match all {
        [one] => format!("{} {}", one.result.plan.method, facts::url(&one.result.plan)),
        all => format!("{} load tests compared", all.len()),
    };
    write_head(&mut out, &title);
    out.raw("<body>\n<header>\n");
    out.plain("h1", &title);
    if let [one] = all {
        out.element("p", &[("class", "plan")], &text::plan_line(one.result));
        write_when(&mut out, one.result);
    }
    out.raw("</header>\n<main>\n");
    // What is not valid comes first.
    let mut by_verdict: Vec<&Decoded<'_>> = all.iter().collect();
    by_verdict.sort_by_key(|one| one.result.verdict.valid != Some(false));
    for one in by_verdict {
        outcomes::write_verdict(&mut out, one, all.len() == 1);
    }
    match all {
        [one] => write_one(&mut out, one),
        all => write_several(&mut out, all),
    }
    facts::write_facts(&mut out, all);
    out.raw("</main>\n<footer><p>Made by ");
    out.text(&format!("ringtide {}", env!("CARGO_PKG_VERSION")));
    out.raw(". The page holds everything that it shows, and loads nothing.</p></footer>\n</body>\n</html>\n");
    out.into_string()
}

fn write_head(out: &mut Markup, title: &str) {
    out.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    let policy =
        format!("default-src 'none'; style-src '{}'; base-uri 'none'; form-action 'none'", style::HASH);
    out.open("meta", &[("http-equiv", "Content-Security-Policy"), ("content", &policy)]);
    out.raw("\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    out.raw("<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"generator\" content=\"ringtide\">\n");
    out.plain("title", &format!("{title} – ringtide"));
    out.raw("\n<style>");
    out.raw(style::CSS);
    out.raw("</style>\n</head>\n");
}

fn write_when(out: &mut Markup, result: &RunResult) {
    let lasted = format!("measured for {}", show_time_ns(result.duration_s * 1e9));
    let when = facts::started(result).map_or(lasted.clone(), |date| format!("{date}, {lasted}"));
    out.element("p", &[("class", "when")], &when);
}

fn write_one(out: &mut Markup, one: &Decoded<'_>) {
    let result = one.result;
    figures::write_cards(out, result);
    outcomes::write_thresholds(out, result);
    outcomes::write_notes(out, "h2", result);
    out.plain("h2", "Latency");
    write_curves_of_one(out, one);
    figures::write_latencies(out, result);
    figures::write_meanings(out, result.plan.mode == LoopName::Open);
    write_course(out, one, "h2", heat_map::Range::of(one.course.iter()));
    if one.course.is_some() {
        out.plain("h2", "Throughput over time");
        write_rates(out, std::slice::from_ref(one));
    }
    write_rest(out, one, "h2");
}

fn write_several(out: &mut Markup, all: &[Decoded<'_>]) {
    out.plain("h2", "What is compared");
    out.raw("<ul class=\"legend\">\n");
    for one in all {
        out.raw("<li>");
        write_letter(out, one.letter, one.colour);
        out.plain("strong", one.name);
        out.raw(": ");
        let plan = &one.result.plan;
        out.text(&format!("{} {} · {}", plan.method, facts::url(plan), text::plan_line(one.result)));
        out.raw("</li>\n");
    }
    out.raw(
        "</ul>\n<p>Nothing in single results tells how much another run would differ. <code>ringtide compare</code> decides \
         from sets of repeats, and <code>ringtide ab</code> from pairs.</p>\n",
    );
    figures::write_side_by_side(out, all);
    out.plain("h2", "Latency");
    out.plain("h3", "Response");
    let response = percentiles::lines(all, |one| one.response.as_ref());
    write_curves(out, &response, "Percentiles of the response time of each result", &Key::Letters(all));
    figures::write_times_side_by_side(out, all, "Response", |result| &result.latency_us.response);
    out.plain("h3", "Service");
    // Where the service is the response, its curve is the same.
    if all.iter().any(|one| one.service.is_some()) {
        let service = percentiles::lines(all, |one| one.service.as_ref().or(one.response.as_ref()));
        write_curves(out, &service, "Percentiles of the service time of each result", &Key::Letters(all));
    }
    figures::write_times_side_by_side(out, all, "Service", |result| &result.latency_us.service);
    figures::write_meanings(out, false);
    if all.iter().any(|one| one.course.is_some()) {
        out.plain("h2", "Throughput over time");
        write_rates(out, all);
    }
    // The same range of times for all, so that equal heights are equal times.
    let range = heat_map::Range::of(all.iter().filter_map(|one| one.course.as_ref()));
    for one in all {
        out.open("section", &[("class", "result")]);
        out.raw("<h2>");
        write_letter(out, one.letter, one.colour);
        out.text(one.name);
        out.raw("</h2>\n");
        write_when(out, one.result);
        outcomes::write_thresholds(out, one.result);
        outcomes::write_notes(out, "h3", one.result);
        write_course(out, one, "h3", range);
        write_rest(out, one, "h3");
        out.raw("</section>\n");
    }
}

/// What each result has for itself.
fn write_rest(out: &mut Markup, one: &Decoded<'_>, heading: &'static str) {
    let result = one.result;
    if let Some(course) = &one.course {
        out.plain(heading, "Connections and requests in flight");
        out.raw("<figure>");
        over_time::draw_in_flight(
            out,
            course,
            "Requests in flight, requests waiting, and open connections over time",
        );
        out.raw("<figcaption>");
        write_line_key(out, "c1", "in flight");
        if result.plan.mode == LoopName::Open {
            write_line_key(out, "c2", "due and waiting for a free connection");
        }
        write_line_key(out, "c3", "open connections");
        out.raw(" (at the end of each second or bin)</figcaption></figure>\n");
    }
    out.plain(heading, "Status codes and errors");
    outcomes::write_outcomes(out, result);
    if result.steps.is_some() {
        out.plain(heading, "Requests by name");
        figures::write_steps(out, result);
    }
    out.plain(heading, "Phases");
    phases::write(out, result);
}

/// What the lines of a plot are.
enum Key<'a> {
    /// Results, by their letters.
    Letters(&'a [Decoded<'a>]),
    /// Response and service of one.
    OfOne,
    /// The response of one, which is its service too.
    Same,
}

fn write_curves_of_one(out: &mut Markup, one: &Decoded<'_>) {
    let mut lines = Vec::new();
    if let Some(curve) = &one.response {
        lines.push(Line { class: "c1", name: "response", letter: "", curve });
    }
    if let Some(curve) = &one.service {
        lines.push(Line { class: "c2", name: "service", letter: "", curve });
    }
    let key = if one.service.is_some() { Key::OfOne } else { Key::Same };
    write_curves(out, &lines, "Percentiles of response and service time", &key);
}

fn write_curves(out: &mut Markup, lines: &[Line<'_>], label: &str, key: &Key<'_>) {
    if lines.is_empty() {
        out.raw("<p>There is no curve: no request was completed, or the result holds no histogram.</p>\n");
        return;
    }
    out.raw("<figure>");
    percentiles::draw(out, lines, label);
    out.raw("<figcaption>");
    match key {
        Key::Letters(all) => {
            out.text(label);
            out.raw(": ");
            for one in *all {
                write_letter(out, one.letter, one.colour);
                out.text(one.name);
                out.raw(" ");
            }
        }
        Key::OfOne => {
            write_line_key(out, "c1", "response");
            write_line_key(out, "c2", "service");
        }
        Key::Same => {
            write_line_key(out, "c1", "response; service is the same in this run");
        }
    }
    out.raw("From 90 % on, each step to the right leaves a tenth as many requests above it. ");
    let has_bounds =
        lines.iter().any(|line| line.curve.max().is_lower_bound || line.curve.min().is_lower_bound);
    if has_bounds {
        out.raw("Dashed: a lower bound, as requests timed out or were cut off. ");
    }
    out.raw("</figcaption></figure>\n");
}

/// The course of a run: its heat map and its figures.
fn write_course(out: &mut Markup, one: &Decoded<'_>, heading: &'static str, range: Option<heat_map::Range>) {
    out.plain(heading, "Latency over time");
    let Some(course) = &one.course else {
        out.raw(
            "<p>This result does not hold the course of its run, so nothing can be shown over time. Results that \
             <code>--format json</code> writes hold it; one of <code>ringtide merge</code> does if all its parts do.</p>\n",
        );
        return;
    };
    if let Some(range) = range {
        out.raw("<figure>");
        heat_map::draw(out, course, range, "Heat map of the response times over time");
        out.raw("<figcaption>");
        write_line_key(out, "p50", "p50");
        write_line_key(out, "p99", "p99");
        heat_map::write_key(out, course);
        out.raw("</figcaption></figure>\n");
    } else {
        out.raw("<p>Nothing was answered, so there are no times.</p>\n");
    }
    if course.points_per_bin > 1 {
        let bin_s = course.points_per_bin as f64 * course.interval_s;
        out.element(
            "p",
            &[("class", "binned")],
            &format!(
                "The run was long: in everything over time, each column stands for {}. Peaks shorter than that are in it, \
                 but not apart.",
                show_second(bin_s)
            ),
        );
    }
    figures::write_course(out, one);
}

fn write_rates(out: &mut Markup, all: &[Decoded<'_>]) {
    out.raw("<figure>");
    over_time::draw_rates(out, all, "Requests per second over time");
    out.raw("<figcaption>Requests per second: ");
    let is_asked = all.iter().any(|one| !one.result.plan.stages.is_empty());
    match all {
        [one] => {
            write_line_key(out, "c1", "completed");
            if is_asked {
                write_line_key(out, "asked", "asked for");
            } else if one.result.plan.mode == LoopName::Open {
                out.raw("(the result does not hold when the replay asked for them) ");
            }
            if one.result.requests.failed > 0 {
                write_line_key(out, "failures", "failed");
            }
        }
        all => {
            for one in all {
                write_letter(out, one.letter, one.colour);
                out.text(one.name);
                out.raw(" ");
            }
            if is_asked {
                out.raw("(dotted: asked for)");
            }
        }
    }
    out.raw("</figcaption></figure>\n");
}
