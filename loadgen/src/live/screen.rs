//! What the live view looks like, at any size: parts that matter more stay when there is little room.

use std::fmt::Write as _;
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use super::figures::Figures;
use super::help;
use super::table;
use super::view::{View, bold};
use crate::metrics::ErrorKind;
use crate::progress::{Phase, Timetable};
use crate::ranges::{Range, bar, show_round_time_ns, show_share};
use crate::report::broken;
use crate::units::{show_count, show_typed_time_ns};

/// From this width on, the histogram stands beside the rest.
const WIDE: u16 = 130;
/// How wide it is there.
const SIDE: u16 = 60;

/// Where what follows a label begins.
const LABEL: usize = 13;

/// Parts of the screen, from the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Title,
    Phase,
    Table,
    Responses,
    Errors,
    Connections,
    Verdict,
    Ranges,
    Notices,
    Keys,
}

const PARTS: [Part; 10] = [
    Part::Title,
    Part::Phase,
    Part::Table,
    Part::Responses,
    Part::Errors,
    Part::Connections,
    Part::Verdict,
    Part::Ranges,
    Part::Notices,
    Part::Keys,
];

/// What gets a row first.
const IMPORTANCE: [Part; 8] = [
    Part::Phase,
    Part::Table,
    Part::Keys,
    Part::Errors,
    Part::Verdict,
    Part::Connections,
    Part::Responses,
    Part::Title,
];

/// Draws all of it.
pub(super) fn draw(view: &View<'_>, area: Rect, buffer: &mut Buffer) {
    let area = area.intersection(buffer.area);
    if area.is_empty() {
        return;
    }
    let is_wide = area.width >= WIDE;
    let main = Rect { width: if is_wide { area.width - SIDE } else { area.width }, ..area };
    let texts = Texts::of(view, usize::from(main.width), usize::from(area.width));
    let rows = share_out(usize::from(area.height), &texts, is_wide);
    let mut y = area.y;
    let mut table_y = y;
    for (part, (rows, blank)) in PARTS.into_iter().zip(rows) {
        let place = Rect { y, height: rows as u16, ..main };
        match part {
            Part::Table => {
                table_y = y;
                table::draw(view, place, buffer);
            }
            Part::Title | Part::Keys => texts.draw(part, Rect { width: area.width, ..place }, buffer),
            _ => texts.draw(part, place, buffer),
        }
        y += (rows + blank) as u16;
    }
    if is_wide {
        let height = area.bottom().saturating_sub(1).saturating_sub(table_y);
        let side = Rect { x: main.right(), y: table_y, width: SIDE, height };
        texts.draw(Part::Ranges, side, buffer);
    }
    if view.shows_help {
        help::draw(area, buffer);
    }
}

/// How many rows each part has, and how many blank ones follow.
fn share_out(height: usize, texts: &Texts, is_wide: bool) -> [(usize, usize); 10] {
    let mut left = height;
    let mut rows = [(0, 0); 10];
    for part in IMPORTANCE {
        if left > 0 && texts.rows(part) > 0 {
            rows[part as usize].0 = 1;
            left -= 1;
        }
    }
    let mut grow = |part: Part, to: usize, least: usize, left: &mut usize| {
        let row = &mut rows[part as usize].0;
        let more = to.saturating_sub(*row);
        if more > 0 && (*left >= more || *left >= least.max(1)) {
            let more = more.min(*left);
            *row += more;
            *left -= more;
        }
    };
    for size in [table::SMALL, table::WHOLE] {
        if left + 1 >= size {
            grow(Part::Table, size, size, &mut left);
        }
    }
    for part in [Part::Verdict, Part::Errors, Part::Notices, Part::Responses, Part::Connections, Part::Title]
    {
        grow(part, texts.rows(part), 1, &mut left);
    }
    if !is_wide && left > texts.rows(Part::Ranges) {
        grow(Part::Ranges, texts.rows(Part::Ranges), usize::MAX, &mut left);
    }
    for part in [Part::Phase, Part::Table, Part::Verdict, Part::Title, Part::Ranges, Part::Notices] {
        if left > 0 && rows[part as usize].0 > 0 {
            rows[part as usize].1 = 1;
            left -= 1;
        }
    }
    // Higher bars, all equally.
    for _ in 1..table::CHART_ROWS_MAX {
        if left > table::CHARTS && rows[Part::Table as usize].0 >= table::WHOLE {
            rows[Part::Table as usize].0 += table::CHARTS;
            left -= table::CHARTS;
        }
    }
    // The keys stand in the last row.
    if rows[Part::Keys as usize].0 > 0 {
        rows[Part::Notices as usize].1 += left;
    }
    rows
}

/// Lines with their styles.
type Lines = Vec<(String, Style)>;

/// The parts that are text.
struct Texts([Lines; 10]);

impl Texts {
    /// `width` is that of the main column, `all` that of the screen.
    fn of(view: &View<'_>, width: usize, all: usize) -> Self {
        Self(PARTS.map(|part| match part {
            Part::Title => {
                let [first, second] = view.title;
                vec![(format!(" {first}"), bold()), (format!(" {second}"), Style::new())]
            }
            Part::Phase => vec![phase(view, width)],
            Part::Table => vec![(String::new(), Style::new()); table::WHOLE],
            Part::Responses => responses(view.figures, width),
            Part::Errors => errors(view, width),
            Part::Connections => connections(view, width),
            Part::Verdict => verdict(view, width),
            Part::Ranges => ranges(view.figures, width.min(usize::from(SIDE))),
            Part::Notices => notices(view, width),
            Part::Keys => vec![keys(view, all)],
        }))
    }

    fn rows(&self, part: Part) -> usize {
        self.0[part as usize].len()
    }

    fn draw(&self, part: Part, place: Rect, buffer: &mut Buffer) {
        for (y, (line, style)) in (place.y..place.bottom()).zip(&self.0[part as usize]) {
            buffer.set_stringn(place.x, y, line, usize::from(place.width), *style);
        }
    }
}

/// What is good or bad also says so in words.
fn bad(has_colour: bool) -> Style {
    if has_colour { bold().fg(Color::Red) } else { bold() }
}

/// A label and a text in lines.
fn labelled(label: &str, text: &str) -> impl Iterator<Item = String> {
    let label = format!(" {label:<width$}", width = LABEL - 1);
    text.split('\n')
        .enumerate()
        .map(move |(index, line)| if index == 0 { format!("{label}{line}") } else { line.to_owned() })
        .collect::<Vec<_>>()
        .into_iter()
}

/// `pieces` behind a label, broken between them.
fn listed(label: &str, pieces: &[String], separator: &str, width: usize, style: Style) -> Lines {
    let text = broken(pieces.iter().map(String::as_str), separator, LABEL, width);
    labelled(label, &text).map(|line| (line, style)).collect()
}

fn show_seconds(time: Duration) -> String {
    show_typed_time_ns(time.as_secs() * 1_000_000_000)
}

/// The phase in words, and a bar.
fn phase(view: &View<'_>, width: usize) -> (String, Style) {
    let Timetable { warmup_ns, stop, drain_ns } = view.timetable;
    let share = |time: Duration, of_ns: u64| time.as_nanos() as f64 / of_ns.max(1) as f64;
    let ended = view.joined.completed + view.joined.failed;
    let (text, done) = match view.phase {
        Phase::Connecting => (format!("connecting, {} open", show_count(view.joined.connections)), None),
        Phase::WarmingUp(time) => {
            let all = show_typed_time_ns(warmup_ns);
            let text = format!("warming up, {} of {all}; not measured yet", show_seconds(time));
            (text, Some(share(time, warmup_ns)))
        }
        Phase::Measuring(time) => {
            let mut text = format!("running, {}", show_seconds(time));
            let mut done: f64 = 0.0;
            if let Some(ns) = stop.duration_ns() {
                let left = Duration::from_nanos(ns).saturating_sub(time);
                let left = Duration::from_secs(left.as_nanos().div_ceil(1_000_000_000) as u64);
                let _ = write!(text, " of {}, {} left", show_typed_time_ns(ns), show_seconds(left));
                done = share(time, ns);
            }
            if let Some(count) = stop.requests() {
                let _ = write!(text, ", {} of {} requests", show_count(ended), show_count(count));
                done = done.max(ended as f64 / count.max(1) as f64);
            }
            (text, Some(done))
        }
        Phase::Draining(time) => {
            let in_flight = show_count(view.joined.in_flight);
            let all = show_typed_time_ns(drain_ns);
            let text = format!("draining, {} of {all}; {in_flight} still in flight", show_seconds(time));
            (text, Some(share(time, drain_ns)))
        }
        Phase::Ending => ("ending; the report follows".to_owned(), None),
    };
    let mut line = format!(" {text}  ");
    let room = width.saturating_sub(line.chars().count() + 1);
    if let Some(done) = done.filter(|_| room >= 5) {
        let full = ((done * room as f64) as usize).min(room);
        line.extend(std::iter::repeat_n('━', full).chain(std::iter::repeat_n('╌', room - full)));
    }
    (line, bold())
}

fn responses(figures: &Figures, width: usize) -> Lines {
    let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(figures.status);
    let mut pieces: Vec<String> = classes
        .filter(|(_, count)| *count > 0)
        .map(|(class, count)| format!("{class}: {}", show_count(count)))
        .collect();
    if pieces.is_empty() {
        pieces.push("none yet".to_owned());
    }
    listed("Responses", &pieces, " · ", width, Style::new())
}

fn errors(view: &View<'_>, width: usize) -> Lines {
    // The workers tell of failures sooner than a second is over.
    let failed = view.figures.failed.max(view.joined.failed);
    if failed == 0 {
        return listed("Errors", &["none".to_owned()], " · ", width, Style::new());
    }
    let share = show_share(failed, view.figures.completed.max(view.joined.completed) + failed);
    let mut pieces = vec![format!("{} ({share})", show_count(failed))];
    let described = |name: &str| {
        ErrorKind::ALL.into_iter().find(|kind| kind.name() == name).map_or("", ErrorKind::description)
    };
    for (kind, count) in &view.figures.errors {
        let description = described(kind);
        pieces.push(if width >= 100 {
            format!("{kind}: {}, {description}", show_count(*count))
        } else {
            format!("{kind}: {}", show_count(*count))
        });
    }
    listed("Errors", &pieces, " · ", width, bad(view.has_colour))
}

fn connections(view: &View<'_>, width: usize) -> Lines {
    let figures = view.figures;
    let (open, in_flight) = if figures.seconds > 0 {
        (figures.connections, figures.in_flight)
    } else {
        (view.joined.connections, view.joined.in_flight)
    };
    let mut pieces =
        vec![format!("{} open", show_count(open)), format!("{} in flight", show_count(in_flight))];
    if figures.waiting > 0 {
        pieces.push(format!("{} due and waiting for one", show_count(figures.waiting)));
    }
    if figures.opened > 0 {
        pieces.push(format!("{} opened in the last second", show_count(figures.opened)));
    }
    listed("Connections", &pieces, " · ", width, Style::new())
}

fn verdict(view: &View<'_>, width: usize) -> Lines {
    let Some(verdict) = &view.figures.verdict else {
        return listed("Verdict", &["after two seconds".to_owned()], " ", width, Style::new());
    };
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    match verdict.valid {
        Some(true) => {
            let text = "valid so far: the generator is not the bottleneck";
            let style = if view.has_colour { Style::new().fg(Color::Green) } else { Style::new() };
            listed("Verdict", &words(text), " ", width, style)
        }
        valid => {
            let style = if valid.is_some() { bad(view.has_colour) } else { Style::new() };
            let mut lines = Vec::new();
            for (index, reason) in verdict.reasons.iter().enumerate() {
                let says = if valid.is_some() { "NOT VALID so far: " } else { "" };
                let text = if index == 0 { format!("{says}{reason}") } else { format!("- {reason}") };
                let label = if index == 0 { "Verdict" } else { "" };
                lines.extend(listed(label, &words(&text), " ", width, style));
            }
            lines
        }
    }
}

fn ranges(figures: &Figures, width: usize) -> Lines {
    /// A label before the bar, and the share and the count behind it.
    const BESIDE: usize = 34;
    if figures.ranges.is_empty() {
        return Vec::new();
    }
    let all: u64 = figures.ranges.iter().map(|range| range.count).sum();
    let most = figures.ranges.iter().map(|range| range.count).max().unwrap_or(0);
    let room = width.saturating_sub(BESIDE);
    let mut lines = vec![(" Response times of completed requests so far".to_owned(), bold())];
    lines.extend(figures.ranges.iter().map(|Range { end_ns, count }| {
        let label = format!("< {}", show_round_time_ns(*end_ns));
        let (bar, share) = (bar(*count, most, room), show_share(*count, all));
        (format!("   {label:<10}{bar:<room$} {share:>7}  {}", show_count(*count)), Style::new())
    }));
    lines
}

fn notices(view: &View<'_>, width: usize) -> Lines {
    let newest = view.notices.iter().rev().take(2).rev();
    let lines = newest.flat_map(|notice| {
        let words: Vec<_> = notice.split_whitespace().map(str::to_owned).collect();
        listed("Note", &words, " ", width, Style::new())
    });
    lines.collect()
}

fn keys(view: &View<'_>, width: usize) -> (String, Style) {
    let text = match (view.has_keys, view.is_paused, view.shows_help) {
        (false, ..) => " Ctrl-C ends the run; its report is written",
        (_, _, true) => " Esc closes the help",
        (_, true, _) => " PAUSED, the run goes on · p draw again · q end the run · ? help",
        (_, false, _) => " p pause drawing · q end the run · ? help",
    };
    (format!("{text:<width$}"), Style::new().add_modifier(Modifier::REVERSED))
}
