//! Times by key: one histogram per key.
//!
//! Keys are numbers from 0, their count is fixed at the start, and the caller gives them a meaning: today the classes
//! of status codes.

use hdrhistogram::Histogram;

use super::times::{add, histogram, reset};

/// A histogram for each key except the usual one, whose times are all times minus those of the others. So a usual
/// answer is recorded only once and costs nothing here.
#[derive(Clone, Debug)]
pub(super) struct Keyed {
    /// The usual key has none.
    own: Box<[Option<Histogram<u64>>]>,
}

impl Keyed {
    /// Empty histograms for the keys below `keys`. Allocates all memory: 300 kB for each key but the usual one.
    pub(super) fn new(keys: usize, usual: usize) -> Self {
        Self { own: (0..keys).map(|key| (key != usual).then(histogram)).collect() }
    }

    /// Records a time; keeps nothing for the usual key.
    pub(super) fn record(&mut self, key: usize, time_ns: u64) {
        if let Some(histogram) = &mut self.own[key] {
            histogram.saturating_record(time_ns);
        }
    }

    /// Adds all of `other`, which must have the same keys.
    pub(super) fn add(&mut self, other: &Self) {
        for (mine, others) in self.own.iter_mut().flatten().zip(other.own.iter().flatten()) {
            add(mine, others);
        }
    }

    /// Empties all.
    pub(super) fn reset(&mut self) {
        self.own.iter_mut().flatten().for_each(reset);
    }

    /// The times of each key that has any; `all` holds the times of all keys.
    pub(super) fn split(&self, all: &Histogram<u64>) -> Vec<(usize, Histogram<u64>)> {
        let mut usual = all.clone();
        for histogram in self.own.iter().flatten().filter(|histogram| !histogram.is_empty()) {
            usual.subtract(histogram).expect("all times of a key are among all");
        }
        let of_each = self.own.iter().enumerate().map(|(key, own)| (key, own.as_ref().unwrap_or(&usual)));
        of_each.filter(|(_, times)| !times.is_empty()).map(|(key, times)| (key, times.clone())).collect()
    }
}

/// The class of a status code (RFC 9110 §15), as a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusClass {
    /// 1xx. Of these, only 101 ends a request.
    Informational,
    /// 2xx: the usual one.
    Successful,
    /// 3xx.
    Redirection,
    /// 4xx.
    ClientError,
    /// 5xx, and all codes from 600, as RFC 9110 §15 requires.
    ServerError,
}

impl StatusClass {
    /// All classes, in the order of their keys.
    pub const ALL: [Self; 5] =
        [Self::Informational, Self::Successful, Self::Redirection, Self::ClientError, Self::ServerError];

    /// The class of a code.
    #[inline]
    pub fn of(status: u16) -> Self {
        match status {
            0..200 => Self::Informational,
            200..300 => Self::Successful,
            300..400 => Self::Redirection,
            400..500 => Self::ClientError,
            500.. => Self::ServerError,
        }
    }

    /// Whether a code is of this class.
    #[inline]
    pub fn contains(self, status: u16) -> bool {
        Self::of(status) == self
    }

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Informational => "1xx",
            Self::Successful => "2xx",
            Self::Redirection => "3xx",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_ones_are_all_but_the_others() {
        let (mut keyed, mut all) = (Keyed::new(3, 1), histogram());
        for (key, time_ns) in [(0, 5), (1, 5), (1, 70_000), (2, 9), (1, 9)] {
            keyed.record(key, time_ns);
            all.saturating_record(time_ns);
        }
        let mut both = Keyed::new(3, 1);
        both.add(&keyed);
        let split = both.split(&all);
        let counts: Vec<_> =
            split.iter().map(|(key, times)| (*key, times.len(), times.count_at(9))).collect();
        assert_eq!(counts, [(0, 1, 0), (1, 3, 1), (2, 1, 1)]);
        both.reset();
        assert_eq!(both.split(&all).len(), 1);
        assert!(both.split(&histogram()).is_empty());
    }

    #[test]
    fn every_code_has_a_class() {
        for (status, name) in
            [(101, "1xx"), (200, "2xx"), (299, "2xx"), (304, "3xx"), (404, "4xx"), (503, "5xx"), (999, "5xx")]
        {
            assert_eq!(StatusClass::of(status).name(), name);
        }
        for (key, class) in StatusClass::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, key);
        }
    }
}
