//! What the unit tests of several modules share.

use proptest::prelude::ProptestConfig;

/// Fewer cases than usual, where each takes long. The environment overrides it, for `ci/fuzz-smoke`.
pub(crate) fn few_cases(count: u32) -> ProptestConfig {
    let usual = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { usual.cases } else { count };
    ProptestConfig { cases, ..usual }
}
