//! The results of each request name.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::counts::{Errors, Requests};
use super::histograms::Histograms;
use super::latency::LatenciesUs;
use crate::metrics::Totals;

/// What the requests of one name came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// How many.
    pub requests: Requests,
    /// Times of whole requests.
    pub latency_us: LatenciesUs,
    /// Failed requests by kind.
    #[serde(default)]
    pub errors: Errors,
    /// Completed requests with a status below 400.
    #[serde(default)]
    pub succeeded: u64,
    /// All times without loss, for programs that merge or draw results.
    #[serde(default)]
    pub histograms: Histograms,
}

impl Step {
    pub(super) fn of(totals: &Totals) -> Self {
        Self {
            requests: Requests::of(&totals.counters),
            latency_us: LatenciesUs::of(totals, &totals.response()),
            errors: Errors::of(&totals.counters),
            succeeded: totals.counters.succeeded(),
            histograms: Histograms::of(totals),
        }
    }
}

/// The steps of a run by name, in the order of the plan: in JSON an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Steps(pub Vec<(String, Step)>);

impl Serialize for Steps {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, step)| (name, step)))
    }
}

impl<'de> Deserialize<'de> for Steps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Steps;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with a step under each name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Steps, A::Error> {
                let mut steps = Vec::new();
                while let Some(step) = map.next_entry()? {
                    steps.push(step);
                }
                Ok(Steps(steps))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}
