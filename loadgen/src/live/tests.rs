//! What the live view looks like, and that it has a look at any size and for any figures.

use std::time::Duration;

use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::figures::{Figures, Maker};
use super::screen::draw;
use super::title;
use super::view::View;
use crate::metrics::{Times, histogram};
use crate::plan::{Mode, OpenLoop, Plan, Stop};
use crate::progress::{Joined, Phase, Timetable};
use crate::series::{ByStatus, Point, RanOut, ResponseUs, Second};
use crate::testing::few_cases;
use crate::verdict::Verdict;

const SECOND_NS: u64 = 1_000_000_000;

/// A run that asks for 2,000/s.
fn open_loop() -> Plan {
    let plan = Plan::for_url("http://127.0.0.1:8080/").expect("valid");
    Plan {
        mode: Mode::Open(OpenLoop::steady(2_000.0, 64)),
        connections: 64,
        threads: 2,
        stop: Stop::Duration { ns: 30 * SECOND_NS },
        ..plan
    }
}

/// The figures after seconds with these numbers of completed and failed requests, and of those that wait.
fn figures(plan: &Plan, seconds: &[(u64, u64, u64)]) -> Figures {
    let mut figures = Figures::default();
    let mut maker = Maker::new(plan);
    for (index, &(completed, failed, waiting)) in seconds.iter().enumerate() {
        let mut response = Times::new();
        for request in 0..completed.min(1000) {
            response.exact.saturating_record(200_000 + request * request * (index as u64 + 1));
        }
        let mut lag = histogram();
        lag.saturating_record_n(500, completed);
        let point = Point {
            at_s: index as f64,
            duration_s: 1.0,
            completed,
            failed,
            requests_per_second: completed as f64,
            status: ByStatus {
                successful: completed - completed / 10,
                server_error: completed / 10,
                ..ByStatus::default()
            },
            errors: [("timeout".to_owned(), failed)].into_iter().filter(|(_, count)| *count > 0).collect(),
            connections: 64,
            in_flight: 60,
            waiting,
            response_us: ResponseUs::of(&response, &mut histogram()),
            ..Point::default()
        };
        let second = Second {
            point: &point,
            response: &response,
            schedule_lag: &lag,
            ran_out: RanOut::default(),
            spin_ns: &[0, 0],
            started_unix_s: 0.0,
        };
        maker.take(&second).enter(&point, &mut figures);
    }
    // What the threads of this process have used depends on its other tests.
    figures.verdict = (seconds.len() > 1).then(|| Verdict { valid: Some(true), reasons: Vec::new() });
    figures
}

/// Twelve seconds, in which the server becomes slower.
fn slowing(plan: &Plan) -> Figures {
    let seconds: Vec<_> = (0..12).map(|second| (2_000 - second * 60, second / 8, second * 90)).collect();
    figures(plan, &seconds)
}

struct Look<'a> {
    plan: &'a Plan,
    figures: &'a Figures,
    phase: Phase,
    notices: Vec<String>,
    is_paused: bool,
    shows_help: bool,
}

impl<'a> Look<'a> {
    fn new(plan: &'a Plan, figures: &'a Figures, phase: Phase) -> Self {
        Self { plan, figures, phase, notices: Vec::new(), is_paused: false, shows_help: false }
    }

    /// The lines of a screen of this size.
    fn at(&self, width: u16, height: u16) -> Vec<String> {
        let title = title(self.plan);
        let joined = Joined { completed: 12_345, connections: 64, in_flight: 7, ..Joined::default() };
        let view = View {
            title: &title,
            timetable: Timetable::of(self.plan),
            phase: self.phase,
            joined,
            figures: self.figures,
            notices: &self.notices,
            is_paused: self.is_paused,
            has_keys: true,
            shows_help: self.shows_help,
            has_colour: true,
        };
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("it has a size");
        terminal.draw(|frame| draw(&view, frame.area(), frame.buffer_mut())).expect("nothing can fail");
        let buffer = terminal.backend().buffer();
        let cell = |x, y| buffer.cell((x, y)).map_or("", ratatui::buffer::Cell::symbol);
        (0..height)
            .map(|y| (0..width).map(|x| cell(x, y)).collect::<String>().trim_end().to_owned())
            .collect()
    }
}

/// Each of `pieces` is in a line of its own, in this order.
#[track_caller]
fn assert_shows(lines: &[String], pieces: &[&str]) {
    let mut left = lines.iter();
    for piece in pieces {
        assert!(
            left.any(|line| line.contains(piece)),
            "`{piece}` is not in its place in\n{}",
            lines.join("\n")
        );
    }
}

const RUNNING: Phase = Phase::Measuring(Duration::from_millis(12_400));

#[test]
fn everything_has_its_place_at_60_by_20() {
    let plan = open_loop();
    let (figures, width) = (slowing(&plan), 60);
    let lines = Look::new(&plan, &figures, RUNNING).at(width, 20);
    assert_shows(
        &lines,
        &[
            " GET http://127.0.0.1:8080/",
            " running, 12s of 30s, 18s left  ━━━",
            "last second",
            " requests/s        1,340       1,670  ███▇▇▇▇▆▆▆▆▅",
            "   asked           2,000       2,000",
            " p50",
            " p99",
            " max",
            " Responses   2xx: 18,0",
            " Errors      4 (< 0.1 %) · timeout: 4",
            " Connections 64 open · 60 in flight",
            " Verdict     valid so far",
            " p pause drawing · q end the run · ? help",
        ],
    );
    assert!(lines.iter().all(|line| line.chars().count() <= 60), "{lines:#?}");
}

#[test]
fn more_room_shows_the_histogram_and_higher_bars() {
    let plan = open_loop();
    let figures = slowing(&plan);
    let look = Look::new(&plan, &figures, RUNNING);
    let at_100 = look.at(100, 30);
    assert_shows(
        &at_100,
        &[
            "open loop at 2,000/s",
            "last second",
            " Verdict",
            "Response times of completed requests so far",
            "< 500 µs",
            "pause drawing",
        ],
    );
    let at_200 = look.at(200, 50);
    // Beside the rest, from its first row on.
    assert_shows(&at_200, &["so far  over time, 1s a bar", "< 500 µs"]);
    assert!(
        at_200.iter().any(|line| line.contains("last second") && line.contains("Response times of")),
        "{at_200:#?}"
    );
    let bars =
        |lines: &[String]| lines.iter().filter(|line| line.contains('█') && !line.contains('<')).count();
    assert!(bars(&at_200) > bars(&at_100), "{at_200:#?}");
}

#[test]
fn the_phases_are_told_apart() {
    let plan = Plan { warmup_ns: 5 * SECOND_NS, drain_ns: 20 * SECOND_NS, ..open_loop() };
    let (before, after) = (figures(&plan, &[]), slowing(&plan));
    let seconds = Duration::from_secs;
    for (phase, figures, says) in [
        (Phase::Connecting, &before, " connecting, 64 open"),
        (Phase::WarmingUp(seconds(2)), &before, " warming up, 2s of 5s; not measured yet  ━"),
        (Phase::Measuring(seconds(0)), &before, " running, 0s of 30s, 30s left"),
        (Phase::Draining(seconds(3)), &after, " draining, 3s of 20s; 7 still in flight  ━"),
        (Phase::Ending, &after, " ending; the report follows"),
    ] {
        assert_shows(&Look::new(&plan, figures, phase).at(80, 24), &[says, " requests/s"]);
    }
    let requests = Plan { stop: Stop::Requests { count: 20_000, within_ns: None }, ..open_loop() };
    let lines = Look::new(&requests, &after, Phase::Measuring(seconds(6))).at(80, 24);
    assert_shows(&lines, &[" running, 6s, 12,345 of 20,000 requests  ━"]);
}

#[test]
fn a_verdict_that_is_not_valid_stands_there_with_its_reasons() {
    let plan = open_loop();
    let mut figures = slowing(&plan);
    let reasons = vec![
        "the generator used 98 % of its core: give it more cores (-t)".to_owned(),
        "the clock".to_owned(),
    ];
    figures.verdict = Some(Verdict { valid: Some(false), reasons });
    let lines = Look::new(&plan, &figures, RUNNING).at(60, 24);
    assert_shows(&lines, &[" Verdict     NOT VALID so far: the generator used", "- the clock"]);
    // Where there is hardly any room, too.
    assert_shows(&Look::new(&plan, &figures, RUNNING).at(60, 5), &["NOT VALID so far"]);
}

#[test]
fn help_pause_and_notices_are_seen() {
    let plan = open_loop();
    let figures = slowing(&plan);
    let look = Look {
        is_paused: true,
        notices: vec!["only 3 of 64 connections could be opened".to_owned()],
        ..Look::new(&plan, &figures, RUNNING)
    };
    assert_shows(&look.at(80, 24), &["Note        only 3 of 64", "PAUSED, the run goes on"]);
    let look = Look { shows_help: true, ..Look::new(&plan, &figures, RUNNING) };
    for (width, height) in [(60, 20), (200, 50)] {
        assert_shows(
            &look.at(width, height),
            &["Help", "q          end the run now", "last word", "Esc closes"],
        );
    }
}

#[test]
fn what_matters_most_is_left_where_there_is_little_room() {
    let plan = open_loop();
    let figures = slowing(&plan);
    let look = Look::new(&plan, &figures, RUNNING);
    assert_shows(&look.at(60, 3), &["running, 12s", "1,340 of 2,000 requests/s · p50", "q end the run"]);
    assert_shows(&look.at(60, 1), &["running, 12s of 30s"]);
    assert_shows(&look.at(60, 9), &["running", "requests/s · p50", "Errors", "Verdict", "q end the run"]);
}

proptest! {
    #![proptest_config(few_cases(64))]

    #[test]
    fn no_size_and_no_figures_are_too_strange(
        width in 1_u16..220,
        height in 1_u16..60,
        seconds in proptest::collection::vec((0_u64..5_000, 0_u64..3, 0_u64..u64::MAX / 8), 0..4),
        phase in 0_usize..5,
        flags in any::<[bool; 2]>(),
        has_reasons: bool,
    ) {
        let plan = open_loop();
        let mut figures = figures(&plan, &seconds);
        if has_reasons {
            let reasons = vec!["a reason that goes on and on ".repeat(40); 5];
            figures.verdict = Some(Verdict { valid: Some(false), reasons });
        }
        let time = Duration::from_secs(u64::from(height));
        let phases = [
            Phase::Connecting,
            Phase::WarmingUp(time),
            Phase::Measuring(time),
            Phase::Draining(time),
            Phase::Ending,
        ];
        let look = Look {
            is_paused: flags[0],
            shows_help: flags[1],
            notices: vec!["a notice".repeat(30); 3],
            ..Look::new(&plan, &figures, phases[phase])
        };
        let lines = look.at(width, height);
        prop_assert_eq!(lines.len(), usize::from(height));
        // The phase is never left out, unless the help covers it.
        if !flags[1] {
            let words = ["connecting", "warming", "running", "draining", "ending"];
            let seen: String = words[phase].chars().take(usize::from(width) - 1).collect();
            prop_assert!(lines.iter().any(|line| line.contains(&seen)), "{:#?}", lines);
        }
    }
}

#[test]
fn a_run_that_is_stood_still_upon_shows_what_was_copied() {
    let plan = open_loop();
    let source = slowing(&plan);
    let mut copy = figures(&plan, &[(5, 0, 0)]);
    copy.copy_from(&source);
    let lines = |figures| Look::new(&plan, figures, RUNNING).at(200, 50);
    assert_eq!(lines(&copy), lines(&source));
}
