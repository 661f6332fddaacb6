//! Counts, rates and times as people type them, and quantities as people read them.
//!
//! Every error names the piece of text that is wrong and what would be right. Flags and plans are elsewhere.

use std::fmt::Write as _;

/// Why a count, rate or time could not be read. The text names the culprit and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnitError(String);

/// Counts beyond this are not exact in a JSON number, and none is needed.
const COUNT_MAX: u64 = 1 << 53;

const TIME_UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// A whole number: `64`, `10k`, `1.5M`, `1G`. The factors are decimal.
///
/// # Errors
/// When it is no number, has an unknown suffix, is not whole, or is beyond 2⁵³.
pub fn parse_count(text: &str) -> Result<u64, UnitError> {
    if let Ok(plain) = text.parse::<u64>()
        && plain <= COUNT_MAX
        && !text.starts_with('+')
    {
        return Ok(plain);
    }
    let value = parse_scaled(text, "count", "64, 10k or 1M")?;
    if value.fract() != 0.0 {
        return Err(UnitError(format!("`{text}` is not a whole number")));
    }
    if value > COUNT_MAX as f64 {
        return Err(UnitError(format!("`{text}` is too large: counts end at 2^53")));
    }
    Ok(value as u64)
}

/// A count that must not be zero.
///
/// # Errors
/// As [`parse_count`], and for zero.
pub fn parse_positive_count(text: &str) -> Result<u64, UnitError> {
    match parse_count(text)? {
        0 => Err(UnitError(format!("`{text}`: it must be at least 1"))),
        count => Ok(count),
    }
}

/// A number per second, possibly a fraction: `1000`, `20k`, `0.5`. Zero is allowed.
///
/// # Errors
/// When it is no number, has an unknown suffix, or is beyond 2⁵³.
pub fn parse_rate(text: &str) -> Result<f64, UnitError> {
    let value = parse_scaled(text, "rate", "500, 20k or 0.5 (requests per second)")?;
    if value > COUNT_MAX as f64 {
        return Err(UnitError(format!("`{text}` is too large for a rate")));
    }
    Ok(value)
}

/// A time in nanoseconds: `250ms`, `1m30s`, `100us`, `1.5h`; a number without a unit is seconds.
///
/// # Errors
/// When a piece of it is no number, has an unknown unit, or all of it is beyond 584 years.
pub fn parse_time_ns(text: &str) -> Result<u64, UnitError> {
    let (number, rest) = split_number(text);
    if number.is_empty() {
        return Err(no_number(text, text, "time", "250ms, 10s or 1m30s"));
    }
    let total = if rest.is_empty() { number_of(text, number)? * 1e9 } else { sum_of_times(text)? };
    if total > u64::MAX as f64 {
        return Err(UnitError(format!("`{text}` is too long")));
    }
    Ok(total.round() as u64)
}

/// A time in nanoseconds that must not be zero.
///
/// # Errors
/// As [`parse_time_ns`], and for zero.
pub fn parse_positive_time_ns(text: &str) -> Result<u64, UnitError> {
    match parse_time_ns(text)? {
        0 => Err(UnitError(format!("`{text}`: it must be longer than nothing"))),
        time_ns => Ok(time_ns),
    }
}

/// Nanoseconds with three or four digits and the unit that suits them: `83.0 µs`, `1.25 ms`, `30.0 s`.
pub fn show_time_ns(time_ns: f64) -> String {
    let (value, unit) = match time_ns {
        ns if ns < 999.5 => return format!("{ns:.0} ns"),
        ns if ns < 999.5e3 => (ns / 1e3, "µs"),
        ns if ns < 999.5e6 => (ns / 1e6, "ms"),
        ns if ns < 600e9 => (ns / 1e9, "s"),
        ns => (ns / 60e9, "min"),
    };
    format!("{} {unit}", three_digits(value))
}

/// A time as it would be typed: `10s`, `1m30s`, `250ms`, `1.5s`.
pub fn show_typed_time_ns(time_ns: u64) -> String {
    const SECOND: u64 = 1_000_000_000;
    match time_ns {
        0 => "0s".to_owned(),
        ns if ns >= 60 * SECOND && ns % SECOND == 0 => {
            let (hours, minutes, seconds) = (ns / (3600 * SECOND), ns / (60 * SECOND) % 60, ns / SECOND % 60);
            let mut text = String::new();
            for (value, unit) in [(hours, "h"), (minutes, "m"), (seconds, "s")] {
                if value > 0 {
                    let _ = write!(text, "{value}{unit}");
                }
            }
            text
        }
        ns if ns >= SECOND => format!("{}s", ns as f64 / 1e9),
        ns if ns >= 1_000_000 => format!("{}ms", ns as f64 / 1e6),
        ns if ns >= 1_000 => format!("{}us", ns as f64 / 1e3),
        ns => format!("{ns}ns"),
    }
}

/// Bytes in binary units: `512 B`, `24.3 MiB`.
pub fn show_bytes(bytes: f64) -> String {
    let mut value = bytes;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1023.5 {
            return if unit == "B" {
                format!("{value:.0} B")
            } else {
                format!("{} {unit}", three_digits(value))
            };
        }
        value /= 1024.0;
    }
    format!("{} TiB", three_digits(value))
}

/// A whole number with its thousands apart: `1,691,230`.
pub fn show_count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number per second: whole from 100 upwards, with one or more decimals below.
pub fn show_rate(rate: f64) -> String {
    if rate >= 99.5 { show_count(rate.round() as u64) } else { three_digits(rate) }
}

/// Three significant digits, but never fewer than the whole part has; no decimals from 100 upwards.
pub fn three_digits(value: f64) -> String {
    match value {
        v if v >= 99.95 => format!("{v:.0}"),
        v if v >= 9.995 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// `value` with three decimals, as reports for programs have it; 0 for what is no number.
pub fn rounded(value: f64) -> f64 {
    if value.is_finite() { (value * 1e3).round() / 1e3 } else { 0.0 }
}

/// The leading digits (with at most one point, and nothing before them), and what follows.
fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(end)
}

fn number_of(text: &str, number: &str) -> Result<f64, UnitError> {
    number.parse().map_err(|_| UnitError(format!("`{number}` in `{text}` is not a number")))
}

fn no_number(text: &str, piece: &str, what: &str, example: &str) -> UnitError {
    let problem = match piece.chars().next() {
        None => "nothing was given".to_owned(),
        Some('-') => format!("`{text}` is negative"),
        Some(_) if piece == text => format!("`{text}` is not a {what}"),
        Some(_) => format!("`{piece}` in `{text}` is not a {what}"),
    };
    UnitError(format!("{problem}; write for example {example}"))
}

fn parse_scaled(text: &str, what: &str, example: &str) -> Result<f64, UnitError> {
    let (number, suffix) = split_number(text);
    if number.is_empty() {
        return Err(no_number(text, text, what, example));
    }
    let factor = match suffix {
        "" => 1.0,
        "k" | "K" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        _ => {
            return Err(UnitError(format!(
                "`{suffix}` in `{text}` is not a factor; there are k (1,000), M (1,000,000) and G"
            )));
        }
    };
    Ok(number_of(text, number)? * factor)
}

fn sum_of_times(text: &str) -> Result<f64, UnitError> {
    let mut rest = text;
    let mut total = 0.0;
    let mut last_factor = f64::INFINITY;
    while !rest.is_empty() {
        let (number, after) = split_number(rest);
        if number.is_empty() {
            return Err(no_number(text, rest, "time", "250ms, 10s or 1m30s"));
        }
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let Some((_, factor)) = TIME_UNITS.iter().find(|(name, _)| *name == unit) else {
            let problem = if unit.is_empty() {
                format!("`{number}` in `{text}` has no unit")
            } else {
                format!("`{unit}` in `{text}` is not a unit of time")
            };
            return Err(UnitError(format!("{problem}; there are ns, us, ms, s, m and h, as in 1m30s")));
        };
        if *factor >= last_factor {
            return Err(UnitError(format!(
                "`{number}{unit}` in `{text}` comes too late: larger units come first, each once, as in 1m30s"
            )));
        }
        total += number_of(text, number)? * factor;
        last_factor = *factor;
        rest = next;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_take_decimal_factors() {
        for (text, count) in [
            ("0", 0),
            ("64", 64),
            ("10k", 10_000),
            ("10K", 10_000),
            ("1.5M", 1_500_000),
            ("2G", 2_000_000_000),
        ] {
            assert_eq!(parse_count(text), Ok(count), "{text}");
        }
    }

    #[test]
    fn a_wrong_count_names_the_culprit() {
        for (text, says) in [
            ("", "nothing was given"),
            ("many", "`many` is not a count"),
            ("-3", "`-3` is negative"),
            ("+3", "`+3` is not a count"),
            ("10q", "`q` in `10q` is not a factor"),
            ("10m", "`m` in `10m` is not a factor"),
            ("1.5", "`1.5` is not a whole number"),
            ("1.2.3k", "`1.2.3` in `1.2.3k` is not a number"),
            ("99999999999999999999", "too large"),
        ] {
            let error = parse_count(text).expect_err(text).to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        assert!(parse_positive_count("0").is_err());
    }

    #[test]
    fn rates_may_be_fractions() {
        assert_eq!(parse_rate("0.5"), Ok(0.5));
        assert_eq!(parse_rate("2.5k"), Ok(2500.0));
        assert!(parse_rate("inf").is_err());
        assert!(parse_rate("1e9").is_err());
    }

    #[test]
    fn times_take_units_and_sums_of_them() {
        for (text, ns) in [
            ("10", 10_000_000_000),
            ("0.5", 500_000_000),
            ("250ms", 250_000_000),
            ("1m30s", 90_000_000_000),
            ("100us", 100_000),
            ("100µs", 100_000),
            ("7ns", 7),
            ("1h", 3_600_000_000_000),
            ("1.5s", 1_500_000_000),
            ("0", 0),
        ] {
            assert_eq!(parse_time_ns(text), Ok(ns), "{text}");
        }
    }

    #[test]
    fn a_wrong_time_names_the_culprit() {
        for (text, says) in [
            ("", "nothing was given"),
            ("soon", "`soon` is not a time"),
            ("10x", "`x` in `10x` is not a unit of time"),
            ("1m30", "`30` in `1m30` has no unit"),
            ("30s1m", "`1m` in `30s1m` comes too late"),
            ("1s1s", "`1s` in `1s1s` comes too late"),
            ("-1s", "negative"),
            ("99999999999h", "too long"),
        ] {
            let error = parse_time_ns(text).expect_err(text).to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        assert!(parse_positive_time_ns("0ms").is_err());
    }

    #[test]
    fn quantities_scale_to_their_units() {
        for (ns, text) in [
            (0.0, "0 ns"),
            (999.0, "999 ns"),
            (999.6, "1.00 µs"),
            (83_000.0, "83.0 µs"),
            (1_250_000.0, "1.25 ms"),
            (999_600.0, "1.00 ms"),
            (30e9, "30.0 s"),
            (3600e9, "60.0 min"),
        ] {
            assert_eq!(show_time_ns(ns), text);
        }
        for (bytes, text) in
            [(0.0, "0 B"), (512.0, "512 B"), (1024.0, "1.00 KiB"), (25_480_397.0, "24.3 MiB")]
        {
            assert_eq!(show_bytes(bytes), text);
        }
        assert_eq!(show_count(1_691_230), "1,691,230");
        assert_eq!(show_count(999), "999");
        assert_eq!(show_rate(0.5), "0.50");
        assert_eq!(show_rate(169_123.4), "169,123");
    }

    #[test]
    fn a_shown_time_can_be_typed_again() {
        for text in ["10s", "1m30s", "250ms", "1.5s", "100us", "7ns", "2h", "1h5s"] {
            assert_eq!(show_typed_time_ns(parse_time_ns(text).expect(text)), text);
        }
    }
}
