//! The form of a scenario's file, before anything in it is looked up.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) url: Option<Spanned<String>>,
    pub(super) order: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) cookies: bool,
    #[serde(default)]
    /// Text, a number, or how it is made.
    pub(super) variables: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
    #[serde(default)]
    pub(super) data: BTreeMap<Spanned<String>, Data>,
    #[serde(default)]
    pub(super) step: Vec<Spanned<Step>>,
    #[serde(default)]
    pub(super) user: Vec<Spanned<User>>,
}

/// A file with values.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Data {
    pub(super) csv: Option<Spanned<String>>,
    pub(super) jsonl: Option<Spanned<String>>,
    pub(super) order: Option<Spanned<String>>,
}

/// A request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    pub(super) name: Spanned<String>,
    pub(super) weight: Option<Spanned<f64>>,
    pub(super) method: Option<Spanned<String>>,
    pub(super) path: Spanned<String>,
    #[serde(default)]
    pub(super) headers: BTreeMap<Spanned<String>, Spanned<String>>,
    pub(super) body: Option<Spanned<String>>,
    pub(super) expect: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) capture: BTreeMap<Spanned<String>, Spanned<Capture>>,
    pub(super) think: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) redirects: u32,
}

/// Where a captured value is. One of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Capture {
    pub(super) header: Option<String>,
    pub(super) json: Option<String>,
    pub(super) regex: Option<String>,
}

/// A kind of users.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct User {
    /// For those who read the file.
    #[serde(rename = "name")]
    pub(super) _name: Option<String>,
    pub(super) weight: Option<Spanned<f64>>,
    pub(super) order: Option<Spanned<String>>,
    pub(super) steps: Vec<Spanned<String>>,
}
