//! Values of single flags, as clap calls for them. What several flags mean together is not decided here.

use crate::plan::{Header, Spin};
use crate::units::{parse_positive_count, parse_positive_time_ns, parse_rate};

/// A rate, and the rate at the end of a ramp (the same without one).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateArg {
    /// Per second, at the start.
    pub start: f64,
    /// Per second, at the end.
    pub end: f64,
}

/// Listed cores, in the order typed, without duplicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuList(pub Vec<usize>);

/// No system has more; it also bounds what a range may expand to.
const CPU_MAX: usize = 65_535;

pub(super) fn count(text: &str) -> Result<usize, String> {
    let count = parse_positive_count(text).map_err(|error| error.to_string())?;
    usize::try_from(count).map_err(|_| format!("`{text}` is too large for this machine"))
}

pub(super) fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}` is not a whole number from 0 to {}", u64::MAX))
}

pub(super) fn rate(text: &str) -> Result<RateArg, String> {
    let one = |text: &str| parse_rate(text).map_err(|error| error.to_string());
    let (start, end) = text.split_once(':').unwrap_or((text, text));
    let (start, end) = (one(start)?, one(end)?);
    if start + end <= 0.0 {
        return Err(format!("`{text}` would send nothing"));
    }
    Ok(RateArg { start, end })
}

pub(super) fn spin(text: &str) -> Result<Spin, String> {
    match text {
        "auto" => Ok(Spin::Auto),
        "off" => Ok(Spin::Off),
        _ => parse_positive_time_ns(text)
            .map(|ns| Spin::For { ns })
            .map_err(|error| format!("{error} (or auto, or off)")),
    }
}

pub(super) fn cpus(text: &str) -> Result<CpuList, String> {
    let number = |piece: &str| match piece.parse::<usize>() {
        Ok(number) if number <= CPU_MAX && !piece.starts_with('+') => Ok(number),
        _ => Err(format!("`{piece}` in `{text}` is not a core; write for example 0-3,6")),
    };
    let mut cpus = Vec::new();
    for piece in text.split(',') {
        let (first, last) = match piece.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(piece)?, number(piece)?),
        };
        if first > last {
            return Err(format!("`{piece}` in `{text}` runs backwards; write {last}-{first}"));
        }
        for cpu in first..=last {
            if cpus.contains(&cpu) {
                return Err(format!("core {cpu} is in `{text}` twice"));
            }
            cpus.push(cpu);
        }
    }
    Ok(CpuList(cpus))
}

pub(super) fn method(text: &str) -> Result<String, String> {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];
    if http::Method::from_bytes(text.as_bytes()).is_err() {
        return Err(format!("`{text}` is not a method: those are letters, as in GET or POST"));
    }
    // Methods are case-sensitive (RFC 9110 §9.1).
    if let Some(known) = KNOWN.iter().find(|known| known.eq_ignore_ascii_case(text) && **known != text) {
        return Err(format!("methods are case-sensitive: write {known} for `{text}`"));
    }
    if text == "CONNECT" {
        return Err("CONNECT opens a tunnel, it is no request to load a server with".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn header(text: &str) -> Result<Header, String> {
    let Some((name, value)) = text.split_once(':') else {
        return Err(format!("`{text}` has no `:`; write 'Name: value'"));
    };
    if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(format!("`{name}` in `{text}` is not a name of a header"));
    }
    let value = value.trim_matches([' ', '\t']);
    // RFC 9110 §5.5: visible characters, spaces and tabs; bytes beyond ASCII are opaque but allowed.
    if let Some(c) = value.chars().find(|c| c.is_control() && *c != '\t') {
        return Err(format!("the value of `{name}` holds a control character ({})", c.escape_debug()));
    }
    match name.to_ascii_lowercase().as_str() {
        "transfer-encoding" => {
            Err("Transfer-Encoding is set by ringtide: it sends bodies with their length".to_owned())
        }
        "connection" if value.eq_ignore_ascii_case("close") => {
            Err("use --no-keepalive for one connection per request".to_owned())
        }
        _ => Ok(Header { name: name.to_owned(), value: value.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_listed_or_ranged() {
        assert_eq!(cpus("0-2,6"), Ok(CpuList(vec![0, 1, 2, 6])));
        assert_eq!(cpus("3"), Ok(CpuList(vec![3])));
        for (text, says) in [
            ("", "`` in `` is not a core"),
            ("0,,1", "`` in `0,,1`"),
            ("a", "`a` in `a`"),
            ("3-1", "write 1-3"),
            ("0-2,1", "core 1 is in `0-2,1` twice"),
            ("0-99999999999", "`99999999999` in"),
        ] {
            let error = cpus(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_rate_may_ramp() {
        assert_eq!(rate("10k"), Ok(RateArg { start: 10_000.0, end: 10_000.0 }));
        assert_eq!(rate("0:1k"), Ok(RateArg { start: 0.0, end: 1000.0 }));
        for text in ["0", "0:0", "1:", ":1", "1:2:3"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn methods_are_tokens_and_case_sensitive() {
        assert_eq!(method("PURGE").as_deref(), Ok("PURGE"));
        assert!(method("post").expect_err("lower case").contains("write POST"));
        assert!(method("A B").is_err() && method("").is_err() && method("CONNECT").is_err());
    }

    #[test]
    fn headers_are_checked_where_they_are_typed() {
        let header_of = |name: &str, value: &str| Header { name: name.to_owned(), value: value.to_owned() };
        assert_eq!(header("Accept:  */* "), Ok(header_of("Accept", "*/*")));
        assert_eq!(header("X-Time: 12:30"), Ok(header_of("X-Time", "12:30")));
        assert_eq!(header("Connection: keep-alive"), Ok(header_of("Connection", "keep-alive")));
        for (text, says) in [
            ("Accept", "has no `:`"),
            (": x", "`` in `: x` is not a name"),
            ("Bad Name: x", "`Bad Name` in"),
            ("A: b\r\nC: d", "control character (\\r)"),
            ("Connection: close", "--no-keepalive"),
            ("transfer-encoding: chunked", "Transfer-Encoding"),
        ] {
            let error = header(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_spin_is_a_word_or_a_time() {
        assert_eq!(spin("auto"), Ok(Spin::Auto));
        assert_eq!(spin("80us"), Ok(Spin::For { ns: 80_000 }));
        assert!(spin("on").expect_err("no such word").contains("(or auto, or off)"));
    }
}
