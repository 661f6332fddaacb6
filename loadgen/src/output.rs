//! Where a report goes: standard output, or a file opened before the run starts, so that it is known to be writable.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use terminal_size::Width;

use crate::error::Error;
use crate::report::{Style, WIDTH_MAX};

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
        match OpenOptions::new().write(true).create(true).truncate(false).open(path) {
            Ok(file) => Ok(Self { file: Some((path.to_owned(), file)) }),
            Err(source) => Err(Error::Output { path: path.to_owned(), source }),
        }
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
        // Pipes and devices cannot be truncated and need not be.
        let is_plain = file.metadata().is_ok_and(|metadata| metadata.is_file());
        let cut = if is_plain { file.set_len(0) } else { Ok(()) };
        cut.and_then(|()| file.write_all(text.as_bytes())).map_err(|source| Error::Output { path, source })
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
