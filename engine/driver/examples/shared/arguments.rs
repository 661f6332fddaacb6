//! `--name value` pairs, which is all that the measuring examples need of a command line.

use std::fmt::Display;
use std::str::FromStr;

/// The pairs of this process's command line.
pub(crate) struct Arguments(Vec<(String, String)>);

impl Arguments {
    /// Reads the command line.
    ///
    /// # Errors
    /// For a name that is not in `known`, or one without a value.
    pub(crate) fn parse(known: &[&str]) -> Result<Self, String> {
        let mut words = std::env::args().skip(1);
        let mut pairs = Vec::new();
        while let Some(name) = words.next() {
            if !known.contains(&name.as_str()) {
                return Err(format!("unknown argument {name}; known are {}", known.join(" ")));
            }
            let value = words.next().ok_or_else(|| format!("{name} wants a value"))?;
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// The value of `name`, or `default` where it was not given.
    ///
    /// # Errors
    /// When the value cannot be read as a `T`.
    pub(crate) fn get<T: FromStr<Err: Display>>(&self, name: &str, default: T) -> Result<T, String> {
        match self.0.iter().find(|(given, _)| given == name) {
            Some((_, value)) => value.parse().map_err(|error| format!("{name} {value}: {error}")),
            None => Ok(default),
        }
    }
}
