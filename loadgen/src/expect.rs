//! What a response must be, such as `status=200,body~hello`: reading it, and checking responses.

use std::fmt;
use std::str::FromStr;

use regex::bytes::Regex;
use ringtide::message::ResponseHead;
use serde::{Deserialize, Serialize};

use crate::units::parse_size;

/// What can be checked, for messages.
const CHECKS: &str = "there are status=200, status=2xx, status=200-299, header:NAME, header:NAME=TEXT, header:NAME~REGEX, \
                      body~REGEX, body*=TEXT, body=TEXT and size<10KiB";

/// Checks of a response, compiled. All must hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Expect {
    text: String,
    checks: Vec<Check>,
}

/// Compiled expressions are equal if their text is.
impl PartialEq for Expect {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[derive(Clone, Debug)]
struct Check {
    text: String,
    subject: Subject,
}

#[derive(Clone, Debug)]
enum Subject {
    /// Any of these ranges.
    Status(Vec<(u16, u16)>),
    Header(String, Text),
    Body(Text),
    Size(Comparison, u64),
}

#[derive(Clone, Debug)]
enum Text {
    Present,
    Equals(String),
    Contains(String),
    Matches(Regex),
}

#[derive(Clone, Copy, Debug)]
enum Comparison {
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
}

/// Why an expectation could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ExpectError(String);

impl Expect {
    /// Whether the head has to be seen.
    pub fn needs_head(&self) -> bool {
        self.checks.iter().any(|check| matches!(check.subject, Subject::Header(..)))
    }

    /// Whether the body has to be kept. Its size alone is known without that.
    pub fn needs_body(&self) -> bool {
        self.checks.iter().any(|check| matches!(check.subject, Subject::Body(_)))
    }

    /// Whether the size of the body has to be known.
    pub fn needs_size(&self) -> bool {
        self.checks.iter().any(|check| matches!(check.subject, Subject::Size(..)))
    }

    /// The first check of the status that fails.
    pub fn check_status(&self, status: u16) -> Option<usize> {
        self.checks.iter().position(|check| match &check.subject {
            Subject::Status(ranges) => !ranges.iter().any(|(from, to)| (*from..=*to).contains(&status)),
            _ => false,
        })
    }

    /// The first check of a header field that fails.
    pub fn check_head(&self, head: &ResponseHead<'_>) -> Option<usize> {
        self.checks.iter().position(|check| match &check.subject {
            Subject::Header(name, text) => !head.fields().get_all(name).any(|value| text.accepts(value)),
            _ => false,
        })
    }

    /// The first check of the body that fails. `body` has its beginning at least if it was kept.
    pub fn check_body(&self, body: &[u8], size: u64) -> Option<usize> {
        self.checks.iter().position(|check| match &check.subject {
            // Of one that is too large to be kept nothing is known.
            Subject::Body(text) => body.len() as u64 != size || !text.accepts(body),
            Subject::Size(comparison, bound) => !comparison.holds(size, *bound),
            _ => false,
        })
    }

    /// In a sentence, that a check has failed. It does not repeat what the response contains, which may be a secret.
    pub fn failure(&self, check: usize, status: u16, size: u64) -> String {
        let Some(Check { text, subject }) = self.checks.get(check) else { return String::new() };
        let was = match subject {
            Subject::Status(_) => format!("the status was {status}"),
            Subject::Header(name, Text::Present) => format!("there was no field `{name}`"),
            Subject::Header(name, _) => format!("no field `{name}` was so"),
            Subject::Body(_) => format!("the body of {size} bytes was not so"),
            Subject::Size(..) => format!("the body had {size} bytes"),
        };
        format!("expected {text}: {was}")
    }
}

impl Text {
    fn accepts(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Equals(text) => value == text.as_bytes(),
            Self::Contains(text) => {
                text.is_empty() || value.windows(text.len()).any(|window| window == text.as_bytes())
            }
            Self::Matches(regex) => regex.is_match(value),
        }
    }
}

impl Comparison {
    fn holds(self, size: u64, bound: u64) -> bool {
        match self {
            Self::Less => size < bound,
            Self::LessOrEqual => size <= bound,
            Self::Equal => size == bound,
            Self::GreaterOrEqual => size >= bound,
            Self::Greater => size > bound,
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Expect> for String {
    fn from(expect: Expect) -> Self {
        expect.text
    }
}

impl TryFrom<String> for Expect {
    type Error = ExpectError;

    fn try_from(text: String) -> Result<Self, ExpectError> {
        text.parse()
    }
}

impl FromStr for Expect {
    type Err = ExpectError;

    /// Checks have commas between them; a comma that belongs to a check is written `\,`.
    fn from_str(text: &str) -> Result<Self, ExpectError> {
        let checks: Result<Vec<Check>, ExpectError> =
            split(text).into_iter().map(|check| parse_check(check.trim_start())).collect();
        Ok(Self { text: text.to_owned(), checks: checks? })
    }
}

/// Splits at commas that have no `\` before them, and takes that away from the others.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let last = parts.last_mut().expect("there is one from the start");
        match character {
            '\\' if characters.peek() == Some(&',') => {
                characters.next();
                last.push(',');
            }
            ',' => parts.push(String::new()),
            _ => last.push(character),
        }
    }
    parts
}

fn parse_check(text: &str) -> Result<Check, ExpectError> {
    let subject = parse_subject(text).map_err(|problem| ExpectError(format!("`{text}` {problem}")))?;
    Ok(Check { text: text.to_owned(), subject })
}

fn parse_subject(text: &str) -> Result<Subject, String> {
    let name_end = text.find(['=', '~', '*', '<', '>']).unwrap_or(text.len());
    let (name, rest) = text.split_at(name_end);
    let name = name.trim();
    if let Some(field) = name.strip_prefix("header:") {
        let field = field.trim();
        if field.is_empty()
            || !field.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|".contains(&byte))
        {
            return Err(format!("does not name a header field: `{field}` is none; write header:NAME"));
        }
        return Ok(Subject::Header(field.to_owned(), parse_text(rest)?));
    }
    match name {
        "status" => {
            let codes =
                rest.strip_prefix('=').ok_or("has no code; write for example status=200 or status=2xx")?;
            codes
                .split('|')
                .map(|range| parse_status(range.trim()))
                .collect::<Result<_, _>>()
                .map(Subject::Status)
        }
        "body" => match parse_text(rest)? {
            Text::Present => {
                Err("does not say what the body is; write body~REGEX, body*=TEXT or body=TEXT".to_owned())
            }
            text => Ok(Subject::Body(text)),
        },
        "size" => {
            let (comparison, bound) = [
                ("<=", Comparison::LessOrEqual),
                (">=", Comparison::GreaterOrEqual),
                ("<", Comparison::Less),
                (">", Comparison::Greater),
                ("=", Comparison::Equal),
            ]
            .into_iter()
            .find_map(|(sign, comparison)| Some((comparison, rest.strip_prefix(sign)?)))
            .ok_or("has no comparison; write for example size<10KiB or size=12")?;
            let bound = parse_size(bound.trim()).map_err(|error| format!("has no size: {error}"))?;
            Ok(Subject::Size(comparison, bound))
        }
        _ => Err(format!("is not a check; {CHECKS}")),
    }
}

fn parse_text(rest: &str) -> Result<Text, String> {
    if rest.is_empty() {
        return Ok(Text::Present);
    }
    if let Some(text) = rest.strip_prefix("*=") {
        return Ok(Text::Contains(text.to_owned()));
    }
    if let Some(text) = rest.strip_prefix('=') {
        return Ok(Text::Equals(text.to_owned()));
    }
    let Some(pattern) = rest.strip_prefix('~') else {
        return Err(format!("has `{rest}` where ~REGEX, *=TEXT or =TEXT should be"));
    };
    Regex::new(pattern).map(Text::Matches).map_err(|error| {
        // The last line says what is wrong, the others point at it.
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
        format!("has a regular expression that is not valid: {last}")
    })
}

fn parse_status(text: &str) -> Result<(u16, u16), String> {
    let wrong = || {
        format!("has `{text}`, which is no status; write a code (200), a class (2xx) or a range (200-299)")
    };
    let code = |digits: &str| {
        let is_plain = digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|code| is_plain && *code >= 100).ok_or_else(wrong)
    };
    if let Some(class) = text.to_ascii_lowercase().strip_suffix("xx") {
        let class = class.parse::<u16>().ok().filter(|class| (1..=9).contains(class)).ok_or_else(wrong)?;
        return Ok((class * 100, class * 100 + 99));
    }
    match text.split_once('-') {
        None => code(text).map(|code| (code, code)),
        Some((from, to)) => {
            let (from, to) = (code(from.trim())?, code(to.trim())?);
            if from > to { Err(wrong()) } else { Ok((from, to)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expect(text: &str) -> Expect {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_status_is_a_code_a_class_or_a_range() {
        for (text, good, bad) in [
            ("status=200", &[200][..], &[201, 404][..]),
            ("status=2xx", &[200, 299], &[199, 300]),
            ("status=200-204|3xx", &[200, 204, 301], &[205, 400]),
        ] {
            let expect = expect(text);
            assert!(good.iter().all(|status| expect.check_status(*status).is_none()), "{text}");
            assert!(bad.iter().all(|status| expect.check_status(*status) == Some(0)), "{text}");
            assert!(!expect.needs_body() && !expect.needs_head() && !expect.needs_size());
        }
    }

    #[test]
    fn a_body_matches_contains_or_equals() {
        for (text, good, bad) in [
            ("body~^h.*o$", "hello", "hello\n"),
            ("body*=ell", "hello", "helo"),
            ("body*=", "", "-"),
            ("body=a\\,b", "a,b", "a"),
            ("size=3,body~.", "abc", "abcd"),
            ("size<4", "abc", "abcd"),
            ("size>=1KiB", &*"x".repeat(1024), "x"),
        ] {
            let expect = expect(text);
            let check = |body: &str| expect.check_body(body.as_bytes(), body.len() as u64);
            assert_eq!(check(good), None, "{text}");
            assert!(check(bad).is_some() || bad == "-", "{text}");
        }
        assert_eq!(expect("body~a").check_body(b"aa", 3), Some(0), "not all of it is known");
        let failing = expect("status=200,body~secret");
        assert_eq!(failing.failure(0, 503, 0), "expected status=200: the status was 503");
        assert_eq!(failing.failure(1, 200, 9), "expected body~secret: the body of 9 bytes was not so");
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_be_right() {
        for (text, says) in [
            ("", "`` is not a check; there are status=200"),
            ("status", "`status` has no code"),
            ("status=20", "`20`, which is no status"),
            ("status=0xx", "`0xx`, which is no status"),
            ("status=300-200", "`300-200`, which is no status"),
            ("status=200,boddy~x", "`boddy~x` is not a check"),
            ("body~(", "unclosed group"),
            ("body", "`body` does not say"),
            ("header:", "`header:` does not name"),
            ("header:a b", "`a b` is none"),
            ("size", "has no comparison"),
            ("size<much", "has no size"),
        ] {
            let error = text.parse::<Expect>().expect_err(text).to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn it_travels_as_text() {
        let original = expect("status=2xx,header:X-Id~^[0-9]+$");
        let json = serde_json::to_string(&original).expect("serialisable");
        assert_eq!(json, "\"status=2xx,header:X-Id~^[0-9]+$\"");
        assert_eq!(serde_json::from_str::<Expect>(&json).expect("deserialisable"), original);
        assert!(original.needs_head());
    }
}
