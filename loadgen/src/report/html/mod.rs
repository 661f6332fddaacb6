//! Results as a page for a browser: one file with plots, which needs neither a network nor a script. It is for people, now
//! and later; programs read the JSON.
//!
//! Nothing that a result holds can become markup (`markup`), and the page forbids itself to load or run anything. Its size
//! has a bound whatever the length of the run (`course`).

mod asked;
mod course;
mod decoded;
mod facts;
mod figures;
mod heat_map;
mod histograms;
mod markup;
mod outcomes;
mod over_time;
mod page;
mod percentiles;
mod phases;
mod plot;
mod scale;
mod style;
mod table;

use self::decoded::Decoded;
pub use self::decoded::{Named, RESULTS_MAX, Unreadable};

/// The page of one result, or of several to compare.
///
/// # Errors
/// When a histogram cannot be read; those of a result that this version has just made always can.
///
/// # Panics
/// When there is no result, or there are more than [`RESULTS_MAX`].
pub fn render(results: &[Named<'_>]) -> Result<String, Unreadable> {
    assert!((1..=RESULTS_MAX).contains(&results.len()), "{} results", results.len());
    let decoded: Result<Vec<_>, _> =
        results.iter().enumerate().map(|(index, named)| Decoded::of(index, *named)).collect();
    Ok(page::write(&decoded?))
}

#[cfg(test)]
mod tests;
