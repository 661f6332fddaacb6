//! Rows of bars over time.

/// Eighths of a row.
const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// All bars, from the lowest to the highest.
pub(super) const LADDER: &str = "▁▂▃▄▅▆▇█";

/// How values become heights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// From 0 to this.
    Linear(f64),
    /// Between these, equal ratios are equal heights.
    Logarithmic(f64, f64),
}

impl Scale {
    /// One on which times from `least` to `most` can be told apart, but small differences look small.
    pub(super) fn of_times(least: f64, most: f64) -> Self {
        // In microseconds; a nanosecond is the least that there is.
        let most = if most.is_finite() { most.max(2e-3) } else { 1.0 };
        Self::Logarithmic(least.max(1e-3).min(most / 2.0), most)
    }

    /// The height of a value in eighths, up to `eighths`. What is above 0 is seen.
    fn height(self, value: f64, eighths: usize) -> usize {
        if value.is_nan() || value <= 0.0 {
            return 0;
        }
        let part = match self {
            Self::Linear(most) => value / most,
            Self::Logarithmic(least, most) => (value / least).ln() / (most / least).ln(),
        };
        // What is no number becomes 0.
        ((part * eighths as f64).round() as usize).clamp(1, eighths)
    }
}

/// Writes the row that is `row` above the lowest one, of `rows`, into `out`: a character for each value.
pub(super) fn append_row(
    out: &mut String,
    values: impl Iterator<Item = f64>,
    scale: Scale,
    row: usize,
    rows: usize,
) {
    out.extend(values.map(|value| {
        let height = scale.height(value, rows * 8);
        EIGHTHS[height.saturating_sub(row * 8).min(8)]
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(values: &[f64], scale: Scale, rows: usize) -> Vec<String> {
        let row = |row| {
            let mut out = String::new();
            append_row(&mut out, values.iter().copied(), scale, row, rows);
            out
        };
        (0..rows).rev().map(row).collect()
    }

    #[test]
    fn heights_follow_the_values() {
        assert_eq!(drawn(&[0.0, 1.0, 4.0, 8.0, 80.0], Scale::Linear(8.0), 1), [" ▁▄██"]);
        assert_eq!(drawn(&[2.0, 4.0, 8.0], Scale::Linear(8.0), 2), ["  █", "▄██"]);
        let scale = Scale::of_times(1.0, 10_000.0);
        assert_eq!(drawn(&[1.0, 10.0, 100.0, 1000.0, 10_000.0, 0.0], scale, 1), ["▁▂▄▆█ "]);
        // What hardly changes looks so.
        assert_eq!(drawn(&[99.0, 100.0], Scale::of_times(99.0, 100.0), 1), ["██"]);
    }

    #[test]
    fn no_value_is_too_strange_to_draw() {
        for scale in [Scale::Linear(0.0), Scale::of_times(0.0, 0.0), Scale::of_times(f64::NAN, f64::INFINITY)]
        {
            for value in [0.0, -1.0, 1.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE] {
                assert_eq!(drawn(&[value], scale, 3).len(), 3);
            }
        }
    }
}
