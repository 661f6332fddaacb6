//! Counts, rates and times as people type them, and quantities as people read them.
//!
//! Every error names the piece of text that is wrong and what would be right.

use std::fmt::Write as _;

/// Why a count, rate or time could not be read. The message names the culprit and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnitError(String);

/// Counts above this are not exact in a JSON number, and nobody needs them.
const COUNT_MAX: u64 = 1 << 53;

/// The longest accepted time: 100 years. A few of them added to any clock fit into 64 bits of nanoseconds.
pub const TYPED_TIME_MAX_NS: u64 = 100 * 365 * 24 * HOUR_NS;

const _: () = assert!(TYPED_TIME_MAX_NS <= u64::MAX / 4);

const SECOND_NS: u64 = 1_000_000_000;
const MINUTE_NS: u64 = 60 * SECOND_NS;
const HOUR_NS: u64 = 60 * MINUTE_NS;

const TIME_UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND_NS),
    ("m", MINUTE_NS),
    ("h", HOUR_NS),
];

const SIZE_EXAMPLE: &str = "65535, 64KiB or 1MiB";

const TIME_EXAMPLE: &str = "250ms, 10s or 1m30s";

/// A whole number: `64`, `10k`, `1.5M`, `1G`. The suffixes are decimal, and so is the arithmetic.
///
/// # Errors
/// When it is not a number, has an unknown suffix, is not whole, or is above 2⁵³.
pub fn parse_count(text: &str) -> Result<u64, UnitError> {
    let (number, exponent) = split_factor(text, "count", "64, 10k or 1M")?;
    let value = Decimal::read(text, number)?.times(10_u64.pow(exponent));
    if value.fraction != 0 {
        return Err(UnitError(format!("`{text}` is not a whole number")));
    }
    match u64::try_from(value.whole) {
        Ok(count) if count <= COUNT_MAX => Ok(count),
        _ => Err(UnitError(format!("`{text}` is too large: the limit is 2^53"))),
    }
}

/// A count that must not be zero.
///
/// # Errors
/// As [`parse_count`], and for zero.
pub fn parse_positive_count(text: &str) -> Result<u64, UnitError> {
    match parse_count(text)? {
        0 => Err(UnitError(format!("`{text}` is too small: the least is 1"))),
        count => Ok(count),
    }
}

/// A size in bytes: `65535`, `64KiB`, `1.5MiB`.
///
/// # Errors
/// When it is not a number, has an unknown unit, is not whole, or is above 2⁵³.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split_number(text);
    if number.is_empty() {
        return Err(no_number(text, text, "size", SIZE_EXAMPLE));
    }
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => {
            return Err(UnitError(format!(
                "`{unit}` in `{text}` is not a unit of size; use B, KiB, MiB or GiB, as in {SIZE_EXAMPLE}"
            )));
        }
    };
    let value = Decimal::read(text, number)?.times(factor);
    if value.fraction != 0 {
        return Err(UnitError(format!("`{text}` is not a whole number of bytes")));
    }
    match u64::try_from(value.whole) {
        Ok(size) if size <= COUNT_MAX => Ok(size),
        _ => Err(UnitError(format!("`{text}` is too large: the limit is 2^53"))),
    }
}

/// A number per second, possibly a fraction: `1000`, `20k`, `0.5`. Zero is allowed.
///
/// # Errors
/// When it is not a number, has an unknown suffix, or is above 2⁵³.
pub fn parse_rate(text: &str) -> Result<f64, UnitError> {
    let (number, exponent) = split_factor(text, "rate", "500, 20k or 0.5 (requests per second)")?;
    // Scaled in decimal and rounded once: 16.1k is 16,100.
    let scaled = format!("{number}e{exponent}").parse::<f64>();
    let value = scaled.map_err(|_| not_a_number(text, number))?;
    if value > COUNT_MAX as f64 {
        return Err(UnitError(format!("`{text}` is too large: the limit is 2^53 per second")));
    }
    Ok(value)
}

/// A time in nanoseconds: `250ms`, `1m30s`, `100us`, `1.5h`; a number without a unit is seconds.
///
/// # Errors
/// When a part of it is not a number, has an unknown unit, or all of it is longer than [`TYPED_TIME_MAX_NS`].
pub fn parse_time_ns(text: &str) -> Result<u64, UnitError> {
    let (number, rest) = split_number(text);
    if number.is_empty() {
        return Err(no_number(text, text, "time", TIME_EXAMPLE));
    }
    let total =
        if rest.is_empty() { Decimal::read(text, number)?.times(SECOND_NS) } else { sum_of_times(text)? };
    match u64::try_from(total.rounded()) {
        Ok(time_ns) if time_ns <= TYPED_TIME_MAX_NS => Ok(time_ns),
        _ => Err(UnitError(format!(
            "`{text}` is too long: the limit is {} (100 years)",
            show_typed_time_ns(TYPED_TIME_MAX_NS)
        ))),
    }
}

/// A time in nanoseconds that must not be zero.
///
/// # Errors
/// As [`parse_time_ns`], and for zero.
pub fn parse_positive_time_ns(text: &str) -> Result<u64, UnitError> {
    match parse_time_ns(text)? {
        0 => Err(UnitError(format!("`{text}` is too short: it must be more than 0"))),
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

/// A time as it would be typed, exactly: `10s`, `1m30s`, `250ms`, `1.5s`.
pub fn show_typed_time_ns(time_ns: u64) -> String {
    match time_ns {
        0 => "0s".to_owned(),
        ns if ns >= MINUTE_NS && ns % SECOND_NS == 0 => {
            let (hours, minutes, seconds) = (ns / HOUR_NS, ns / MINUTE_NS % 60, ns / SECOND_NS % 60);
            let mut text = String::new();
            for (value, unit) in [(hours, "h"), (minutes, "m"), (seconds, "s")] {
                if value > 0 {
                    let _ = write!(text, "{value}{unit}");
                }
            }
            text
        }
        ns if ns >= SECOND_NS => format!("{}s", decimal(ns, 9)),
        ns if ns >= 1_000_000 => format!("{}ms", decimal(ns, 6)),
        ns if ns >= 1_000 => format!("{}us", decimal(ns, 3)),
        ns => format!("{ns}ns"),
    }
}

/// `value` with its last `decimals` digits behind a point, without trailing zeros.
fn decimal(value: u64, decimals: usize) -> String {
    let scale = 10_u64.pow(decimals as u32);
    let fraction = format!("{:0decimals$}", value % scale);
    match fraction.trim_end_matches('0') {
        "" => (value / scale).to_string(),
        fraction => format!("{}.{fraction}", value / scale),
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

/// A whole number with thousands separators: `1,691,230`.
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

/// A number per second: whole from 100 upwards, with two or more digits below.
pub fn show_rate(rate: f64) -> String {
    match rate {
        _ if rate <= 0.0 => "0".to_owned(),
        _ if rate >= 99.5 => show_count(rate.round() as u64),
        _ if rate >= 0.0995 => three_digits(rate),
        _ => {
            let decimals = 1 - rate.log10().floor() as i32;
            format!("{rate:.*}", decimals.unsigned_abs() as usize)
        }
    }
}

/// A rate as it would be typed, exactly, with thousands separators: `20,000`, `0.5`, `0.0001`.
pub fn show_typed_rate(rate: f64) -> String {
    if rate.fract() == 0.0 { show_count(rate as u64) } else { rate.to_string() }
}

/// Three significant digits, but never fewer than the whole part has; no decimals from 100 upwards.
pub fn three_digits(value: f64) -> String {
    match value {
        v if v >= 99.95 => format!("{v:.0}"),
        v if v >= 9.995 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// `value` rounded to three decimals, as reports for programs have it; 0 for NaN and infinity.
pub fn rounded(value: f64) -> f64 {
    if value.is_finite() { (value * 1e3).round() / 1e3 } else { 0.0 }
}

/// Splits off the leading digits and points.
fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(end)
}

fn not_a_number(text: &str, number: &str) -> UnitError {
    UnitError(if number == text {
        format!("`{text}` is not a number")
    } else {
        format!("`{number}` in `{text}` is not a number")
    })
}

fn no_number(text: &str, piece: &str, what: &str, example: &str) -> UnitError {
    let mut characters = piece.chars();
    let problem = match (characters.next(), characters.next()) {
        (None, _) => "the value is empty".to_owned(),
        (Some('-'), Some('0'..='9' | '.')) => format!("`{text}` is negative"),
        _ if piece == text => format!("`{text}` is not a {what}"),
        _ => format!("`{piece}` in `{text}` is not a {what}"),
    };
    UnitError(format!("{problem}; write for example {example}"))
}

/// The number, and the power of ten that its suffix stands for.
fn split_factor<'t>(text: &'t str, what: &str, example: &str) -> Result<(&'t str, u32), UnitError> {
    let (number, suffix) = split_number(text);
    if number.is_empty() {
        return Err(no_number(text, text, what, example));
    }
    let exponent = match suffix {
        "" => 0,
        "k" | "K" => 3,
        "M" => 6,
        "G" => 9,
        _ => {
            return Err(UnitError(format!(
                "`{suffix}` in `{text}` is not a suffix; use k (1,000), M (1,000,000) or G (1,000,000,000)"
            )));
        }
    };
    Ok((number, exponent))
}

/// Decimals that are kept. In any unit, what is cut off is less than 10⁻⁵ of a nanosecond.
const FRACTION_DIGITS: usize = 18;
const FRACTION_ONE: u128 = 10_u128.pow(FRACTION_DIGITS as u32);
/// Digits before the point that are kept; a number with more is too large for any use.
const WHOLE_DIGITS: usize = 19;

/// A non-negative decimal number.
#[derive(Clone, Copy)]
struct Decimal {
    whole: u128,
    /// In units of 10⁻¹⁸. Below one, and 0 only if every digit was.
    fraction: u128,
}

impl Decimal {
    /// Reads `number`, a part of `text`: digits with at most one point among them.
    fn read(text: &str, number: &str) -> Result<Self, UnitError> {
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.len() + fraction.len() == 0 || fraction.contains('.') {
            return Err(not_a_number(text, number));
        }
        let whole = whole.trim_start_matches('0');
        let kept = &fraction[..fraction.len().min(FRACTION_DIGITS)];
        let lost = fraction[kept.len()..].bytes().any(|digit| digit != b'0');
        let value =
            |digits: &str| digits.bytes().fold(0, |value, digit| value * 10 + u128::from(digit - b'0'));
        Ok(Self {
            whole: if whole.len() > WHOLE_DIGITS { 10_u128.pow(WHOLE_DIGITS as u32) } else { value(whole) },
            fraction: (value(kept) * 10_u128.pow((FRACTION_DIGITS - kept.len()) as u32)) | u128::from(lost),
        })
    }

    /// At most 10¹⁹ · 3.6·10¹², far from what 128 bits hold.
    fn times(self, factor: u64) -> Self {
        let fraction = self.fraction * u128::from(factor);
        Self {
            whole: self.whole * u128::from(factor) + fraction / FRACTION_ONE,
            fraction: fraction % FRACTION_ONE,
        }
    }

    fn plus(self, other: Self) -> Self {
        let fraction = self.fraction + other.fraction;
        Self { whole: self.whole + other.whole + fraction / FRACTION_ONE, fraction: fraction % FRACTION_ONE }
    }

    /// The nearest whole number.
    fn rounded(self) -> u128 {
        self.whole + u128::from(self.fraction >= FRACTION_ONE / 2)
    }
}

fn sum_of_times(text: &str) -> Result<Decimal, UnitError> {
    let mut rest = text;
    let mut total = Decimal { whole: 0, fraction: 0 };
    let mut last_factor = u64::MAX;
    while !rest.is_empty() {
        let (number, after) = split_number(rest);
        if number.is_empty() {
            return Err(no_number(text, rest, "time", TIME_EXAMPLE));
        }
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let Some((_, factor)) = TIME_UNITS.iter().find(|(name, _)| *name == unit) else {
            let problem = if unit.is_empty() {
                format!("`{number}` in `{text}` has no unit")
            } else {
                format!("`{unit}` in `{text}` is not a unit of time")
            };
            return Err(UnitError(format!("{problem}; use ns, us, ms, s, m or h, as in 1m30s")));
        };
        if *factor >= last_factor {
            return Err(UnitError(format!(
                "`{number}{unit}` in `{text}` is out of order: write each unit once, the largest first, as in 1m30s"
            )));
        }
        total = total.plus(Decimal::read(text, number)?.times(*factor));
        last_factor = *factor;
        rest = next;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
            ("16.1k", 16_100),
            ("0.000000001G", 1),
            ("0009", 9),
            ("5.", 5),
            (".5k", 500),
            ("9007199254740992", 1 << 53),
            ("9007199.254740992G", 1 << 53),
        ] {
            assert_eq!(parse_count(text), Ok(count), "{text}");
        }
    }

    #[test]
    fn a_wrong_count_names_the_culprit() {
        for (text, says) in [
            ("", "the value is empty"),
            ("many", "`many` is not a count"),
            ("-3", "`-3` is negative"),
            ("+3", "`+3` is not a count"),
            ("-c", "`-c` is not a count"),
            (".", "`.` is not a number"),
            ("10q", "`q` in `10q` is not a suffix"),
            ("10m", "`m` in `10m` is not a suffix"),
            ("0.9999999999999999999", "is not a whole number"),
            ("1.0000000000000000000000001G", "is not a whole number"),
            ("9007199254740993", "too large: the limit is 2^53"),
            ("340282366920938463463374607431768211456G", "too large"),
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
    fn sizes_take_binary_units() {
        for (text, size) in [
            ("0", 0),
            ("65535", 65_535),
            ("9B", 9),
            ("64KiB", 65_536),
            ("1.5MiB", 1_572_864),
            ("2GiB", 1 << 31),
        ] {
            assert_eq!(parse_size(text), Ok(size), "{text}");
        }
        for (text, says) in [
            ("", "the value is empty; write for example 65535, 64KiB or 1MiB"),
            ("x", "`x` is not a size"),
            ("-1", "`-1` is negative"),
            ("64k", "`k` in `64k` is not a unit of size; use B, KiB, MiB or GiB"),
            ("0.1KiB", "`0.1KiB` is not a whole number of bytes"),
            ("9999999999GiB", "too large: the limit is 2^53"),
        ] {
            let error = parse_size(text).expect_err(text).to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn rates_may_be_fractions() {
        assert_eq!(parse_rate("0.5"), Ok(0.5));
        assert_eq!(parse_rate("2.5k"), Ok(2500.0));
        assert_eq!(parse_rate("16.1k"), Ok(16_100.0));
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
            ("1h0.4ns", 3_600_000_000_000),
            ("1h0.5ns", 3_600_000_000_001),
            ("876000h", TYPED_TIME_MAX_NS),
        ] {
            assert_eq!(parse_time_ns(text), Ok(ns), "{text}");
        }
    }

    #[test]
    fn a_wrong_time_names_the_culprit() {
        for (text, says) in [
            ("", "the value is empty"),
            ("soon", "`soon` is not a time"),
            ("10x", "`x` in `10x` is not a unit of time"),
            ("1m30", "`30` in `1m30` has no unit"),
            ("30s1m", "`1m` in `30s1m` is out of order"),
            ("1s1s", "`1s` in `1s1s` is out of order"),
            ("1s2us3μs", "`3μs` in `1s2us3μs` is out of order"),
            ("-1s", "negative"),
            ("1..5s", "`1..5` in `1..5s` is not a number"),
            ("99999999999h", "too long"),
            // Longer than 64 bits of nanoseconds; and within them, but too long to be added to a clock.
            ("18446744073.8", "`18446744073.8` is too long: the limit is 876000h (100 years)"),
            ("18446744073.7", "too long"),
            ("876000h1ns", "too long"),
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
        assert_eq!(show_rate(0.0), "0");
        assert_eq!(show_rate(0.5), "0.50");
        assert_eq!(show_rate(169_123.4), "169,123");
        for (rate, text) in [(0.1, "0.10"), (0.0333, "0.033"), (0.000_1, "0.00010"), (1e-9, "0.0000000010")] {
            assert_eq!(show_rate(rate), text);
        }
        for (rate, text) in [(20_000.0, "20,000"), (0.5, "0.5"), (1e-9, "0.000000001"), (1234.5, "1234.5")] {
            assert_eq!(show_typed_rate(rate), text);
        }
    }

    #[test]
    fn a_shown_time_can_be_typed_again() {
        for text in ["10s", "1m30s", "250ms", "1.5s", "100us", "7ns", "2h", "1h5s"] {
            assert_eq!(show_typed_time_ns(parse_time_ns(text).expect(text)), text);
        }
    }

    #[test]
    fn each_tenth_of_a_thousand_is_whole() {
        for tenths in 0..1_000_000_u64 {
            let text = format!("{}.{}k", tenths / 10, tenths % 10);
            assert_eq!(parse_count(&text), Ok(tenths * 100), "{text}");
        }
    }

    /// A suffix, and its power of ten.
    fn suffixes() -> impl Strategy<Value = (&'static str, usize)> {
        prop_oneof![Just(("", 0)), Just(("k", 3)), Just(("K", 3)), Just(("M", 6)), Just(("G", 9))]
    }

    proptest! {
        #[test]
        fn a_count_is_what_was_typed(count in 0..=COUNT_MAX, (suffix, power) in suffixes(), zeros in 0_usize..30) {
            let scaled = decimal(count, power);
            let zeros = if scaled.contains('.') { "0".repeat(zeros) } else { String::new() };
            prop_assert_eq!(parse_count(&format!("{scaled}{zeros}{suffix}")), Ok(count));
        }

        #[test]
        fn a_count_with_a_rest_is_refused(count in 0..1_u64 << 40, (suffix, power) in suffixes(), rest in 1_u64..1000) {
            let text = format!("{}{suffix}", decimal(count * 1000 + rest, power + 3));
            prop_assert!(parse_count(&text).expect_err("it is not whole").to_string().contains("whole number"));
        }

        #[test]
        fn a_rate_is_the_nearest_number_to_what_was_typed(rate in 0_u64..1 << 53, (suffix, power) in suffixes()) {
            // Below 2⁵³, so a whole number of requests is exact.
            prop_assert_eq!(parse_rate(&format!("{}{suffix}", decimal(rate, power))), Ok(rate as f64));
        }

        #[test]
        fn any_time_is_shown_as_it_is_typed(time_ns in prop_oneof![0..=TYPED_TIME_MAX_NS, 0..200 * SECOND_NS, 0..2_000_000_u64]) {
            let shown = show_typed_time_ns(time_ns);
            prop_assert_eq!(parse_time_ns(&shown), Ok(time_ns), "{}", shown);
            prop_assert_eq!(parse_time_ns(&decimal(time_ns, 9)), Ok(time_ns));
        }

        #[test]
        fn the_parts_of_a_time_add_up(hours in 0_u64..800_000, minutes in 0_u64..600, seconds in 0_u64..600, ms in 0_u64..5000, us in 0_u64..5000, ns in 0_u64..5000) {
            let text = format!("{hours}h{minutes}m{seconds}s{ms}ms{us}us{ns}ns");
            let sum = hours * HOUR_NS + minutes * MINUTE_NS + seconds * SECOND_NS + ms * 1_000_000 + us * 1_000 + ns;
            prop_assert_eq!(parse_time_ns(&text), Ok(sum));
        }

        #[test]
        fn nothing_that_is_typed_is_too_much(text in prop_oneof!["[-+0-9.a-zA-Zµ]{0,12}", "[0-9.]{0,60}[kMGhmsun]{0,3}", ".{0,8}"]) {
            for error in [parse_count(&text).err(), parse_rate(&text).err(), parse_time_ns(&text).err()].into_iter().flatten() {
                prop_assert!(!error.to_string().is_empty());
            }
            prop_assert!(parse_time_ns(&text).unwrap_or(0) <= TYPED_TIME_MAX_NS);
            prop_assert!(parse_count(&text).unwrap_or(0) <= COUNT_MAX);
        }
    }
}
