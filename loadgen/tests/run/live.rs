//! The live view: on a terminal, with keys, signals and another size, and not where there is none.

use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::server::{HELLO, Server};
use crate::terminal::OnTerminal;

on_both_drivers!(
    keys_pause_help_and_end_the_run,
    another_size_is_drawn_anew,
    signals_end_the_run_with_its_report_and_the_terminal_as_it_was,
    a_suspended_run_gives_the_terminal_back_until_it_goes_on,
    the_phases_are_shown_and_the_report_follows,
    an_error_leaves_the_terminal_as_it_was_and_tells_all,
    without_it_there_are_plain_lines,
    colours_are_left_out_where_they_are_not_wanted,
);

/// What gives the screen back (xterm's control sequences).
const LEFT: &str = "\x1b[?1049l";

const ENDLESS: [&str; 6] = ["-d", "1h", "-c", "2", "-t", "1"];

fn start(driver: &str, url: &str, columns: u16, rows: u16, flags: &[&str]) -> OnTerminal {
    let words = [&["run", url, "--driver", driver][..], flags].concat();
    OnTerminal::start(columns, rows, &words, &[])
}

/// Starts a run that goes on until it is ended, and waits for its first figures.
fn running(driver: &str, server: &Server) -> OnTerminal {
    let terminal = start(driver, &server.url(), 60, 20, &ENDLESS);
    terminal.wait_for("2 open · ");
    terminal.wait_for("2xx: ");
    assert!(terminal.is_taken() && !terminal.has_usual_modes(), "{}", terminal.contents());
    terminal
}

/// Whether the report is there, behind what a live view has drawn.
fn has_report(terminal: &OnTerminal) -> bool {
    after_the_view(&terminal.written()).contains("Verdict  ")
}

/// The run was interrupted, its report is on the screen, and the terminal is as it was.
#[track_caller]
fn assert_interrupted(mut terminal: OnTerminal) {
    assert_eq!(terminal.wait(), Some(130), "{}", terminal.contents());
    terminal.wait_until("the report", |this| {
        has_report(this)
            && after_the_view(&this.written()).contains("Interrupted: this is the report of what ran.")
    });
    assert!(!terminal.is_taken() && terminal.has_usual_modes(), "{}", terminal.contents());
}

/// What was written behind what a live view has drawn.
fn after_the_view(written: &str) -> &str {
    written.rsplit_once(LEFT).map_or(written, |(_, after)| after)
}

fn keys_pause_help_and_end_the_run(driver: &str) {
    let server = Server::answering(HELLO);
    let mut terminal = running(driver, &server);
    terminal.types("?");
    terminal.wait_for("q          end the run now; its report is written");
    terminal.types("?");
    terminal.wait_until("the view without help", |this| !this.contents().contains("end the run now"));
    terminal.types("p");
    terminal.wait_for("PAUSED");
    // What it shows stays, longer than it otherwise does, while answers go on to come.
    let before = server.tally.requests();
    terminal.wait_until("more requests", |_| server.tally.requests() > before + 10);
    let shown = terminal.contents();
    thread::sleep(Duration::from_millis(1_500));
    assert_eq!(terminal.contents(), shown);
    terminal.types(" ");
    terminal.wait_until("newer figures", |this| {
        let contents = this.contents();
        !contents.contains("PAUSED") && contents != shown
    });
    terminal.types("q");
    assert_interrupted(terminal);
    server.finish();
}

fn another_size_is_drawn_anew(driver: &str) {
    let server = Server::answering(HELLO);
    let mut terminal = running(driver, &server);
    for (columns, rows, says) in [
        (200, 50, "Response times of completed requests so far"),
        (100, 30, "last second      so far  over time"),
        (60, 9, "p99"),
        (20, 3, "running"),
        (1, 1, ""),
        (60, 20, "last second      so far"),
    ] {
        terminal.resize(columns, rows);
        if says.is_empty() {
            continue;
        }
        // What was drawn for the size before may stand there for a moment.
        terminal.wait_until(says, |this| {
            let contents = this.contents();
            let fits = contents.lines().all(|line| line.chars().count() <= usize::from(columns));
            fits && contents.contains(says) && contents.contains("running")
        });
    }
    terminal.types("q");
    assert_interrupted(terminal);
    server.finish();
}

fn signals_end_the_run_with_its_report_and_the_terminal_as_it_was(driver: &str) {
    let server = Server::answering(HELLO);
    let mut terminal = running(driver, &server);
    // Ctrl-C.
    terminal.types("\x03");
    assert_interrupted(terminal);
    let terminal = running(driver, &server);
    terminal.signal(Signal::SIGTERM);
    assert_interrupted(terminal);
    // This ends it at once, without a report.
    for signal in [Signal::SIGHUP, Signal::SIGQUIT] {
        let mut terminal = running(driver, &server);
        terminal.signal(signal);
        assert_eq!(terminal.wait(), None, "{}", terminal.contents());
        terminal.wait_until("the screen", |this| !this.is_taken());
        assert!(terminal.has_usual_modes(), "{}", terminal.contents());
    }
    server.finish();
}

fn a_suspended_run_gives_the_terminal_back_until_it_goes_on(driver: &str) {
    let server = Server::answering(HELLO);
    let mut terminal = running(driver, &server);
    // Ctrl-Z.
    terminal.types("\x1a");
    terminal.wait_until("the suspension", OnTerminal::is_suspended);
    terminal.wait_until("the screen", |this| !this.is_taken());
    assert!(terminal.has_usual_modes(), "{}", terminal.contents());
    terminal.signal(Signal::SIGCONT);
    terminal.wait_until("the view again", |this| this.is_taken() && this.contents().contains("running, "));
    terminal.types("q");
    assert_interrupted(terminal);
    server.finish();
}

fn the_phases_are_shown_and_the_report_follows(driver: &str) {
    let server = Server::start(|peer| {
        while peer.request().is_some() {
            thread::sleep(Duration::from_millis(1_500));
            peer.send(HELLO);
        }
    });
    let flags = ["-c", "2", "-t", "1", "--warmup", "1s", "-d", "1s", "--drain", "20s"];
    let mut terminal = start(driver, &server.url(), 80, 24, &flags);
    terminal.wait_for("warming up, 0s of 1s; not measured yet");
    terminal.wait_for("running, 0s of 1s, 1s left");
    terminal.wait_for("draining, 0s of 20s; 2 still in flight");
    assert_eq!(terminal.wait(), Some(0), "{}", terminal.contents());
    terminal.wait_until("the report", has_report);
    assert!(!terminal.is_taken() && terminal.has_usual_modes(), "{}", terminal.contents());
    server.finish();
}

fn an_error_leaves_the_terminal_as_it_was_and_tells_all(driver: &str) {
    // It speaks no TLS.
    let server = Server::answering(HELLO);
    let url = server.url().replace("http:", "https:");
    let mut terminal = start(driver, &url, 80, 24, &["-k", "-d", "1h", "-c", "1"]);
    assert_eq!(terminal.wait(), Some(1), "{}", terminal.contents());
    terminal.wait_for("error: ");
    assert!(terminal.contents().contains("ringtide: INSECURE: -k accepts any"), "{}", terminal.contents());
    assert!(!terminal.is_taken() && terminal.has_usual_modes(), "{}", terminal.contents());
    server.finish();
}

fn without_it_there_are_plain_lines(driver: &str) {
    let server = Server::answering(HELLO);
    let url = server.url();
    let words = ["run", &url, "--driver", driver, "-d", "1500ms", "-c", "2", "-t", "1"];
    for (flags, environment, says) in [
        (&["--no-tui"][..], &[][..], "s of 1.5s · "),
        (&[], &[("TERM", "dumb")], "s of 1.5s · "),
        (&["--quiet"], &[], ""),
    ] {
        let mut terminal = OnTerminal::start(80, 60, &[&words[..], flags].concat(), environment);
        assert_eq!(terminal.wait(), Some(0), "{}", terminal.contents());
        terminal.wait_until("the report", has_report);
        let written = terminal.written();
        assert!(
            written.contains(says) && !written.contains("\x1b[?"),
            "{flags:?} {environment:?}: {written}"
        );
        assert!(!says.is_empty() || !written.contains(" of 1.5s"), "{written}");
    }
    server.finish();
}

fn colours_are_left_out_where_they_are_not_wanted(driver: &str) {
    // Each request fails, which is red otherwise.
    let server = Server::start(|peer| while peer.request().is_some() {});
    let url = server.url();
    let flags = ["-d", "1500ms", "-c", "2", "-t", "1", "--timeout", "100ms"];
    let words = [&["run", &url, "--driver", driver][..], &flags].concat();
    for (environment, is_coloured) in [(&[][..], true), (&[("NO_COLOR", "1")], false)] {
        let mut terminal = OnTerminal::start(80, 60, &words, environment);
        terminal.wait_for("timeout: ");
        assert_eq!(terminal.wait(), Some(0), "{}", terminal.contents());
        terminal.wait_until("the report", has_report);
        let written = terminal.written();
        let (view, _) = written.rsplit_once(LEFT).expect("the screen was left");
        assert_eq!(view.contains("38;5;1"), is_coloured, "{view}");
    }
    server.finish();
}
