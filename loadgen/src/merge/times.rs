//! The histograms of several results, added.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::part::MergeError;
use crate::hdr::{self, Encoder};
use crate::metrics::{Times, histogram};
use crate::result::{Histograms, TimesText};

/// The sums, distribution by distribution.
#[derive(Clone, Debug, Default)]
pub(super) struct MergedTimes {
    pub(super) response: Times,
    pub(super) service: Times,
    pub(super) queue_wait: Times,
    pub(super) schedule_lag: Times,
    pub(super) dns: Times,
    pub(super) connect: Times,
    pub(super) tls: Times,
    pub(super) first_byte: Times,
    pub(super) transfer: Times,
    pub(super) by_status: BTreeMap<String, Times>,
    pub(super) cut_off: Times,
}

impl MergedTimes {
    /// The sums of histograms, each with the name of its file and its place in there.
    pub(super) fn of<'a>(
        parts: impl Iterator<Item = (&'a str, &'a str, &'a Histograms)>,
    ) -> Result<Self, MergeError> {
        let mut sums = Self::default();
        for (file, place, part) in parts {
            for (sum, name, text) in [
                (&mut sums.response, "response", &part.response),
                (&mut sums.service, "service", &part.service),
                (&mut sums.queue_wait, "queue_wait", &part.queue_wait),
                (&mut sums.schedule_lag, "schedule_lag", &part.schedule_lag),
                (&mut sums.dns, "dns", &part.dns),
                (&mut sums.connect, "connect", &part.connect),
                (&mut sums.tls, "tls", &part.tls),
                (&mut sums.first_byte, "first_byte", &part.first_byte),
                (&mut sums.transfer, "transfer", &part.transfer),
                (&mut sums.cut_off, "cut_off", &part.cut_off),
            ] {
                add(sum, text, file, &format!("{place}histograms.{name}"))?;
            }
            for (class, text) in &part.by_status {
                let sum = sums.by_status.entry(class.clone()).or_default();
                add(sum, text, file, &format!("{place}histograms.by_status.{class}"))?;
            }
        }
        Ok(sums)
    }

    /// The sums as in a result.
    pub(super) fn texts(&self) -> Histograms {
        let mut encoder = Encoder::new();
        let mut text = |times: &Times| TimesText {
            completed: encoder.text(&times.exact),
            censored: encoder.text(&times.censored),
        };
        Histograms {
            response: text(&self.response),
            service: text(&self.service),
            queue_wait: text(&self.queue_wait),
            schedule_lag: text(&self.schedule_lag),
            dns: text(&self.dns),
            connect: text(&self.connect),
            tls: text(&self.tls),
            first_byte: text(&self.first_byte),
            transfer: text(&self.transfer),
            by_status: self.by_status.iter().map(|(class, times)| (class.clone(), text(times))).collect(),
            cut_off: text(&self.cut_off),
        }
    }
}

fn add(sum: &mut Times, part: &TimesText, file: &str, place: &str) -> Result<(), MergeError> {
    let parts =
        [("completed", &mut sum.exact, &part.completed), ("censored", &mut sum.censored, &part.censored)];
    for (name, sum, text) in parts {
        if let Some(text) = text {
            let field = format!("{place}.{name}");
            let part = decode(text, file, &field)?;
            if (part.low(), part.high(), part.sigfig()) != (sum.low(), sum.high(), sum.sigfig()) {
                let problem = format!(
                    "its histogram has {} digits from {} to {} ns, and adding it would lose some",
                    part.sigfig(),
                    part.low(),
                    part.high()
                );
                return Err(MergeError::Field { file: file.to_owned(), field, problem });
            }
            sum.add(&part).expect("the bounds are the same");
        }
    }
    Ok(())
}

/// The histogram of a field.
pub(super) fn decode(text: &str, file: &str, field: &str) -> Result<Histogram<u64>, MergeError> {
    hdr::decode(text).map_err(|error| MergeError::Field {
        file: file.to_owned(),
        field: field.to_owned(),
        problem: error.to_string(),
    })
}

/// A histogram to add those of points to, which have fewer digits.
pub(super) fn sum_of_points(texts: &[(&str, &str)], field: &str) -> Result<Histogram<u64>, MergeError> {
    let mut sum = histogram();
    for (file, text) in texts.iter().filter(|(_, text)| !text.is_empty()) {
        let part = decode(text, file, field)?;
        sum.add(&part).map_err(|error| MergeError::Field {
            file: (*file).to_owned(),
            field: field.to_owned(),
            problem: error.to_string(),
        })?;
    }
    Ok(sum)
}
