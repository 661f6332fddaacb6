//! What to type instead of what other tools call it, or of a URL without a command. What is only misspelt is left to clap,
//! which finds similar names.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::error::UsageError;

/// Flags of wrk, oha, hey, h2load, k6, curl and ab that `run` has under other names, or does not need.
const OTHER_TOOLS: [(&str, &str); 26] = [
    ("--latency", "percentiles are always printed; leave it out"),
    ("--latency-correction", "`response` always counts from when a request is due; leave it out"),
    ("--script", "there are no scripts; --scenario FILE has users who walk through requests"),
    ("-s", "there are no scripts; --scenario FILE has users who walk through requests"),
    ("--rps", "use --rate (-R), the rate of all connections together"),
    ("--vus", "use --connections (-c)"),
    ("--clients", "use --connections (-c)"),
    ("--concurrency", "use --connections (-c)"),
    ("--iterations", "use --requests (-n)"),
    ("--stage", "use --stages, such as 30s@1k,1m@1k:5k"),
    ("--max-concurrent-streams", "use --parallel (-p)"),
    ("--warm-up-time", "use --warmup"),
    ("--disable-keepalive", "use --no-keepalive"),
    ("--no-connection-reuse", "use --no-keepalive"),
    ("--h1", "use --http1"),
    ("--http-version", "use --http1 or --http2"),
    ("--unix-socket", "use --unix"),
    ("--urls-from-file", "use --urls"),
    ("--insecure-skip-tls-verify", "use --insecure (-k)"),
    ("--worker-threads", "use --threads (-t)"),
    ("--data", "use --body (-b)"),
    ("--output-format", "use --format"),
    ("--user-agent", "use -H 'User-Agent: …'"),
    ("-A", "use -H 'Accept: …'"),
    ("-a", "use -H 'Authorization: Basic …'"),
    ("-x", "use --proxy"),
];

/// Returns what the user probably meant, if clap's own advice would not tell it.
pub(super) fn of(error: &clap::Error, words: &[OsString]) -> Option<UsageError> {
    let typed = |kind| match error.get(kind) {
        Some(ContextValue::String(typed)) => Some(typed.as_str()),
        _ => None,
    };
    let first = words.get(1)?.to_str()?;
    let (typed, advice) = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let typed = typed(ContextKind::InvalidSubcommand)?;
            let advice = if typed.contains("://") {
                format!("a command comes first; try: ringtide run {typed}")
            } else if typed == "help" {
                "there is no such command; try: ringtide --help".to_owned()
            } else {
                return None;
            };
            (typed, advice)
        }
        ErrorKind::UnknownArgument => {
            let typed = typed(ContextKind::InvalidArg)?;
            let advice = match first {
                "run" => OTHER_TOOLS.iter().find(|(flag, _)| *flag == typed)?.1.to_owned(),
                flag if flag.starts_with('-') => "a command comes first, such as `ringtide run`".to_owned(),
                _ => return None,
            };
            (typed, advice)
        }
        _ => return None,
    };
    Some(UsageError::Unknown { typed: typed.to_owned(), advice })
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;
    use crate::cli::Cli;

    fn advice(words: &[&str]) -> Option<String> {
        let words: Vec<OsString> = ["ringtide"].iter().chain(words).map(OsString::from).collect();
        let error = Cli::try_parse_from(&words).expect_err("it is refused");
        of(&error, &words).map(|error| error.to_string())
    }

    #[test]
    fn what_was_meant_is_told() {
        for (words, says) in [
            (&["http://h/"][..], "`http://h/`: a command comes first; try: ringtide run http://h/"),
            (&["help"], "`help`: there is no such command; try: ringtide --help"),
            (&["-c", "5", "http://h/"], "`-c`: a command comes first, such as `ringtide run`"),
            (&["run", "http://h/", "--latency"], "`--latency`: percentiles are always printed; leave it out"),
        ] {
            assert_eq!(advice(words).as_deref(), Some(says), "{words:?}");
        }
    }

    #[test]
    fn what_is_misspelt_is_left_to_clap() {
        for words in [&["rum", "http://h/"][..], &["run", "http://h/", "--htpp2"], &["targets", "--latency"]]
        {
            assert_eq!(advice(words), None, "{words:?}");
        }
    }

    #[test]
    fn flags_of_other_tools_are_none_of_ours() {
        let cli = Cli::command();
        let run = cli.find_subcommand("run").expect("it is a command");
        for (flag, advice) in OTHER_TOOLS {
            for ours in run.get_arguments() {
                assert_ne!(
                    ours.get_long().map(|name| format!("--{name}")).as_deref(),
                    Some(flag),
                    "{advice}"
                );
                let shorts = ours.get_short_and_visible_aliases().unwrap_or_default();
                assert!(!shorts.iter().any(|name| format!("-{name}") == flag), "{flag}");
            }
        }
    }
}
