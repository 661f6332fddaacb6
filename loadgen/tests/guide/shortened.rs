//! How a command that runs differs from what the page shows. These rules, and no others:
//!
//! - Ports: 8080, 8081 and 8082 become those of a plain server, 8443 that of one with TLS, 3128 that of a proxy.
//! - Times: `-d` is at most 150 ms, a stage 50 ms, `--warmup` 50 ms. A probe of `find` takes 200 ms, and `ab` 4 s: their least.
//! - Sizes: rates are at most 200/s (`find`: 100 to 200/s), `-n` 300, connections 10, threads 2. Files are read as they are.
//! - Figures are the machine's, not the page's: unless the page states another exit code than 0, an upper limit of a time in
//!   a threshold is a minute, `rps` need only be above 1, `--require-valid` is left out, and a run with thresholds waits for
//!   its last answers. For an exit code of 4, the run is too short for a verdict.
//! - A program that the output is piped to is left out, unless it is `ringtide`.
//! - `--cpus` is left out: the machine may have fewer cores.
//! - `loadgen/guide/` is that of the source tree, and `/tmp/` is the folder of the test.

use std::path::Path;

use regex::{Captures, Regex};
use ringtide_loadgen::units::parse_time_ns;

use crate::commands::Shown;
use crate::pages::GUIDE;
use crate::servers::Ports;

const MS: u64 = 1_000_000;
/// A shorter run has no verdict.
const DURATION_MAX_NS: u64 = 150 * MS;
const STAGE_MAX_NS: u64 = 50 * MS;
const RATE_MAX: f64 = 200.0;
const FROM_MAX: f64 = 100.0;
const REQUESTS_MAX: f64 = 300.0;
const CONNECTIONS_MAX: f64 = 10.0;
const THREADS_MAX: f64 = 2.0;

/// The text for the shell.
pub(crate) fn shortened(shown: &Shown, ports: Ports, folder: &Path) -> String {
    let mut text = shown.text.clone();
    for (port, ours) in ports.by_shown() {
        text = replace(&text, &format!(r":{port}\b"), |_| format!(":{ours}"));
    }
    // The source tree may itself lie in /tmp.
    text = text.replace("/tmp/", &format!("{}/", folder.display()));
    text = text.replace("loadgen/guide/", &format!("{GUIDE}/"));
    text = replace(&text, r" \| [^|]*$", |found| {
        if found[0].contains("ringtide") { found[0].to_owned() } else { String::new() }
    });
    text = replace(&text, r" --cpus[ =]\S+", |_| String::new());
    text = capped(&text, "-R|-q|--rate", RATE_MAX);
    text = capped(&text, "--from", FROM_MAX);
    text = capped(&text, "-n|--requests", REQUESTS_MAX);
    text = capped(&text, "-c|--connections|--max-connections", CONNECTIONS_MAX);
    text = capped(&text, "-t|--threads", THREADS_MAX);
    text = replace(&text, r"--stages '?([^\s']+)'?", |found| format!("--stages {}", stages(&found[1])));
    text = at_most(&text, "--warmup", STAGE_MAX_NS);
    text = at_most(&text, "-d|-z|--duration", DURATION_MAX_NS);
    for (command, flags) in
        [("ab", " -d 4s --warmup 50ms"), ("find", " -d 200ms --to 200"), ("targets", " -d 50ms")]
    {
        let begin = format!("ringtide {command}");
        if text.contains(&begin) {
            text = replace(&text, r" (-d|-z|--duration|--to) \d\S*", |_| String::new());
            text = text.replace(&begin, &format!("{begin}{flags}"));
        }
    }
    let has_end = [" -d ", " -z ", " -n ", " --stages ", " --replay "].iter().any(|flag| text.contains(flag));
    if !has_end {
        text = text.replace("ringtide run ", &format!("ringtide run -d {}ms ", DURATION_MAX_NS / MS));
    }
    if shown.code == 0 {
        text = text.replace(" --require-valid", "");
        text = replace(&text, r"(p[0-9.]+|mean|max)(<=?)[0-9.]+(us|ms|s)\b", |found| {
            format!("{}{}60s", &found[1], &found[2])
        });
        text = replace(&text, r"rps>(=?)[0-9.]+k?", |found| format!("rps>{}1", &found[1]));
        if text.contains("--threshold") && !text.contains("--drain") {
            text = text.replace("ringtide run ", "ringtide run --drain 20s ");
        }
    }
    text
}

fn replace(text: &str, pattern: &str, by: impl Fn(&Captures<'_>) -> String) -> String {
    Regex::new(pattern).expect("a pattern").replace_all(text, by).into_owned()
}

/// Limits the numbers behind a flag; a ramp has two.
fn capped(text: &str, flags: &str, most: f64) -> String {
    replace(text, &format!(r" ({flags})[ =]?(\d[0-9.kM:]*)\b"), |found| {
        let numbers: Vec<String> = found[2].split(':').map(|number| lesser(number, most)).collect();
        format!(" {} {}", &found[1], numbers.join(":"))
    })
}

fn lesser(number: &str, most: f64) -> String {
    let (digits, factor) = match number.chars().next_back() {
        Some('k') => (&number[..number.len() - 1], 1e3),
        Some('M') => (&number[..number.len() - 1], 1e6),
        _ => (number, 1.0),
    };
    let value: f64 = digits.parse::<f64>().unwrap_or_else(|_| panic!("`{number}` is a number")) * factor;
    value.min(most).to_string()
}

fn at_most(text: &str, flags: &str, most_ns: u64) -> String {
    replace(text, &format!(r" ({flags})[ =]?(\d\S*)"), |found| {
        let ns = parse_time_ns(&found[2]).unwrap_or_else(|error| panic!("{error}: {text}"));
        format!(" {} {}us", &found[1], ns.min(most_ns) / 1000)
    })
}

fn stages(list: &str) -> String {
    let stage = |text: &str| {
        let (time, rates) = text.split_once('@').expect("a stage is TIME@RATE");
        let ns = parse_time_ns(time).expect("a time").min(STAGE_MAX_NS);
        let rates: Vec<String> = rates.split(':').map(|rate| lesser(rate, RATE_MAX)).collect();
        format!("{}us@{}", ns / 1000, rates.join(":"))
    };
    list.split(',').map(stage).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(text: &str, code: i32) -> String {
        let shown = Shown { line: 1, text: text.to_owned(), code };
        shortened(&shown, Ports { plain: 1, tls: 2, proxy: 3 }, Path::new("/x"))
    }

    #[test]
    fn commands_become_short_and_stay_what_they_are() {
        for (text, code, expected) in [
            (
                "ringtide run http://127.0.0.1:8080/ -c 64 -d 10s",
                0,
                "ringtide run http://127.0.0.1:1/ -c 10 -d 150000us",
            ),
            ("ringtide run https://localhost:8443/ -n 1M", 0, "ringtide run https://localhost:2/ -n 300"),
            (
                "ringtide run http://127.0.0.1:8080/ -t 1 --cpus 0 -R 1k:20k",
                0,
                "ringtide run -d 150ms http://127.0.0.1:1/ -t 1 -R 200:200",
            ),
            (
                "ringtide run u -d 5 --threshold 'p99<10ms' --require-valid",
                0,
                "ringtide run --drain 20s u -d 150000us --threshold 'p99<60s'",
            ),
            (
                "ringtide run u -d 5 --threshold 'p99<10ms' --require-valid",
                4,
                "ringtide run u -d 150000us --threshold 'p99<10ms' --require-valid",
            ),
            (
                "ringtide run u --stages 30s@1k,10ms@5:1k",
                0,
                "ringtide run u --stages 50000us@200,10000us@5:200",
            ),
            ("ringtide ab a b -d 1m", 0, "ringtide ab -d 4s --warmup 50ms a b"),
        ] {
            assert_eq!(short(text, code), expected);
        }
    }
}
