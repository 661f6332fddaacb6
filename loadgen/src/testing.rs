//! What the unit tests of several modules share.

use proptest::prelude::ProptestConfig;

/// How many times `count` the environment may ask for, as `ci/fuzz-smoke` does.
const FACTOR_MAX: u32 = 8;

/// Fewer cases than usual, where each takes long.
pub(crate) fn few_cases(count: u32) -> ProptestConfig {
    let usual = ProptestConfig::default();
    let is_asked_for = std::env::var_os("PROPTEST_CASES").is_some();
    let cases = if is_asked_for { usual.cases.min(count * FACTOR_MAX) } else { count };
    ProptestConfig { cases, ..usual }
}
