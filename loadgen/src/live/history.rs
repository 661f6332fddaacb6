//! The course of a run in bounded memory: one entry per second at first, later one per 2, 4, 8 … seconds.

/// So many entries at most. When they are full, each two become one.
const ENTRIES_MAX: usize = 512;

/// Some seconds of a run, one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Entry {
    pub(super) seconds: u32,
    /// Requests per second that were answered, on average.
    pub(super) rate: f64,
    /// Response times in microseconds: the highest of these seconds; 0 without any.
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
}

impl Entry {
    /// Both together.
    fn joined(self, other: Self) -> Self {
        let seconds = self.seconds + other.seconds;
        let sum = self.rate * f64::from(self.seconds) + other.rate * f64::from(other.seconds);
        Self {
            seconds,
            rate: sum / f64::from(seconds.max(1)),
            p50: self.p50.max(other.p50),
            p90: self.p90.max(other.p90),
            p99: self.p99.max(other.p99),
        }
    }
}

/// The course so far.
#[derive(Debug)]
pub(super) struct History {
    entries: Vec<Entry>,
    /// Seconds per entry; the last one may have fewer.
    unit: u32,
}

impl History {
    /// An empty one. Allocates all of its memory.
    pub(super) fn new() -> Self {
        Self { entries: Vec::with_capacity(ENTRIES_MAX), unit: 1 }
    }

    /// Adds one second.
    pub(super) fn push(&mut self, second: Entry) {
        match self.entries.last_mut() {
            Some(last) if last.seconds < self.unit => *last = last.joined(second),
            _ => {
                if self.entries.len() == ENTRIES_MAX {
                    for index in 0..ENTRIES_MAX / 2 {
                        self.entries[index] = self.entries[2 * index].joined(self.entries[2 * index + 1]);
                    }
                    self.entries.truncate(ENTRIES_MAX / 2);
                    self.unit *= 2;
                }
                self.entries.push(second);
            }
        }
    }

    /// Takes the place of `other`, without allocating.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.entries.clone_from(&other.entries);
        self.unit = other.unit;
    }

    /// The whole course in at most `width` columns, and how many seconds each stands for.
    pub(super) fn columns(&self, width: usize) -> (impl Iterator<Item = Entry> + '_, u32) {
        let group = self.entries.len().div_ceil(width.max(1)).max(1);
        let columns = self.entries.chunks(group).map(|part| {
            let (first, rest) = part.split_first().expect("no chunk is empty");
            rest.iter().fold(*first, |all, next| all.joined(*next))
        });
        (columns, self.unit * group as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_a_day_keeps_its_highest_times_and_its_mean_rate() {
        let mut history = History::new();
        let allocated = history.entries.capacity();
        for second in 0..86_400 {
            let p99 = if second == 40_000 { 9e6 } else { 1e3 };
            history.push(Entry { seconds: 1, rate: f64::from(second % 2) * 100.0, p99, ..Entry::default() });
        }
        assert_eq!(history.entries.capacity(), allocated);
        for width in [1, 7, 60, 511, 10_000] {
            let (columns, unit) = history.columns(width);
            let columns: Vec<_> = columns.collect();
            assert!(columns.len() <= width.min(ENTRIES_MAX), "{width}");
            assert_eq!(columns.iter().map(|entry| entry.seconds).sum::<u32>(), 86_400, "{width}");
            assert!(columns.iter().all(|entry| entry.seconds <= unit), "{width}");
            assert_eq!(columns.iter().filter(|entry| entry.p99 > 1e6).count(), 1, "{width}");
            let mean: f64 = columns.iter().map(|entry| entry.rate * f64::from(entry.seconds)).sum();
            assert!((mean / 86_400.0 - 50.0).abs() < 1e-6, "{width} {mean}");
        }
        let mut copy = History::new();
        copy.copy_from(&history);
        assert_eq!((copy.unit, &copy.entries), (history.unit, &history.entries));
    }

    #[test]
    fn nothing_has_no_columns() {
        let history = History::new();
        assert_eq!((history.columns(0).0.count(), history.columns(80).1), (0, 1));
    }
}
