//! What a request target asks the embedded server for.

use std::fmt;
use std::time::Duration;

use http::StatusCode;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target<'t> {
    /// `/`
    Hello,
    /// `/bytes/N`
    Bytes(u64),
    /// `/delay/MS`
    Delay(Duration),
    /// `/status/CODE`
    Status(StatusCode),
    /// `/echo`
    Echo,
    /// `/headers`
    Headers,
    /// `/stream/N`
    Stream(u64),
    /// `/flaky?p=`
    Flaky(f64),
    /// `/cookie/NAME/VALUE`
    Cookie(&'t str),
    /// `/id`
    Id,
    /// `/redirect/N`
    Redirect(u32),
}

/// Why a target is not valid.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TargetError<'t> {
    /// Nothing is at this path.
    NotFound(&'t str),
    /// A part of it is not what has to be there.
    Invalid { part: &'t str, wanted: &'static str },
}

impl<'t> Target<'t> {
    /// Understands `target`, in origin-form or absolute-form.
    pub(super) fn parse(target: &'t [u8]) -> Result<Self, TargetError<'t>> {
        if target == b"/" {
            return Ok(Self::Hello);
        }
        let target = std::str::from_utf8(target).unwrap_or_default();
        let (path, query) = path_and_query(target);
        // "*" and "host:port" are targets too, of OPTIONS and CONNECT.
        let Some(below_root) = path.strip_prefix('/') else { return Err(TargetError::NotFound(path)) };
        let (name, argument) = match below_root.split_once('/') {
            Some((name, argument)) => (name, Some(argument)),
            None => (below_root, None),
        };
        match (name, argument) {
            ("", None) => Ok(Self::Hello),
            ("echo", None) => Ok(Self::Echo),
            ("headers", None) => Ok(Self::Headers),
            ("bytes", Some(count)) => Ok(Self::Bytes(number(count, "a number of bytes")?)),
            ("stream", Some(count)) => Ok(Self::Stream(number(count, "a number of pieces")?)),
            ("delay", Some(delay)) => {
                Ok(Self::Delay(Duration::from_millis(number(delay, "a number of milliseconds")?)))
            }
            ("status", Some(code)) => {
                let status = code.parse().ok().filter(|status: &StatusCode| !status.is_informational());
                let wanted = "the code of a final status, from 200 to 999";
                status.map(Self::Status).ok_or(TargetError::Invalid { part: code, wanted })
            }
            ("flaky", None) => share(query).map(Self::Flaky),
            ("id", None) => Ok(Self::Id),
            ("cookie", Some(pair)) => cookie(pair).map(Self::Cookie),
            ("redirect", Some(count)) => {
                let wanted = "a number of redirects";
                let count = number(count, wanted)?.try_into();
                count.map(Self::Redirect).map_err(|_| TargetError::Invalid { part: below_root, wanted })
            }
            _ => Err(TargetError::NotFound(path)),
        }
    }
}

/// The share in `p=0.1`.
fn share(query: &str) -> Result<f64, TargetError<'_>> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("p="));
    let wanted = "p=, a share from 0 to 1";
    let Some(value) = value else { return Err(TargetError::Invalid { part: query, wanted }) };
    value
        .parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or(TargetError::Invalid { part: value, wanted })
}

/// `NAME/VALUE`, of characters that need no care in a field.
fn cookie(pair: &str) -> Result<&str, TargetError<'_>> {
    let is_plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let wanted = "NAME/VALUE of letters, digits, -, _ and .";
    match pair.split_once('/') {
        Some((name, value)) if is_plain(name) && is_plain(value) => Ok(pair),
        _ => Err(TargetError::Invalid { part: pair, wanted }),
    }
}

fn number<'t>(digits: &'t str, wanted: &'static str) -> Result<u64, TargetError<'t>> {
    // u64's own parser takes a sign.
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_plain).ok_or(TargetError::Invalid { part: digits, wanted })
}

/// RFC 9112 §3.2.2: a server takes absolute-form as well.
fn path_and_query(target: &str) -> (&str, &str) {
    let target = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => rest.find(['/', '?']).map_or("/", |at| &rest[at..]),
        _ => target,
    };
    match target.split_once('?') {
        Some(("", query)) => ("/", query),
        Some((path, query)) => (path, query),
        None => (target, ""),
    }
}

impl TargetError<'_> {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Invalid { .. } => StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for TargetError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(path) => write!(
                f,
                "nothing is at '{path}': there are /, /bytes/N, /cookie/NAME/VALUE, /delay/MS, /echo, /flaky?p=SHARE, /headers, /id, \
                 /redirect/N, /status/CODE and /stream/N"
            ),
            Self::Invalid { part, wanted } => write!(f, "'{part}' is not {wanted}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_understood() {
        let cases: [(&str, Target<'_>); 15] = [
            ("/", Target::Hello),
            ("/?x=1", Target::Hello),
            ("http://127.0.0.1:80", Target::Hello),
            ("http://127.0.0.1:80/echo", Target::Echo),
            ("/headers", Target::Headers),
            ("/bytes/0", Target::Bytes(0)),
            ("/bytes/1099511627776", Target::Bytes(1 << 40)),
            ("/stream/3?x", Target::Stream(3)),
            ("/delay/250", Target::Delay(Duration::from_millis(250))),
            ("/status/204", Target::Status(StatusCode::NO_CONTENT)),
            ("/flaky?p=0.25", Target::Flaky(0.25)),
            ("/flaky?a=b&p=1", Target::Flaky(1.0)),
            ("/cookie/sid/a-1", Target::Cookie("sid/a-1")),
            ("/id?x", Target::Id),
            ("/redirect/2", Target::Redirect(2)),
        ];
        for (target, expected) in cases {
            assert_eq!(Target::parse(target.as_bytes()), Ok(expected), "{target}");
        }
    }

    #[test]
    fn a_bad_value_is_named() {
        let cases = [
            ("/bytes/", "'' is not a number of bytes"),
            ("/bytes/+5", "'+5' is not a number of bytes"),
            ("/bytes/18446744073709551616", "'18446744073709551616' is not a number of bytes"),
            ("/delay/soon", "'soon' is not a number of milliseconds"),
            ("/status/100", "'100' is not the code of a final status, from 200 to 999"),
            ("/status/1000", "'1000' is not the code of a final status, from 200 to 999"),
            ("/cookie/sid", "'sid' is not NAME/VALUE of letters, digits, -, _ and ."),
            ("/cookie/sid/a;b", "'sid/a;b' is not NAME/VALUE of letters, digits, -, _ and ."),
            ("/redirect/x", "'x' is not a number of redirects"),
            ("/flaky", "'' is not p=, a share from 0 to 1"),
            ("/flaky?p=1.5", "'1.5' is not p=, a share from 0 to 1"),
            ("/flaky?p=NaN", "'NaN' is not p=, a share from 0 to 1"),
        ];
        for (target, expected) in cases {
            let error = Target::parse(target.as_bytes()).unwrap_err();
            assert_eq!((error.status().as_u16(), error.to_string().as_str()), (400, expected), "{target}");
        }
        for target in ["/nope", "/echo/1", "/bytes", "*", "/sse", "/ws"] {
            assert_eq!(Target::parse(target.as_bytes()).unwrap_err().status(), 404, "{target}");
        }
    }
}
