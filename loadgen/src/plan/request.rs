//! The requests of a plan: what is sent, how often each is chosen, and under which name its results are kept.

use serde::{Deserialize, Serialize};

use crate::expect::Expect;

/// The most names under which results are kept. Each takes a few megabytes per worker once it is used.
pub const NAMES_MAX: usize = 64;

/// One of the requests of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The name of its results, which other requests may share; empty for a request without results of its own.
    #[serde(default)]
    pub name: String,
    /// How often it is chosen, relative to the other requests. Finite and above 0.
    pub weight: f64,
    /// The method (RFC 9110 §9).
    pub method: String,
    /// Path and query (RFC 9112 §3.2.1).
    pub target: String,
    /// Further fields, in order. A `Host` here replaces that of the URL.
    pub headers: Vec<Header>,
    /// The body; empty for none.
    pub body: Vec<u8>,
    /// What its response must be; `None` if any will do.
    #[serde(default)]
    pub expect: Option<Expect>,
}

impl Request {
    /// A GET of `target` without fields or a body, and without a name.
    pub fn get(target: &str) -> Self {
        Self {
            name: String::new(),
            weight: 1.0,
            method: "GET".to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            expect: None,
        }
    }
}

/// A field of the request (RFC 9110 §5), its name and value valid and the value without surrounding spaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// As typed; names are case-insensitive.
    pub name: String,
    /// As typed.
    pub value: String,
}

/// The names of `requests`, each once, in the order of their first use.
pub(super) fn names(requests: &[Request]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for Request { name, .. } in requests {
        if !name.is_empty() && !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
}
