//! Parsers for the values of single flags, called by clap. Combinations of flags are checked elsewhere.

use std::net::IpAddr;

use ringtide::tls::Version;

use super::format::Format;
use crate::input::BodySource;
use crate::plan::{Arrival, DriverChoice, H2_WINDOW_MAX, Header, MaxErrors, PARALLEL_MAX, Spin, Stage};
use crate::units::{
    TYPED_TIME_MAX_NS, parse_positive_count, parse_positive_time_ns, parse_rate, parse_size, show_count,
    show_typed_time_ns,
};

/// A rate, and the rate at the end of a ramp (the same without one).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateArg {
    /// Per second, at the start.
    pub start: f64,
    /// Per second, at the end.
    pub end: f64,
}

/// The stages of an open loop, in order. Not empty, and not at 0 throughout.
#[derive(Clone, Debug, PartialEq)]
pub struct StageList(pub Vec<Stage>);

/// Listed cores, in the order typed, without duplicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuList(pub Vec<usize>);

/// Listed names, in the order typed. Not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameList(pub Vec<String>);

/// Listed addresses, in the order typed. Not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressList(pub Vec<IpAddr>);

/// Names of HTTP that a server could choose, and that this program does not speak over TLS.
const ALPN_NOT_SPOKEN: [&str; 2] = ["h2c", "h3"];

/// No system has more cores; this also limits how far a range expands.
const CPU_MAX: usize = 65_535;

pub(super) fn text_or_json(text: &str) -> Result<Format, String> {
    match text {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => Err("write text or json".to_owned()),
    }
}

pub(super) fn count(text: &str) -> Result<usize, String> {
    let count = parse_positive_count(text).map_err(|error| error.to_string())?;
    usize::try_from(count).map_err(|_| format!("`{text}` is too large for this machine"))
}

pub(super) fn parallel(text: &str) -> Result<usize, String> {
    match count(text)? {
        parallel @ ..=PARALLEL_MAX => Ok(parallel),
        _ => Err(format!(
            "`{text}` is too large: the limit is {} requests in flight per connection; open more connections (-c) \
             instead",
            show_count(PARALLEL_MAX as u64)
        )),
    }
}

pub(super) fn max_errors(text: &str) -> Result<MaxErrors, String> {
    let Some(number) = text.strip_suffix('%') else {
        return match parse_positive_count(text) {
            Ok(count) => Ok(MaxErrors::Count(count)),
            Err(error) if text == "0" => {
                Err(format!("{error}, which ends the run at the first failed request"))
            }
            Err(error) => Err(format!("{error} (a number of requests, or a share such as 5%)")),
        };
    };
    // Only numbers such as 5, 0.5 or .5. `f64` also reads others (inf, 1e1), which nobody types as a share.
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match number.parse::<f64>() {
        Ok(percent) if is_plain && percent > 0.0 && percent <= 100.0 => Ok(MaxErrors::Percent(percent)),
        _ => Err(format!("`{text}` is not a share above 0% and up to 100%")),
    }
}

pub(super) fn arrival(text: &str) -> Result<Arrival, String> {
    match text {
        "constant" => Ok(Arrival::Constant),
        "poisson" => Ok(Arrival::Poisson),
        _ => Err(format!("`{text}` is neither constant nor poisson")),
    }
}

pub(super) fn driver(text: &str) -> Result<DriverChoice, String> {
    match text {
        "auto" => Ok(DriverChoice::Auto),
        "io_uring" => Ok(DriverChoice::IoUring),
        "fallback" => Ok(DriverChoice::Fallback),
        _ => Err(format!("`{text}` is not a driver; choose auto, io_uring or fallback")),
    }
}

pub(super) fn body(text: &str) -> Result<BodySource, String> {
    match text.strip_prefix('@') {
        None => Ok(BodySource::Text(text.to_owned())),
        Some("") => Err("`@` names no file; write @FILE, or @- for standard input".to_owned()),
        Some("-") => Ok(BodySource::StandardInput),
        Some(name) => Ok(BodySource::File(name.into())),
    }
}

/// A rate that is not 0.
pub(super) fn positive_rate(text: &str) -> Result<f64, String> {
    let rate = parse_rate(text).map_err(|error| error.to_string())?;
    if rate > 0.0 { Ok(rate) } else { Err(format!("`{text}` would never send a request")) }
}

/// A share such as `1%`, from 0 to 1.
pub(super) fn percent(text: &str) -> Result<f64, String> {
    let percent = text.strip_suffix('%').and_then(|percent| percent.trim().parse::<f64>().ok());
    let share = percent.filter(|percent| (0.0..=100.0).contains(percent)).map(|percent| percent / 100.0);
    share.ok_or_else(|| format!("`{text}` is not a share from 0% to 100%; write for example 1%"))
}

pub(super) fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}` is not a whole number from 0 to {}", u64::MAX))
}

pub(super) fn rate(text: &str) -> Result<RateArg, String> {
    let rate = rates(text)?;
    if rate.start + rate.end <= 0.0 {
        return Err(format!("`{text}` would never send a request"));
    }
    Ok(rate)
}

/// One rate, or two for a ramp.
fn rates(text: &str) -> Result<RateArg, String> {
    let one = |text: &str| parse_rate(text).map_err(|error| error.to_string());
    let (start, end) = text.split_once(':').unwrap_or((text, text));
    if text.len() > 1 && (start.is_empty() || end.is_empty()) {
        return Err(format!("a ramp needs two rates, but `{text}` has one; write for example 1k:20k"));
    }
    Ok(RateArg { start: one(start)?, end: one(end)? })
}

pub(super) fn stages(text: &str) -> Result<StageList, String> {
    const EXAMPLE: &str = "write for example 30s@1k,1m@1k:5k";
    if text.is_empty() {
        return Err(format!("the value is empty; {EXAMPLE}"));
    }
    let stage = |piece: &str| {
        let Some((time, rate)) = piece.trim().split_once('@') else {
            return Err(format!("`{piece}` in `{text}` is not T@RATE; {EXAMPLE}"));
        };
        let within = |problem: String| format!("{problem} (the stage `{piece}`)");
        let duration_ns = parse_positive_time_ns(time).map_err(|error| within(error.to_string()))?;
        let RateArg { start, end } = rates(rate).map_err(within)?;
        Ok(Stage { duration_ns: Some(duration_ns), rate_start: start, rate_end: end })
    };
    let stages = text.split(',').map(stage).collect::<Result<Vec<_>, _>>()?;
    let all_ns = stages.iter().filter_map(|stage| stage.duration_ns).fold(0, u64::saturating_add);
    if all_ns > TYPED_TIME_MAX_NS {
        return Err(format!(
            "all stages together take too long: the limit is {} (100 years)",
            show_typed_time_ns(TYPED_TIME_MAX_NS)
        ));
    }
    if stages.iter().all(|stage| stage.mean() <= 0.0) {
        return Err(format!("`{text}` would never send a request"));
    }
    Ok(StageList(stages))
}

pub(super) fn spin(text: &str) -> Result<Spin, String> {
    match text {
        "auto" => Ok(Spin::Auto),
        "off" => Ok(Spin::Off),
        _ if text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-')) => {
            parse_positive_time_ns(text).map(|ns| Spin::For { ns }).map_err(|error| error.to_string())
        }
        _ => Err(format!("`{text}` is neither auto nor off nor a time such as 80us")),
    }
}

pub(super) fn cpus(text: &str) -> Result<CpuList, String> {
    let number = |piece: &str| match piece.parse::<usize>() {
        Ok(number) if number <= CPU_MAX && !piece.starts_with('+') => Ok(number),
        _ => Err(format!("`{piece}` in `{text}` is not a core; write for example 0-3,6")),
    };
    if text.is_empty() {
        return Err("the value is empty; write for example 0-3,6".to_owned());
    }
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

pub(super) fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("`{text}` is neither on nor off")),
    }
}

pub(super) fn tls_version(text: &str) -> Result<Version, String> {
    text.parse::<Version>().map_err(|error| error.to_string())
}

/// OpenSSL puts colons between the names.
pub(super) fn names(text: &str) -> Result<NameList, String> {
    list(text, &[',', ':'])
}

pub(super) fn alpn(text: &str) -> Result<NameList, String> {
    let names = list(text, &[','])?;
    match names.0.iter().find(|name| ALPN_NOT_SPOKEN.contains(&name.as_str())) {
        Some(name) => {
            Err(format!("`{name}` cannot be offered: ringtide speaks HTTP/2 (h2) and HTTP/1.1 (http/1.1)"))
        }
        None => Ok(names),
    }
}

pub(super) fn h2_window(text: &str) -> Result<u32, String> {
    match size(text, H2_WINDOW_MAX)? {
        0 => Err(format!("`{text}` would let no server send a body")),
        window => Ok(window),
    }
}

pub(super) fn h2_header_table_size(text: &str) -> Result<u32, String> {
    size(text, u32::MAX)
}

fn size(text: &str, max: u32) -> Result<u32, String> {
    let size = parse_size(text).map_err(|error| error.to_string())?;
    match u32::try_from(size) {
        Ok(size) if size <= max => Ok(size),
        _ => Err(format!("`{text}` is too large: the limit is {} bytes", show_count(max.into()))),
    }
}

fn list(text: &str, separators: &[char]) -> Result<NameList, String> {
    let names: Vec<String> = text.split(separators).map(|name| name.trim().to_owned()).collect();
    if names.iter().any(String::is_empty) {
        return Err(format!("`{text}` has an empty name; write names with commas between them"));
    }
    Ok(NameList(names))
}

pub(super) fn addresses(text: &str) -> Result<AddressList, String> {
    let addresses = text.split(',').map(|piece| {
        let bare = piece.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(piece);
        bare.parse::<IpAddr>()
            .map_err(|_| format!("`{piece}` in `{text}` is not an IP address such as 127.0.0.2 or ::1"))
    });
    addresses.collect::<Result<_, _>>().map(AddressList)
}

pub(super) fn method(text: &str) -> Result<String, String> {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];
    if http::Method::from_bytes(text.as_bytes()).is_err() {
        return Err(format!("`{text}` is not an HTTP method such as GET or POST"));
    }
    // Methods are case-sensitive (RFC 9110 §9.1).
    if let Some(known) = KNOWN.iter().find(|known| known.eq_ignore_ascii_case(text) && **known != text) {
        return Err(format!("methods are case-sensitive: write {known} instead of `{text}`"));
    }
    if text == "CONNECT" {
        return Err("CONNECT opens a tunnel; it cannot be used for a load test".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn header(text: &str) -> Result<Header, String> {
    let Some((name, value)) = text.split_once(':') else {
        return Err(format!("`{text}` has no `:`; write 'Name: value'"));
    };
    if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(format!("`{name}` in `{text}` is not a header name"));
    }
    let value = value.trim_matches([' ', '\t']);
    // RFC 9110 §5.5: visible characters, spaces and tabs; bytes beyond ASCII are opaque but allowed.
    if let Some(c) = value.chars().find(|c| c.is_control() && *c != '\t') {
        return Err(format!("the value of `{name}` contains a control character ({})", c.escape_debug()));
    }
    match name.to_ascii_lowercase().as_str() {
        "transfer-encoding" => {
            Err("Transfer-Encoding cannot be set: ringtide sends a Content-Length instead".to_owned())
        }
        "connection" if value.eq_ignore_ascii_case("close") => {
            Err("use --no-keepalive to open a connection per request".to_owned())
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
            ("", "the value is empty"),
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
    fn stages_are_times_at_rates() {
        let stage = |seconds: u64, rate_start, rate_end| Stage {
            duration_ns: Some(seconds * 1_000_000_000),
            rate_start,
            rate_end,
        };
        let expected =
            vec![stage(30, 1e3, 1e3), stage(60, 1e3, 5e3), stage(10, 2e4, 2e4), stage(5, 0.0, 0.0)];
        assert_eq!(stages("30s@1k,1m@1k:5k, 10s@20k,5@0"), Ok(StageList(expected)));
        for (text, says) in [
            ("", "the value is empty; write for example 30s@1k,1m@1k:5k"),
            ("1k", "`1k` in `1k` is not T@RATE; write"),
            ("10s@1k,", "`` in `10s@1k,` is not T@RATE"),
            ("10s@", "the stage `10s@`"),
            ("@1k", "the stage `@1k`"),
            ("0s@1k", "must be more than 0 (the stage `0s@1k`)"),
            (
                "10s@1k:",
                "a ramp needs two rates, but `1k:` has one; write for example 1k:20k (the stage `10s@1k:`)",
            ),
            ("10s@-5", "the stage `10s@-5`"),
            ("10s@0,1m@0:0", "`10s@0,1m@0:0` would never send a request"),
            ("600000h@1,600000h@1", "all stages together take too long"),
        ] {
            let error = stages(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn words_are_exact() {
        assert_eq!(driver("io_uring"), Ok(DriverChoice::IoUring));
        assert_eq!(driver("auto"), Ok(DriverChoice::default()));
        assert!(driver("epoll").expect_err("no such driver").contains("auto, io_uring or fallback"));
        assert_eq!(arrival("poisson"), Ok(Arrival::Poisson));
        assert!(arrival("Poisson").is_err());
    }

    #[test]
    fn requests_in_flight_are_bounded() {
        assert_eq!(parallel("1024"), Ok(1024));
        let error = parallel("1025").expect_err("too many");
        assert!(error.contains("the limit is 1,024 requests in flight per connection"), "{error}");
        assert!(parallel("0").is_err());
    }

    #[test]
    fn a_window_is_a_size_and_not_0() {
        assert_eq!((h2_window("1MiB"), h2_window("2147483647")), (Ok(1 << 20), Ok(H2_WINDOW_MAX)));
        assert!(h2_window("0").expect_err("too small").contains("no server send a body"));
        assert!(h2_window("2GiB").expect_err("too large").contains("the limit is 2,147,483,647 bytes"));
        assert_eq!((h2_header_table_size("0"), h2_header_table_size("64KiB")), (Ok(0), Ok(65_536)));
        assert!(h2_header_table_size("4GiB").expect_err("too large").contains("the limit is 4,294,967,295"));
    }

    #[test]
    fn errors_are_a_number_or_a_share() {
        assert_eq!(max_errors("1k"), Ok(MaxErrors::Count(1000)));
        assert_eq!(max_errors("0.5%"), Ok(MaxErrors::Percent(0.5)));
        assert_eq!(max_errors("100%"), Ok(MaxErrors::Percent(100.0)));
        for (text, says) in [
            ("0", "the least is 1, which ends the run at the first failed request"),
            ("0.05", "not a whole number (a number of requests, or a share such as 5%)"),
            ("-5", "negative"),
            ("0%", "not a share"),
            ("101%", "not a share"),
            ("inf%", "not a share"),
            ("1e1%", "not a share"),
            ("%", "not a share"),
        ] {
            let error = max_errors(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_body_is_text_or_a_place() {
        assert_eq!(body("{}"), Ok(BodySource::Text("{}".to_owned())));
        assert_eq!(body("@-"), Ok(BodySource::StandardInput));
        assert_eq!(body("@a@b"), Ok(BodySource::File("a@b".into())));
        assert!(body("@").is_err());
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
            (": x", "`` in `: x` is not a header name"),
            ("Bad Name: x", "`Bad Name` in"),
            ("A: b\r\nC: d", "control character (\\r)"),
            ("Connection: close", "--no-keepalive"),
            ("transfer-encoding: chunked", "Transfer-Encoding cannot be set"),
        ] {
            let error = header(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_spin_is_a_word_or_a_time() {
        assert_eq!(spin("auto"), Ok(Spin::Auto));
        assert_eq!(spin("80us"), Ok(Spin::For { ns: 80_000 }));
        assert!(spin("on").expect_err("no such word").contains("`on` is neither auto nor off nor a time"));
        assert!(spin("5x").expect_err("no such unit").contains("`x` in `5x` is not a unit of time"));
    }
}
