//! The command line from outside: rejected input, messages and exit codes. No test here connects to anything.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

fn ringtide() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringtide"));
    command.stdin(Stdio::null());
    command
}

fn run(words: &[&str]) -> Output {
    ringtide().args(words).output().expect("the binary starts")
}

/// Checks that the command exits with 2, prints nothing to standard output, and that its message contains each of
/// `says`.
#[track_caller]
fn refused(words: &[&str], says: &[&str]) {
    let output = run(words);
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(2), "{words:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{words:?}: {}", String::from_utf8_lossy(&output.stdout));
    for piece in says {
        assert!(stderr.contains(piece), "{words:?} does not say `{piece}`: {stderr}");
    }
    assert!(stderr.starts_with("error: "), "{stderr}");
    assert!(stderr.contains("--help'"), "{words:?} does not say where to read on: {stderr}");
}

#[test]
fn help_and_version_are_no_errors_and_fit_a_terminal() {
    let commands =
        ["run", "find", "ab", "compare", "merge", "report", "serve", "targets", "completions", "man"];
    let of_commands = commands.map(|command| vec![command, "--help"]);
    for words in of_commands.iter().map(Vec::as_slice).chain([&["--help"][..]]) {
        let on_columns = |columns: &str| {
            let output = ringtide().env("COLUMNS", columns).args(words).output().expect("the binary starts");
            assert_eq!(output.status.code(), Some(0));
            String::from_utf8(output.stdout).expect("UTF-8")
        };
        let help = on_columns("80");
        assert!(help.contains("Usage: ringtide"), "{help}");
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        // No line had to be broken for that.
        assert_eq!(help, on_columns("1000"));
    }
    let version = run(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(
        String::from_utf8_lossy(&version.stdout),
        concat!("ringtide ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn no_command_shows_the_help_and_is_a_usage_error() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Usage: ringtide <COMMAND>"));
}

#[test]
fn a_url_that_cannot_be_used_is_named_with_the_place() {
    for (url, says) in [
        ("localhost:8080/", "did you mean http://localhost:8080/?"),
        ("gopher://h/", "the scheme `gopher` is not supported"),
        ("http://h:0/", "nothing can listen on port 0"),
        ("http://", "the host after `://` is missing"),
        ("http://h:99999/", "the port `99999` is not a number from 1 to 65535"),
        ("http://[::1/", "`]`"),
        ("http://h/a b", "must be percent-encoded: %20"),
        ("", "it is empty"),
    ] {
        refused(&["run", url], &[says, &format!("`{url}`")]);
    }
    refused(&["run", "http://user:pass@h/"], &["-H 'Authorization: Basic …'", "`http://…@h/`"]);
}

#[test]
fn contradictory_flags_are_both_named() {
    for (flags, first, second) in [
        (&["--unix", "/x", "--connect-to", "h:1"][..], "--unix", "--connect-to"),
        (&["--no-keepalive", "-p", "2"], "--no-keepalive", "--parallel (-p)"),
        (
            &["--no-keepalive", "-H", "connection: keep-alive"],
            "--no-keepalive",
            "--header (-H) 'Connection: keep-alive'",
        ),
        (&["-R", "1:5", "-n", "10"], "--rate (-R) 1:5", "--requests (-n)"),
        (&["-R", "0.00000000005", "-n", "3"], "--rate (-R) 0.00000000005", "--requests (-n) 3"),
        (&["--arrival", "poisson"], "--arrival", "--rate (-R)"),
        (&["--max-connections", "100"], "--max-connections", "--rate (-R)"),
        (&["-R", "1", "-c", "8", "--max-connections", "4"], "--max-connections 4", "--connections (-c) 8"),
        (&["--unix", "/x", "--bind", "127.0.0.1"], "--unix", "--bind"),
        (&["-c", "2", "-t", "4"], "--threads (-t) 4", "--connections (-c) 2"),
        (&["-t", "2", "--cpus", "0"], "--threads (-t) 2", "--cpus with 1 core"),
        (&["--http1", "--http2"], "--http1", "--http2"),
        (&["--http1", "--h2-window", "1MiB"], "--http1", "--h2-window"),
        (&["--h2-window", "1MiB"], "--h2-window", "--http2"),
        (&["--h2-header-table-size", "0"], "--h2-header-table-size", "--http2"),
        (&["--http2", "-H", "Connection: keep-alive"], "--http2", "--header (-H) 'Connection: keep-alive'"),
        (&["--http2", "-H", "TE: gzip"], "--http2", "--header (-H) 'TE: gzip'"),
        (&["--unix", "/x", "--proxy", "http://h:1"], "--unix", "--proxy"),
        (&["--unix", "/x", "--resolve", "h:1:::1"], "--unix", "--resolve"),
        (&["--replay", "f", "-R", "5"], "--replay", "--rate (-R)"),
        (&["--replay", "f", "--stages", "1s@5"], "--replay", "--stages"),
        (&["--replay", "f", "-n", "5"], "--replay", "--requests (-n)"),
        (&["--replay", "f", "-X", "PUT"], "--replay", "--method"),
        (&["--replay", "f", "-b", "x"], "--replay", "--body (-b)"),
        (&["--replay", "f", "--arrival", "poisson"], "--replay", "--arrival"),
        (&["--stages", "1s@5", "-d", "1s"], "--stages", "--duration (-d)"),
        (&["--stages", "1s@5", "-n", "5"], "--stages", "--requests (-n)"),
        (&["--stages", "1s@5", "-R", "5"], "--stages", "--rate (-R)"),
        (&["--arrival", "poisson"], "--arrival", "--rate (-R), --stages or --replay"),
    ] {
        let words: Vec<&str> = ["run", "http://127.0.0.1:1/"].iter().chain(flags).copied().collect();
        refused(&words, &[first, second]);
    }
    refused(&["serve", "-t", "3", "--cpus", "0-1"], &["--threads (-t) 3", "--cpus with 2 cores"]);
}

#[test]
fn tls_flags_need_https_and_fit_each_other() {
    for flags in [
        &["-k"][..],
        &["--cacert", "f"],
        &["--cert", "f", "--key", "f"],
        &["--key", "f"],
        &["--sni", "h"],
        &["--alpn", "http/1.1"],
        &["--tls-resumption", "on"],
        &["--tls-min", "1.2"],
        &["--tls-max", "1.3"],
        &["--tls-groups", "X25519"],
        &["--ciphers", "TLS_AES_128_GCM_SHA256"],
        &["--keylog", "f"],
    ] {
        let words = [&["run", "http://127.0.0.1:1/"], flags].concat();
        let flag = if flags[0] == "-k" { "--insecure (-k)" } else { flags[0] };
        refused(&words, &[&format!("error: {flag} needs an https:// URL")]);
    }
    for (flags, first, second) in [
        (&["--cert", "f"][..], "--cert", "--key"),
        (&["--key", "f"], "--key", "--cert"),
        (&["-k", "--cacert", "f"], "--insecure (-k)", "--cacert"),
        (&["--tls-min", "1.3", "--tls-max", "1.2"], "--tls-min 1.3", "--tls-max 1.2"),
        (&["--http1", "--alpn", "h2,http/1.1"], "--http1", "--alpn with h2"),
        (&["--http2", "--alpn", "h2,http/1.1"], "--http2", "--alpn"),
        (&["--http2", "--alpn", "http/1.1"], "--http2", "--alpn"),
        (&["--alpn", "http/1.1", "--h2-window", "1MiB"], "--alpn without h2", "--h2-window"),
        (&["--http1", "--h2-header-table-size", "0"], "--http1", "--h2-header-table-size"),
    ] {
        let words = [&["run", "https://127.0.0.1:1/"], flags].concat();
        refused(&words, &[first, second]);
    }
    refused(&["serve", "--cert", "f", "--key", "f"], &["--cert", "--tls"]);
    refused(&["serve", "--tls", "--cert", "f"], &["--cert", "--key"]);
    refused(&["serve", "--tls", "--cert", "/nonexistent/f", "--key", "f"], &["--cert: ", "/nonexistent/f"]);
}

#[test]
fn a_value_that_cannot_be_used_is_named_with_its_flag() {
    for (flags, says) in [
        (&["-d", "10x"][..], &["--duration", "`x` in `10x` is not a unit of time"][..]),
        (&["-d", "0"], &["--duration", "`0`"]),
        (&["-c", "0"], &["--connections", "`0` is too small: the least is 1"]),
        (&["-c", "10m"], &["--connections", "`m` in `10m` is not a suffix"]),
        (&["-t", "two"], &["--threads", "`two` is not a count"]),
        (&["--bind", "127.0.0.1,h"], &["--bind", "`h` in `127.0.0.1,h` is not an IP address"]),
        (&["--tls-resumption", "yes"], &["--tls-resumption", "`yes` is neither on nor off"]),
        (&["--tls-min", "1.1"], &["--tls-min", "unknown TLS version '1.1'; known are 1.2, 1.3"]),
        (&["--tls-max", "3"], &["--tls-max", "unknown TLS version '3'"]),
        (&["--alpn", "h3,http/1.1"], &["--alpn", "`h3` cannot be offered"]),
        (&["--http2", "--h2-window", "64k"], &["--h2-window", "`k` in `64k` is not a unit of size"]),
        (&["--http2", "--h2-window", "0"], &["--h2-window", "`0` would let no server send a body"]),
        (&["--http2", "--h2-header-table-size", "x"], &["--h2-header-table-size", "`x` is not a size"]),
        (&["--ciphers", "a,,b"], &["--ciphers", "`a,,b` has an empty name"]),
        (&["-p", "0"], &["--parallel"]),
        (&["-p", "1025"], &["--parallel", "the limit is 1,024 requests in flight per connection"]),
        (&["--max-errors", "0"], &["--max-errors", "the least is 1"]),
        (&["--max-errors", "0.05"], &["--max-errors", "or a share such as 5%"]),
        (&["--max-errors", "101%"], &["--max-errors", "`101%` is not a share"]),
        (&["-d", "18446744073.7"], &["--duration", "the limit is 876000h (100 years)"]),
        (&["-n", "0"], &["--requests"]),
        (&["-n", "1.5"], &["--requests", "not a whole number"]),
        (&["-R", "0"], &["--rate", "`0` would never send a request"]),
        (&["-R", "1:x"], &["--rate", "`x` is not a rate"]),
        (&["--timeout", "0s"], &["--timeout"]),
        (&["--resolve", "h:80"], &["--resolve", "`h:80` is not HOST:PORT:ADDR"]),
        (&["--resolve", "h:80:::1"], &["--resolve", "nothing connects to h:80; the server is 127.0.0.1:1"]),
        (&["--proxy", "h:3128"], &["--proxy: the value has no scheme; write for example http://HOST:3128"]),
        (&["--proxy", "https://h:1"], &["--proxy: the scheme `https` is not supported; use http, socks5"]),
        (&["--proxy", "http://u:p@h"], &["--proxy: `h` has no port"]),
        (
            &["--connect-to", "h:1", "--proxy", "http://p:1", "--resolve", "h:1:::1"],
            &["--resolve: the proxy resolves h itself; use socks5:// for the proxy, or --connect-to [::1]:1"],
        ),
        (&["--replay", "/nonexistent/log"], &["--replay: cannot read `/nonexistent/log`", "No such file"]),
        (&["--drain", "1x"], &["--drain", "`x` in `1x` is not a unit of time"]),
        (&["--connect-timeout", "0"], &["--connect-timeout"]),
        (&["--cpus", "1-0"], &["--cpus", "write 0-1"]),
        (&["--connect-to", "host"], &["--connect-to", "`host` has no port"]),
        (&["--threshold", "p99<10"], &["--threshold", "`10` has no unit"]),
        (&["--threshold", "p101<1s"], &["--threshold", "`p101`"]),
        // All that a shell leaves of it without quotes.
        (
            &["--threshold", "success"],
            &["--threshold", "`success` has no comparison", "'success>99.9%', with the quotes"],
        ),
        (&["-H", "Accept"], &["--header", "`Accept` has no `:`"]),
        (&["-H", "Host: a b"], &["--header (-H): `a b` is not a valid Host"]),
        (&["--stages", ""], &["--stages", "the value is empty; write for example 30s@1k,1m@1k:5k"]),
        (&["--stages", "10s@1k,1k"], &["--stages", "`1k` in `10s@1k,1k` is not T@RATE"]),
        (&["--stages", "10s@0,5s@0:0"], &["--stages", "`10s@0,5s@0:0` would never send a request"]),
        (&["--stages", "10s@1k,0s@5"], &["--stages", "`0s` is too short", "(the stage `0s@5`)"]),
        (&["-R", "5:"], &["--rate", "`5:`", "write for example 1k:20k"]),
        (&["--spin", "on"], &["--spin", "`on` is neither auto nor off nor a time"]),
        (&["-X", "get"], &["--method", "write GET"]),
        (&["--driver", "epoll"], &["--driver", "auto, io_uring or fallback"]),
        (&["--format", "xml"], &["--format", "text, json, csv"]),
        (&["--seed", "x"], &["--seed", "`x` is not a whole number"]),
        (&["-b", "@/nonexistent/body"], &["--body", "/nonexistent/body", "No such file"]),
    ] {
        let words: Vec<&str> = ["run", "http://127.0.0.1:1/"].iter().chain(flags).copied().collect();
        refused(&words, says);
    }
    // A negative number is a value, not a flag.
    for (flag, value) in [
        ("-R", "-5"),
        ("-n", "-5"),
        ("-c", "-1"),
        ("-t", "-1"),
        ("-p", "-1"),
        ("-d", "-5s"),
        ("--timeout", "-1ms"),
        ("--warmup", "-.5"),
        ("--max-errors", "-1"),
        ("--spin", "-1us"),
    ] {
        refused(
            &["run", "http://127.0.0.1:1/", flag, value],
            &[&format!("error: {flag}: `{value}` is negative\n")],
        );
    }
    refused(
        &["run", "http://127.0.0.1:1/", "-R", "-c", "5"],
        &["a value is required for '--rate", "none was supplied"],
    );
    refused(&["serve", "--addr", "localhost:80"], &["--addr", "127.0.0.1:80"]);
    refused(&["serve", "--burn", "1x"], &["--burn", "`x`"]);
}

#[test]
fn what_is_not_built_is_not_accepted() {
    for words in [&["--http3"][..], &["--sse"], &["--sse=x"]] {
        let words = [&["run", "http://127.0.0.1:1/"], words].concat();
        let flag = words[2].split('=').next().expect("one piece at least");
        refused(&words, &[&format!("error: {flag} is not supported yet\n")]);
        // The only advice is to read the help.
        assert_eq!(String::from_utf8_lossy(&run(&words).stderr).lines().count(), 3);
    }
    // What resembles no flag is not taken for a value.
    let output = run(&["run", "http://127.0.0.1:1/", "--foo"]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("-- --foo"), "{output:?}");
    // A misspelt flag still gets a suggestion.
    refused(&["run", "http://127.0.0.1:1/", "--conections", "1"], &["--conections", "'--connections'"]);
}

#[test]
fn commands_of_many_runs_refuse_what_they_would_not_do() {
    let ab = ["ab", "http://127.0.0.1:1/", "http://127.0.0.1:1/"];
    let find = ["find", "http://127.0.0.1:1/", "--slo", "p99<1s"];
    for (flags, flag) in [
        (&["-n", "5"][..], "--requests"),
        (&["--threshold", "p99<1s"], "--threshold"),
        (&["--max-errors", "5"], "--max-errors"),
    ] {
        refused(
            &[&ab, flags].concat(),
            &[&format!("error: {flag} is a flag of `run`, and `ab` does not take it")],
        );
        refused(&[&find, flags].concat(), &[&format!("{flag} is a flag of `run`, and `find` does not")]);
    }
    refused(&[&find[..], &["-R", "5"]].concat(), &["--rate is a flag of `run`, and `find` does not take it"]);
    for (flags, says) in [
        (&["-d", "3s"][..], &["--duration (-d): 3s is too short", "take 4s"][..]),
        (&["-R", "1:9"], &["--rate (-R) 1:9 does not go with ab"]),
        (&["--metric", "p98"], &["--metric", "`p98` cannot be compared"]),
        (&["--min-effect", "1"], &["--min-effect", "`1` is not a share", "for example 1%"]),
        (&["--arrival", "poisson"], &["--arrival", "--rate (-R)"]),
        (&["-c", "2", "-t", "4"], &["--threads (-t) 4", "--connections (-c) 2"]),
    ] {
        refused(&[&ab, flags].concat(), says);
    }
    for (flags, says) in [
        (&["-d", "100ms"][..], &["--duration (-d): 100ms is too short"][..]),
        (&["--from", "9", "--to", "5"], &["--from 9 does not go with --to 5"]),
        (&["--from", "0"], &["--from", "`0` would never send a request"]),
        (&["--to", "x"], &["--to", "`x` is not a rate"]),
    ] {
        refused(&[&find, flags].concat(), says);
    }
    for (slo, says) in
        [("p99<10", "`10` has no unit"), ("rps>5", "--from and --to"), ("p99<1s,", "empty condition")]
    {
        refused(&["find", "http://127.0.0.1:1/", "--slo", slo], &["--slo", says]);
    }
    refused(&["ab", "http://127.0.0.1:1/"], &["URL_B"]);
    refused(&["find", "http://127.0.0.1:1/"], &["--slo"]);
    refused(&["compare", "a.json"], &["NEW"]);
    refused(&["compare", "--base", "a.json"], &["--new"]);
}

#[test]
fn the_help_gates_latency_and_success_together() {
    for words in [&["--help"][..], &["run", "--help"]] {
        let help = String::from_utf8(run(words).stdout).expect("UTF-8");
        let examples = help.split("Examples:").nth(1).expect("there are examples");
        let count = |what: &str| examples.matches(what).count();
        assert!(count("--threshold 'p99<") > 0, "{examples}");
        assert_eq!(count("--threshold 'p99<"), count("--threshold 'success>"), "{examples}");
    }
}

#[test]
fn the_help_says_what_a_time_without_a_unit_is() {
    for command in ["run", "find", "ab", "serve", "targets"] {
        let help = String::from_utf8(run(&[command, "--help"]).stdout).expect("UTF-8");
        let words: Vec<&str> = help.split_whitespace().collect();
        assert!(words.join(" ").contains("without a unit, seconds."), "{help}");
    }
}

#[test]
fn the_help_puts_thresholds_in_quotes() {
    for words in [&["--help"][..], &["run", "--help"]] {
        let help = String::from_utf8(run(words).stdout).expect("UTF-8");
        for (at, sign) in help.match_indices(['<', '>']) {
            let before = help[..at].trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '.');
            // The name of a metric comes before the sign, and a figure after it.
            let is_threshold = before.len() < at && help[at + 1..].starts_with(|c: char| c.is_ascii_digit());
            assert!(
                // In quotes, or further on in a list that is.
                !is_threshold || before.ends_with(['\'', ',', ':']),
                "a shell would take `{sign}` for itself: {help}"
            );
        }
    }
}

#[test]
fn what_the_system_refuses_is_told_with_its_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let taken = taken.local_addr().expect("bound").to_string();
    for (words, says) in [
        (&["serve", "-t", "1", "--addr", &taken][..], "; choose another port with --addr\n"),
        (&["serve", "-t", "1", "--addr", "127.0.0.1:0", "--cpus", "999"], "error: --cpus: "),
        (&["run", "http://127.0.0.1:1/", "-t", "1", "--cpus", "999"], "error: --cpus: "),
        // More than a set of cores holds (CPU_SET(3)).
        (&["run", "http://127.0.0.1:1/", "-t", "1", "--cpus", "1024"], "error: --cpus: "),
    ] {
        let output = run(words);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(says), "{words:?}: {stderr}");
    }
}

#[test]
fn a_body_comes_from_standard_input() {
    let mut child = ringtide()
        .args(["run", "http://127.0.0.1:1/", "-b", "@-", "-H", "Content-Length: 4"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    child.stdin.take().expect("piped").write_all(b"abc").expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("does not match the body of 3 bytes"), "{stderr}");
}

#[test]
fn a_report_that_could_not_be_written_is_said_before_the_run() {
    let output = run(&["run", "http://127.0.0.1:1/", "-o", "/nonexistent/report.json"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.starts_with("error: cannot write /nonexistent/report.json"), "{stderr}");
}

#[test]
fn too_low_a_hard_limit_on_descriptors_is_said_before_the_run() {
    for (limit, flags, says) in [
        (
            64,
            "-c 1000 -t 1",
            &["1000 connections and 1 thread need 1056 open files", "at most 8 connections"][..],
        ),
        // The threads alone need this many.
        (4096, "-c 1000 -t 1000", &["1000 connections and 1000 threads", "use at most 127 threads (-t)"]),
    ] {
        let output = Command::new("sh")
            .args(["-c", &format!("ulimit -n {limit}; exec \"$0\" run http://127.0.0.1:1/ {flags}")])
            .arg(env!("CARGO_BIN_EXE_ringtide"))
            .output()
            .expect("sh starts");
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8_lossy(&output.stderr);
        for piece in [&[&*format!("the hard limit is {limit}"), "ulimit -Hn"], says].concat() {
            assert!(stderr.contains(piece), "no `{piece}`: {stderr}");
        }
    }
}
