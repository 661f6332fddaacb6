//! A weighted choice in constant time: the alias method (Walker 1977, in Vose's form).

use fastrand::Rng;

/// Chooses a number with a probability that is proportional to its weight.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    columns: Box<[Column]>,
}

/// Each number has one column of equal width. Its lower part stands for the number, the upper part for another.
#[derive(Clone, Copy, Debug)]
struct Column {
    /// The height of the lower part, as a part of 2³².
    height: u64,
    other: u32,
}

/// 1 as a height.
const FULL: f64 = (1_u64 << 32) as f64;

impl Choice {
    /// A choice among the numbers from 0. Weights are finite and above 0, and there is at least one.
    pub(super) fn new(weights: &[f64]) -> Self {
        let count = weights.len();
        // Scaled down first: the sum of large weights could be infinite.
        let largest = weights.iter().copied().fold(0.0, f64::max);
        let sum: f64 = weights.iter().map(|weight| weight / largest).sum();
        let mut heights: Vec<f64> =
            weights.iter().map(|weight| weight / largest / sum * count as f64).collect();
        let mut columns: Vec<Column> =
            (0..count).map(|own| Column { height: 1 << 32, other: own as u32 }).collect();
        let (mut low, mut high): (Vec<usize>, Vec<usize>) =
            (0..count).partition(|number| heights[*number] < 1.0);
        while let (Some(own), Some(other)) = (low.pop(), high.last().copied()) {
            columns[own] = Column { height: (heights[own] * FULL) as u64, other: other as u32 };
            // The other one fills up this column.
            heights[other] -= 1.0 - heights[own];
            if heights[other] < 1.0 {
                high.pop();
                low.push(other);
            }
        }
        // What is left in either list differs from 1 by rounding only.
        Self { columns: columns.into() }
    }

    /// The next number.
    #[inline]
    pub(super) fn next(&self, random: &mut Rng) -> u32 {
        let bits = random.u64(..);
        let column = ((bits >> 32) * self.columns.len() as u64) >> 32;
        let Column { height, other } = self.columns[column as usize];
        if bits & 0xFFFF_FFFF < height { column as u32 } else { other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_comes_as_often_as_its_weight_says() {
        for weights in [
            &[1.0][..],
            &[1.0, 1.0],
            &[1.0, 2.0, 3.0, 4.0],
            &[0.001, 1000.0, 0.5],
            &[1e308, 1e308, 1e308],
            &[f64::MIN_POSITIVE, 1.0, f64::MIN_POSITIVE],
            &[5.0; 1000],
        ] {
            let (choice, mut random) = (Choice::new(weights), Rng::with_seed(7));
            let draws = 400_000;
            let mut counts = vec![0_u32; weights.len()];
            for _ in 0..draws {
                counts[choice.next(&mut random) as usize] += 1;
            }
            let scaled: f64 = weights.iter().map(|weight| weight / 1e300).sum();
            for (count, weight) in counts.iter().zip(weights) {
                let expected = weight / 1e300 / scaled * f64::from(draws);
                // Six standard deviations.
                let tolerance = 6.0 * expected.sqrt() + 1.0;
                assert!((f64::from(*count) - expected).abs() < tolerance, "{count} instead of {expected}");
            }
        }
    }

    #[test]
    fn a_seed_decides_the_order() {
        let choice = Choice::new(&[1.0, 2.0, 3.0]);
        let drawn = |seed| {
            let mut random = Rng::with_seed(seed);
            (0..50).map(|_| choice.next(&mut random)).collect::<Vec<_>>()
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
    }
}
