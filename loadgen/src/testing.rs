//! What the unit tests of several modules share.

use proptest::prelude::ProptestConfig;

/// So many cases, where each makes large histograms and takes long without optimization. `PROPTEST_CASES` overrides it.
pub(crate) fn few_cases(count: u32) -> ProptestConfig {
    ProptestConfig { cases: count, ..ProptestConfig::default() }
}
