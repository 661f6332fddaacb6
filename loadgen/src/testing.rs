//! What the unit tests of several modules share.

use proptest::prelude::ProptestConfig;

/// At most `count` cases, where each makes dozens of large histograms and takes a second without optimization. The
/// environment can ask for fewer.
pub(crate) fn few_cases(count: u32) -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases.min(count), ..usual }
}
