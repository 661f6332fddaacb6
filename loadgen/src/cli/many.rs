//! The flags of `run` that commands with many runs take as well, each in the same sense. Their other flags of `run`
//! are refused: what they ask for would not be done.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches};

use super::format::Format;
use crate::error::UsageError;

/// By the names of their fields.
const SHARED: [&str; 43] = [
    "url",
    "connections",
    "duration",
    "warmup",
    "drain",
    "parallel",
    "no_keepalive",
    "arrival",
    "spin",
    "max_connections",
    "method",
    "headers",
    "body",
    "expect",
    "http1",
    "http2",
    "h2_window",
    "h2_header_table_size",
    "connect_to",
    "unix",
    "resolve",
    "proxy",
    "bind",
    "timeout",
    "connect_timeout",
    "insecure",
    "cacert",
    "cert",
    "key",
    "sni",
    "alpn",
    "tls_resumption",
    "tls_min",
    "tls_max",
    "tls_groups",
    "ciphers",
    "keylog",
    "require_valid",
    "output",
    "format",
    "no_tui",
    "quiet",
    "threads",
];

/// The rest of them, and the flags that only such commands have.
const OTHERS: [&str; 10] =
    ["cpus", "driver", "seed", "url_b", "metric", "min_effect", "slo", "from", "to", "help"];

fn is_shared(command: &str, id: &str) -> bool {
    SHARED.contains(&id) || OTHERS.contains(&id) || matches!((command, id), ("ab", "rate") | ("find", "urls"))
}

/// Hides the flags that `command` refuses from its help.
pub(super) fn hide_refused(command: &'static str) -> impl FnMut(Arg) -> Arg {
    move |arg| {
        let is_hidden = arg.is_hide_set() || !is_shared(command, arg.get_id().as_str());
        arg.hide(is_hidden)
    }
}

/// Refuses the flags that `command` does not take.
pub(super) fn refuse(command: &'static str, matches: &ArgMatches) -> Result<(), UsageError> {
    let is_typed = |id: &str| {
        matches.try_contains_id(id).unwrap_or(false)
            && matches.value_source(id) == Some(ValueSource::CommandLine)
    };
    for id in matches.ids() {
        let id = id.as_str();
        // Groups of flags have capital letters.
        if id.starts_with(|c: char| c.is_ascii_lowercase()) && is_typed(id) && !is_shared(command, id) {
            let flag = match id {
                "thresholds" => "--threshold".to_owned(),
                id => format!("--{}", id.replace('_', "-")),
            };
            return Err(UsageError::NotOfCommand { flag, command });
        }
    }
    Ok(())
}

/// The formats that these commands have.
pub(super) fn check_format(command: &'static str, format: Option<Format>) -> Result<(), UsageError> {
    match format {
        None | Some(Format::Text | Format::Json) => Ok(()),
        #[allow(unreachable_patterns, reason = "other formats are for single runs")]
        Some(_) => {
            let problem = format!("`{command}` writes text or json");
            Err(UsageError::Value { flag: "--format", problem })
        }
    }
}
