//! The file of `--replay`: a request on each line as a JSON object, with the time at which it is due. Empty lines are left out.
//!
//! Requests that are the same are kept, and later encoded, once.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use http::{HeaderName, HeaderValue, Method};
use serde::Deserialize;

use crate::error::UsageError;
use crate::plan::{Header, NAMES_MAX, Replayed, Request};
use crate::units::{TYPED_TIME_MAX_NS, show_typed_time_ns};
use crate::url::Url;

/// Fields that are this program's to set.
const OWN_FIELDS: [&str; 3] = ["connection", "content-length", "transfer-encoding"];

/// What a file says.
#[derive(Debug)]
pub struct Replay {
    /// The requests, each once.
    pub requests: Vec<Request>,
    /// When each of them is due, in the order of the times.
    pub arrivals: Vec<Replayed>,
}

/// A line of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    offset_s: f64,
    method: Option<String>,
    path: String,
    body: Option<String>,
    headers: Option<BTreeMap<String, String>>,
}

/// What makes two requests the same.
type Key = (String, String, Vec<u8>, Vec<(String, String)>);

/// Reads a file.
///
/// # Errors
/// When it cannot be read, or a line is not right. The message names file and line.
pub fn read(path: &Path) -> Result<Replay, UsageError> {
    let unreadable = |source| UsageError::File { flag: "--replay", path: path.to_owned(), source };
    let file = BufReader::new(File::open(path).map_err(unreadable)?);
    let mut reader = Reader::default();
    let mut line = 0;
    for content in file.split(b'\n') {
        line += 1;
        let content = content.map_err(unreadable)?;
        reader.line(&content).map_err(|problem| UsageError::Line { path: path.to_owned(), line, problem })?;
    }
    reader.end().map_err(|problem| UsageError::Line { path: path.to_owned(), line: line.max(1), problem })
}

#[derive(Default)]
struct Reader {
    indices: HashMap<Key, u32>,
    requests: Vec<Request>,
    arrivals: Vec<Replayed>,
}

impl Reader {
    fn line(&mut self, content: &[u8]) -> Result<(), String> {
        if content.trim_ascii().is_empty() {
            return Ok(());
        }
        let line: Line = serde_json::from_slice(content).map_err(|error| {
            // The line of the file is told with it.
            let problem = error.to_string().replace(" at line 1 column ", ", at character ");
            format!(
                "{problem}; write for example {}",
                r#"{"offset_s":0.5,"method":"GET","path":"/x","body":""}"#
            )
        })?;
        let due_ns = due_ns(line.offset_s)?;
        if let Some(last) = self.arrivals.last()
            && due_ns < last.due_ns
        {
            return Err(format!(
                "offset_s goes back from {} to {}; sort the lines by it",
                last.due_ns as f64 / 1e9,
                line.offset_s
            ));
        }
        let key = key(line)?;
        let next =
            u32::try_from(self.requests.len()).map_err(|_| "there are too many requests".to_owned())?;
        let request = *self.indices.entry(key).or_insert_with_key(|(method, target, body, fields)| {
            let header =
                |(name, value): &(String, String)| Header { name: name.clone(), value: value.clone() };
            self.requests.push(Request {
                name: target.clone(),
                weight: 0.0,
                method: method.clone(),
                headers: fields.iter().map(header).collect(),
                body: body.clone(),
                ..Request::get(target)
            });
            next
        });
        self.requests[request as usize].weight += 1.0;
        self.arrivals.push(Replayed { due_ns, request });
        Ok(())
    }

    fn end(mut self) -> Result<Replay, String> {
        if self.arrivals.is_empty() {
            return Err("there is no request in the file".to_owned());
        }
        let mut names: Vec<_> = self.requests.iter().map(|request| &*request.name).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() > NAMES_MAX {
            for request in &mut self.requests {
                request.name.clear();
            }
        }
        Ok(Replay { requests: self.requests, arrivals: self.arrivals })
    }
}

fn due_ns(offset_s: f64) -> Result<u64, String> {
    let due_ns = (offset_s * 1e9).round();
    if !(0.0..=TYPED_TIME_MAX_NS as f64).contains(&due_ns) {
        let max = show_typed_time_ns(TYPED_TIME_MAX_NS);
        return Err(format!("offset_s is {offset_s}; it is a number of seconds from 0 to {max} (100 years)"));
    }
    Ok(due_ns as u64)
}

fn key(line: Line) -> Result<Key, String> {
    let method = line.method.unwrap_or_else(|| "GET".to_owned());
    if Method::from_bytes(method.as_bytes()).is_err() || method == "CONNECT" {
        return Err(format!("method: `{method}` is not a method for a load test, such as GET or POST"));
    }
    if !line.path.starts_with('/') {
        return Err(format!("path: `{}` does not begin with `/`", line.path));
    }
    let url = Url::parse(&format!("http://h{}", line.path)).map_err(|error| format!("path: {error}"))?;
    let fields: Vec<_> = line.headers.into_iter().flatten().collect();
    for (name, value) in &fields {
        let is_own = OWN_FIELDS.iter().any(|own| own.eq_ignore_ascii_case(name));
        if is_own {
            return Err(format!("headers: `{name}` is not to be set: ringtide sends its own"));
        }
        if HeaderName::from_bytes(name.as_bytes()).is_err() || HeaderValue::from_str(value).is_err() {
            return Err(format!("headers: `{name}` with its value cannot be sent"));
        }
    }
    Ok((method, url.target, line.body.unwrap_or_default().into_bytes(), fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &[&str]) -> Result<Replay, String> {
        let mut reader = Reader::default();
        for line in lines {
            reader.line(line.as_bytes())?;
        }
        reader.end()
    }

    #[test]
    fn equal_requests_are_kept_once() {
        let replay = parse(&[
            r#"{"offset_s":0,"path":"/a"}"#,
            "",
            "\r",
            r#"{"offset_s":0.5,"method":"POST","path":"/b?c","body":"x","headers":{"X-Y":"z"}}"#,
            r#"{"path":"/a","offset_s":0.5,"method":"GET","body":"","headers":{}}"#,
        ])
        .expect("valid");
        let arrivals: Vec<_> =
            replay.arrivals.iter().map(|arrival| (arrival.due_ns, arrival.request)).collect();
        assert_eq!(arrivals, [(0, 0), (500_000_000, 1), (500_000_000, 0)]);
        let [first, second] = &replay.requests[..] else { panic!("{replay:?}") };
        assert_eq!((&*first.target, &*first.method, first.weight), ("/a", "GET", 2.0));
        assert_eq!((&*second.target, &*second.method, &*second.body), ("/b?c", "POST", &b"x"[..]));
        assert_eq!(second.headers, [Header { name: "X-Y".to_owned(), value: "z".to_owned() }]);
    }

    #[test]
    fn a_line_that_is_not_right_is_told() {
        for (lines, says) in [
            (&[][..], "there is no request in the file"),
            (&["x"], "expected value, at character 1; write for example {\"offset_s\":0.5"),
            (&[r#"{"path":"/"}"#], "missing field `offset_s`"),
            (&[r#"{"offset_s":0}"#], "missing field `path`"),
            (&[r#"{"offset_s":0,"path":"/","at":1}"#], "unknown field `at`"),
            (&[r#"{"offset_s":-1,"path":"/"}"#], "offset_s is -1; it is a number of seconds"),
            (&[r#"{"offset_s":1e300,"path":"/"}"#], "(100 years)"),
            (&[r#"{"offset_s":2,"path":"/"}"#, r#"{"offset_s":1.5,"path":"/"}"#], "goes back from 2 to 1.5"),
            (&[r#"{"offset_s":0,"path":"x"}"#], "path: `x` does not begin with `/`"),
            (&[r#"{"offset_s":0,"path":"/a b"}"#], "must be percent-encoded"),
            (&[r#"{"offset_s":0,"path":"/","method":"A B"}"#], "method: `A B`"),
            (&[r#"{"offset_s":0,"path":"/","headers":{"A B":"c"}}"#], "headers: `A B`"),
            (&[r#"{"offset_s":0,"path":"/","headers":{"a":"b\r\nc: d"}}"#], "headers: `a`"),
            (
                &[r#"{"offset_s":0,"path":"/","headers":{"content-length":"3"}}"#],
                "`content-length` is not to be set",
            ),
        ] {
            let error = parse(lines).expect_err(says);
            assert!(error.contains(says), "{error}");
        }
    }
}
