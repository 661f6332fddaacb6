//! A parser for `--name value` pairs. The measuring examples need no more than that.

use std::fmt::Display;
use std::str::FromStr;

/// The pairs on the command line of this process.
pub(crate) struct Arguments(Vec<(String, String)>);

impl Arguments {
    /// Parses the command line.
    ///
    /// # Errors
    /// A name is not in `known`, or has no value.
    pub(crate) fn parse(known: &[&str]) -> Result<Self, String> {
        let mut words = std::env::args().skip(1);
        let mut pairs = Vec::new();
        while let Some(name) = words.next() {
            if !known.contains(&name.as_str()) {
                return Err(format!("unknown argument {name}; known are {}", known.join(" ")));
            }
            let value = words.next().ok_or_else(|| format!("{name} needs a value"))?;
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// Returns the value of `name`, or `default` if it is not on the command line.
    ///
    /// # Errors
    /// The value cannot be parsed as a `T`.
    pub(crate) fn get<T: FromStr<Err: Display>>(&self, name: &str, default: T) -> Result<T, String> {
        match self.0.iter().find(|(given, _)| given == name) {
            Some((_, value)) => value.parse().map_err(|error| format!("{name} {value}: {error}")),
            None => Ok(default),
        }
    }
}
