//! The rate and the response times: of the last second, so far, and over time.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::charts::{LADDER, Scale, append_row};
use super::figures::{Part, Time};
use super::history::Entry;
use super::view::{View, bold};
use crate::units::{show_rate, show_time_ns, show_typed_time_ns};

/// Rows of the rate and the percentiles alone,
pub(super) const SMALL: usize = 4;
/// and of all.
pub(super) const WHOLE: usize = 7;
/// How many rows of it are charts, each of which may be higher than one,
pub(super) const CHARTS: usize = 4;
/// up to this.
pub(super) const CHART_ROWS_MAX: usize = 8;

/// Widths of a label, and of a number.
const LABEL: usize = 12;
const NUMBER: usize = 12;
/// A chart needs this much room.
const CHART_MIN: usize = 8;

/// Draws as much as there is room for: a line, or the small or the whole table.
pub(super) fn draw(view: &View<'_>, place: Rect, buffer: &mut Buffer) {
    let rows = usize::from(place.height);
    let mut pen = Pen { buffer, place, y: place.y };
    if rows < SMALL {
        if rows > 0 {
            pen.line(&in_a_line(&view.figures.last, view.figures.seconds), bold());
        }
        return;
    }
    let figures = view.figures;
    let chart = usize::from(place.width).saturating_sub(LABEL + 2 * NUMBER + 3);
    let chart = if chart >= CHART_MIN { chart } else { 0 };
    let (columns, unit) = figures.history.columns(chart);
    let columns: Vec<Entry> = columns.collect();
    // As wide as the run leaves room for, if it is known how long it takes.
    let seconds = view.timetable.stop.duration_ns().map_or(chart as u64, |ns| ns.div_ceil(1_000_000_000));
    let repeat = chart / columns.len().max(seconds as usize / unit as usize).max(1);
    let is_whole = rows >= WHOLE;
    let chart_rows = if is_whole { 1 + (rows - WHOLE) / CHARTS } else { 1 };
    let most = |of: fn(&Entry) -> f64| columns.iter().map(of).fold(0.0, f64::max);
    if is_whole {
        let each = show_typed_time_ns(u64::from(unit) * 1_000_000_000);
        let over_time = if chart >= 19 { format!("over time, {each} a bar") } else { String::new() };
        pen.line(&row("", "last second", "so far", &over_time), Style::new());
    }
    let asked = figures.all.asked.into_iter().chain(figures.last.asked);
    let rate_most = asked.fold(most(|entry| entry.rate), f64::max);
    let rate_scale = Scale::Linear(rate_most);
    let show = |rate: f64| if figures.seconds > 0 { show_rate(rate) } else { "-".to_owned() };
    let wide = |of: fn(&Entry) -> f64| {
        columns.iter().map(of).flat_map(move |value| std::iter::repeat_n(value, repeat.max(1)))
    };
    let rates = wide(|entry| entry.rate);
    pen.chart(
        "requests/s",
        &[show(figures.last.rate), show(figures.all.rate)],
        &rates,
        rate_scale,
        chart_rows,
    );
    if is_whole {
        let asked = |asked: Option<f64>| asked.map_or_else(|| "no limit".to_owned(), show_rate);
        let scale =
            if columns.is_empty() { String::new() } else { legend("0", &show_rate(rate_most), chart) };
        let (last, all) = if figures.seconds > 0 {
            (asked(figures.last.asked), asked(figures.all.asked))
        } else {
            ("-".to_owned(), "-".to_owned())
        };
        pen.line(&row("  asked", &last, &all, &scale), Style::new());
    }
    let fastest = columns.iter().map(|entry| entry.p50).filter(|us| *us > 0.0).fold(f64::INFINITY, f64::min);
    let time_scale = Scale::of_times(fastest, most(|entry| entry.p99));
    let times = |index: usize| [figures.last, figures.all].map(|part| show_time(part.times[index]));
    pen.chart("p50", &times(0), &wide(|entry| entry.p50), time_scale, chart_rows);
    pen.chart("p90", &times(1), &wide(|entry| entry.p90), time_scale, chart_rows);
    pen.chart("p99", &times(2), &wide(|entry| entry.p99), time_scale, chart_rows);
    if is_whole {
        let scale = match time_scale {
            Scale::Logarithmic(least, most) if columns.iter().any(|entry| entry.p99 > 0.0) => {
                legend(&show_time_ns(least * 1e3), &show_time_ns(most * 1e3), chart)
            }
            _ => String::new(),
        };
        let [last, all] = times(3);
        pen.line(&row("max", &last, &all, &scale), Style::new());
    }
}

/// The most important figures.
fn in_a_line(last: &Part, seconds: u64) -> String {
    if seconds == 0 {
        return " nothing is measured yet".to_owned();
    }
    let asked = last.asked.map_or_else(String::new, |asked| format!(" of {}", show_rate(asked)));
    let [p50, _, p99, _] = last.times.map(show_time);
    format!(" {}{asked} requests/s · p50 {p50} · p99 {p99}", show_rate(last.rate))
}

fn show_time(time: Time) -> String {
    let Some((us, is_lower_bound)) = time else { return "-".to_owned() };
    format!("{}{}", if is_lower_bound { "≥ " } else { "" }, show_time_ns(us * 1e3))
}

fn row(label: &str, last: &str, all: &str, chart: &str) -> String {
    format!(" {label:<width$}{last:>NUMBER$}{all:>NUMBER$}  {chart}", width = LABEL - 1)
}

/// What the lowest and the highest bar stand for, as far as there is room.
fn legend(least: &str, most: &str, room: usize) -> String {
    let legends = [LADDER, "▁█"].map(|ladder| format!("{least} {ladder} {most}"));
    legends.into_iter().find(|legend| legend.chars().count() <= room).unwrap_or_default()
}

/// Writes rows from the top.
struct Pen<'a> {
    buffer: &'a mut Buffer,
    place: Rect,
    y: u16,
}

impl Pen<'_> {
    fn line(&mut self, text: &str, style: Style) {
        if self.y < self.place.bottom() {
            self.buffer.set_stringn(self.place.x, self.y, text, usize::from(self.place.width), style);
            self.y += 1;
        }
    }

    /// Numbers, and bars of `rows` rows, with the numbers beside the lowest one.
    fn chart(
        &mut self,
        label: &str,
        [last, all]: &[String; 2],
        values: &(impl Iterator<Item = f64> + Clone),
        scale: Scale,
        rows: usize,
    ) {
        let mut bars = String::new();
        // High bars are kept apart from those above them.
        let high = if rows > 2 { rows - 1 } else { rows };
        for above in (0..rows).rev() {
            bars.clear();
            if above < high {
                append_row(&mut bars, values.clone(), scale, above, high);
            }
            let line = if above == 0 { row(label, last, all, &bars) } else { row("", "", "", &bars) };
            self.line(&line, bold());
        }
    }
}
