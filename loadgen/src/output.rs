//! Where a report and the files beside it go: standard output, or files opened before the run starts, so that they are
//! known to be writable.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use terminal_size::Width;

use crate::cli::{Format, Output};
use crate::error::Error;
use crate::report::html::Named;
use crate::report::interval_log::IntervalLog;
use crate::report::{self, Style, WIDTH_MAX};
use crate::result::RunResult;
use crate::run::Run;
use crate::series::Second;

/// Room for the text of one second, so that it seldom grows while the run goes on.
const SECOND_TEXT_SIZE: usize = 64 * 1024;

/// A place for a report.
#[derive(Debug)]
pub struct Sink {
    file: Option<(PathBuf, File)>,
}

impl Sink {
    /// Opens `file`, or takes standard output. The file keeps its content until a report is written over it, so a
    /// failed run does not destroy the previous report.
    ///
    /// # Errors
    /// When the file cannot be opened for writing.
    pub fn open(file: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = file else { return Ok(Self { file: None }) };
        Ok(Self { file: Some((path.to_owned(), open(path)?)) })
    }

    /// The style for text that is written here.
    pub fn style(&self) -> Style {
        if self.file.is_some() || !io::stdout().is_terminal() {
            return Style::PLAIN;
        }
        let columns = terminal_size::terminal_size_of(io::stdout());
        Style::for_terminal(columns.map_or(WIDTH_MAX, |(Width(columns), _)| usize::from(columns)))
    }

    /// Writes a report, which ends with a newline. A closed standard output is no error.
    ///
    /// # Errors
    /// When not all of it could be written.
    pub fn write_text(self, text: &str) -> Result<(), Error> {
        let Some((path, mut file)) = self.file else {
            let mut stdout = io::stdout().lock();
            return match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                    Err(Error::Output { path: PathBuf::from("standard output"), source: error })
                }
                _ => Ok(()),
            };
        };
        cut(&file)
            .and_then(|()| file.write_all(text.as_bytes()))
            .map_err(|source| Error::Output { path, source })
    }

    /// Writes the report of a run in this format.
    ///
    /// # Errors
    /// As [`write_text`](Self::write_text).
    pub fn write_result(self, result: &RunResult, format: Format) -> Result<(), Error> {
        match format {
            Format::Text => {
                let style = self.style();
                self.write_text(&report::text::render(result, style))
            }
            Format::Json => self.write_json(result),
            Format::Csv => self.write_text(&report::csv::render([result])),
        }
    }

    /// Writes `value` as indented JSON.
    ///
    /// # Errors
    /// As [`write_text`](Self::write_text).
    ///
    /// # Panics
    /// When `value` has keys other than strings; results have none.
    pub fn write_json(self, value: &impl Serialize) -> Result<(), Error> {
        let mut text = serde_json::to_string_pretty(value).expect("results have only strings as keys");
        text.push('\n');
        self.write_text(&text)
    }
}

/// Opens a file for writing; it keeps its content.
fn open(path: &Path) -> Result<File, Error> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    file.map_err(|source| Error::Output { path: path.to_owned(), source })
}

/// Empties the file. Pipes and devices cannot be truncated and need not be.
fn cut(file: &File) -> io::Result<()> {
    if file.metadata().is_ok_and(|metadata| metadata.is_file()) { file.set_len(0) } else { Ok(()) }
}

/// Everything that a run writes.
#[derive(Debug)]
pub struct Outputs {
    report: Sink,
    format: Format,
    require_valid: bool,
    summary: Option<Sink>,
    junit: Option<Sink>,
    openmetrics: Option<Sink>,
    html: Option<Sink>,
    timeseries: Option<Stream>,
    hdr: Option<Stream>,
}

impl Outputs {
    /// Opens all files of `output`.
    ///
    /// # Errors
    /// When one of them cannot be opened for writing.
    pub fn open(output: &Output) -> Result<Self, Error> {
        let files = &output.files;
        let sink = |path: &Option<PathBuf>| path.as_deref().map(|path| Sink::open(Some(path))).transpose();
        let stream = |path: &Option<PathBuf>| path.as_deref().map(Stream::open).transpose();
        Ok(Self {
            report: Sink::open(output.file.as_deref())?,
            format: output.format,
            require_valid: output.require_valid,
            summary: sink(&files.summary)?,
            junit: sink(&files.junit)?,
            openmetrics: sink(&files.openmetrics)?,
            html: sink(&files.html)?,
            timeseries: stream(&files.timeseries)?,
            hdr: stream(&files.hdr)?,
        })
    }

    /// Lets `run` write the files that grow while it goes on, and collect what the report needs.
    pub fn attach(&self, run: &mut Run) {
        if self.format == Format::Json || self.html.is_some() {
            run.keep_series();
        }
        if let Some(stream) = &self.timeseries {
            run.subscribe(stream.subscriber(report::timeseries::append_line));
        }
        if let Some(stream) = &self.hdr {
            let mut log = IntervalLog::new();
            run.subscribe(stream.subscriber(move |second, out| log.append(second, out)));
        }
    }

    /// Writes the report and all files. If one of them fails, the others are written all the same.
    ///
    /// # Errors
    /// The first that was met; further ones go to `notice`.
    pub fn write(self, result: &RunResult, notice: impl Fn(&Error)) -> Result<(), Error> {
        let text = |sink: Option<Sink>, text: &dyn Fn() -> String| {
            sink.map_or(Ok(()), |sink| sink.write_text(&text()))
        };
        // The report comes last, as standard output may wait for its reader.
        let outcomes = [
            self.timeseries.map_or(Ok(()), Stream::finish),
            self.hdr.map_or(Ok(()), Stream::finish),
            text(self.summary, &|| report::summary::render(result)),
            text(self.junit, &|| report::junit::render(result, self.require_valid)),
            text(self.openmetrics, &|| report::openmetrics::render(result)),
            text(self.html, &|| page(result)),
            self.report.write_result(result, self.format),
        ];
        let mut first = Ok(());
        for error in outcomes.into_iter().filter_map(Result::err) {
            if first.is_ok() {
                first = Err(error);
            } else {
                notice(&error);
            }
        }
        first
    }
}

/// The page of a run that has just ended.
fn page(result: &RunResult) -> String {
    let page = report::html::render(&[Named { name: "", result }]);
    page.expect("its histograms are those of this version")
}

/// A file that grows while the run goes on. Each second is in it before the next one begins, so that a run that is
/// killed leaves all lines but the last.
#[derive(Debug)]
struct Stream {
    path: PathBuf,
    state: Arc<Mutex<StreamState>>,
}

#[derive(Debug)]
struct StreamState {
    file: File,
    /// The old content is gone.
    is_cut: bool,
    /// Why writing failed. Nothing is written after that.
    failed: Option<io::Error>,
}

impl StreamState {
    fn write(&mut self, text: &str) {
        if self.failed.is_some() {
            return;
        }
        let cut = if self.is_cut { Ok(()) } else { cut(&self.file) };
        self.is_cut = true;
        self.failed = cut.and_then(|()| self.file.write_all(text.as_bytes())).err();
    }
}

impl Stream {
    fn open(path: &Path) -> Result<Self, Error> {
        let state = StreamState { file: open(path)?, is_cut: false, failed: None };
        Ok(Self { path: path.to_owned(), state: Arc::new(Mutex::new(state)) })
    }

    /// Writes what `append` makes of each second.
    fn subscriber(
        &self,
        mut append: impl FnMut(&Second<'_>, &mut String) + Send + 'static,
    ) -> impl FnMut(&Second<'_>) + Send + 'static {
        let state = Arc::clone(&self.state);
        let mut text = String::with_capacity(SECOND_TEXT_SIZE);
        move |second| {
            text.clear();
            append(second, &mut text);
            state.lock().unwrap_or_else(PoisonError::into_inner).write(&text);
        }
    }

    /// The run is over. A run without a second leaves an empty file.
    fn finish(self) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.write("");
        match state.failed.take() {
            Some(source) => Err(Error::Output { path: self.path, source }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_what_it_holds_until_the_report_is_there() {
        let path = std::env::temp_dir().join(format!("ringtide-output-{}", std::process::id()));
        std::fs::write(&path, "an older and longer report\n").expect("writable");
        let sink = Sink::open(Some(&path)).expect("writable");
        assert_eq!(std::fs::read_to_string(&path).expect("readable"), "an older and longer report\n");
        sink.write_json(&[1]).expect("writable");
        assert_eq!(std::fs::read_to_string(&path).expect("readable"), "[\n  1\n]\n");
        std::fs::remove_file(&path).expect("removable");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named_at_once() {
        let error = Sink::open(Some(Path::new("/nonexistent/report.json"))).expect_err("no such directory");
        assert!(error.to_string().contains("/nonexistent/report.json"), "{error}");
    }
}
