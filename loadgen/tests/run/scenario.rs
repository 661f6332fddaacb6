//! `--scenario`: what users send, and what the report says of it. The scenarios of the guide run as they stand there.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::command::{Ended, begin_bare, begin_command, float, number};
use crate::files::Directory;
use crate::server::{HELLO, Server};
use crate::site::Site;

on_both_drivers!(
    the_scenarios_of_the_guide_run,
    what_was_captured_is_sent,
    a_failed_step_gives_up_the_walk,
    rows_are_taken_in_their_order_and_unique_ones_once,
    thinking_is_in_no_latency_and_keeps_no_rate,
    redirects_are_requests_of_their_own,
    headers_of_the_flags_go_with_each_step,
    a_step_that_is_cut_off_counts_under_its_name,
    a_drain_waits_for_a_step_and_takes_no_further_one,
    a_fault_is_named_with_its_line,
);

fn run(driver: &str, file: &str, flags: &[&str]) -> Ended {
    let words = ["--scenario", file, "--format", "json"].into_iter().chain(flags.iter().copied());
    begin_bare(driver, &words.collect::<Vec<_>>()).wait()
}

fn completed(report: &Value, name: &str) -> u64 {
    number(&report["steps"][name]["requests"]["completed"])
}

/// A server that answers `answer` to each request, and tells what it got.
fn server(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> (Server, Receiver<String>) {
    let (sender, seen) = channel();
    let server = Server::start(move |peer| {
        while let Some(request) = peer.request() {
            let body = String::from_utf8(request.body).expect("text");
            let _ = sender.send(format!("{}{body}", request.head));
            peer.send(&answer(&request.head));
        }
    });
    (server, seen)
}

fn the_scenarios_of_the_guide_run(driver: &str) {
    let site = Site::start();
    let url = site.url();
    for (name, steps) in [
        ("login", &["login", "home", "article"][..]),
        ("mix", &["read", "search", "write"]),
        ("orders", &["order"]),
        ("session", &["enter", "account", "leave", "leave redirect"]),
        ("checkout", &["item", "cart", "pay", "receipt"]),
    ] {
        let file = format!("{}/guide/scenarios/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        for form in [&[][..], &["-p", "4"], &["--http2", "-p", "8"], &["-R", "2k"], &["--no-keepalive"]] {
            let mut flags = vec![&*url, "-n", "300", "-c", "4", "--seed", "1"];
            flags.extend(form);
            let report = run(driver, &file, &flags).report(0);
            assert_eq!(number(&report["requests"]["completed"]), 300, "{name} {form:?}: {report}");
            let of_each: Vec<u64> = steps.iter().map(|step| completed(&report, step)).collect();
            assert_eq!(of_each.iter().sum::<u64>(), 300, "{name} {form:?}: {report}");
            assert!(of_each.iter().all(|count| *count > 0), "{name} {form:?}: {of_each:?}");
        }
    }
}

fn what_was_captured_is_sent(driver: &str) {
    let (server, seen) = server(|head| {
        let count = head.split(['/', ' ']).nth(2).and_then(|name| name.strip_prefix("start")).unwrap_or("0");
        let body = format!("{{\"a\": [{{\"id\": \"j{count}\"}}], \"token\": \"t-{count}\"}}");
        let fields =
            format!("X-Id: h{count}\r\nSet-Cookie: sid=c{count}; Path=/\r\nContent-Length: {}", body.len());
        format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{body}").into()
    });
    let files = Directory::new();
    let file = files.write(
        "scenario.toml",
        &format!(
            r#"
url = "{}"
cookies = true
[variables]
n = {{ sequence = 7 }}
secret = "${{SCENARIO_SECRET}}"
[[step]]
name = "first"
path = "/start${{n}}"
capture = {{ field = {{ header = "x-id" }}, item = {{ json = "/a/0/id" }}, token = {{ regex = 't-(\d+)' }} }}
[[step]]
name = "second"
method = "POST"
path = "/${{field}}/${{item}}?a b=${{n}}"
headers = {{ X-Secret = "${{secret}}" }}
body = "$${{token}}=${{token}}"
"#,
            server.url()
        )
        // A space belongs in a value only.
        .replace("a b=", "ab="),
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringtide"));
    let words = ["--scenario", &file, "--format", "json", "-n", "40", "-c", "3", "-t", "1"];
    command.args(["run", "--driver", driver]).args(words).env("SCENARIO_SECRET", "hush");
    let report = begin_command(command).wait().report(0);
    assert_eq!((completed(&report, "first") + completed(&report, "second")), 40, "{report}");
    server.finish();
    let mut walks = BTreeSet::new();
    for request in seen.try_iter().filter(|request| request.starts_with("POST ")) {
        let n = request.split("ab=").nth(1).and_then(|rest| rest.split(' ').next()).expect("a number");
        assert!(request.starts_with(&format!("POST /h{n}/j{n}?ab={n} HTTP/1.1\r\n")), "{request}");
        assert!(request.contains("\r\nX-Secret: hush\r\n"), "{request}");
        assert!(request.contains(&format!("\r\nCookie: sid=c{n}\r\n")), "{request}");
        assert!(request.ends_with(&format!("\r\n\r\n${{token}}={n}")), "{request}");
        let size = format!("\r\nContent-Length: {}\r\n", 9 + n.len());
        assert!(request.contains(&size), "{request}");
        assert!(walks.insert(n.to_owned()), "{n} was used twice");
    }
    assert_eq!(walks.len() as u64, completed(&report, "second"));
}

fn a_failed_step_gives_up_the_walk(driver: &str) {
    let (server, _seen) = server(|_| HELLO.to_vec());
    let files = Directory::new();
    let scenario = |rule: &str| {
        let text = format!(
            "url = \"{}\"\n[[step]]\nname = \"one\"\npath = \"/\"\n{rule}\n[[step]]\nname = \"two\"\npath = \"/\"\n",
            server.url()
        );
        files.write("scenario.toml", &text)
    };
    for (rule, says) in [
        ("expect = \"status=201\"", "expected status=201: the status was 200"),
        (
            "capture = { id = { header = \"X-Id\" } }",
            "nothing to capture for `id`: there was no field `X-Id`",
        ),
        (
            "capture = { id = { json = \"/id\" } }",
            "nothing to capture for `id` at /id: the body was not JSON",
        ),
        ("capture = { id = { regex = \"x+\" } }", "nothing to capture for `id`: the body does not match x+"),
    ] {
        let report = run(driver, &scenario(rule), &["-n", "30", "-c", "2"]).report(0);
        assert_eq!(number(&report["steps"]["one"]["errors"]["expect"]), 30, "{rule}: {report}");
        assert_eq!(number(&report["steps"]["two"]["requests"]["scheduled"]), 0, "{rule}: {report}");
        assert_eq!(report["error_examples"]["expect"], says);
    }
    let fine = run(driver, &scenario("expect = \"status=200\""), &["-n", "30", "-c", "1"]).report(0);
    assert_eq!((completed(&fine, "one"), completed(&fine, "two")), (15, 15), "{fine}");
    server.finish();
}

fn rows_are_taken_in_their_order_and_unique_ones_once(driver: &str) {
    let (server, seen) = server(|_| HELLO.to_vec());
    let files = Directory::new();
    files.write("rows.csv", "id,name\n1,a\n2,b\n3,\"c d\"\n");
    files.write(
        "rows.jsonl",
        "{\"id\": 1, \"name\": \"a\"}\n{\"id\": 2, \"name\": \"b\"}\n{\"id\": 3, \"name\": \"c d\"}\n",
    );
    for data in ["csv = \"rows.csv\"", "jsonl = \"rows.jsonl\""] {
        for (order, flags) in [
            ("in order", &["-n", "7"][..]),
            ("unique", &["-d", "60s"]),
            ("unique", &["-d", "60s", "-R", "1k"]),
        ] {
            let text = format!(
                "url = \"{}\"\n[data.row]\n{data}\norder = \"{order}\"\n[[step]]\nname = \"get\"\npath = \"/${{row.id}}/${{row.name}}\"\n",
                server.url()
            );
            let file = files.write("scenario.toml", &text);
            let mut all = vec!["-c", "1", "-t", "1"];
            all.extend(flags);
            let report = run(driver, &file, &all).report(0);
            let targets: Vec<String> =
                seen.try_iter().map(|head| head.split(' ').nth(1).expect("a target").to_owned()).collect();
            let rows = ["/1/a", "/2/b", "/3/c%20d"];
            if order == "unique" {
                assert_eq!(targets, rows, "{report}");
                assert_eq!(report["ended_by"], "data", "{report}");
            } else {
                assert_eq!(targets, rows.iter().cycle().take(7).copied().collect::<Vec<_>>());
            }
        }
    }
    server.finish();
}

fn thinking_is_in_no_latency_and_keeps_no_rate(driver: &str) {
    let (server, _seen) = server(|_| HELLO.to_vec());
    let files = Directory::new();
    let text = format!(
        "url = \"{}\"\n[[step]]\nname = \"a\"\npath = \"/\"\nthink = \"150ms..160ms\"\n[[step]]\nname = \"b\"\npath = \"/\"\n",
        server.url()
    );
    let file = files.write("scenario.toml", &text);
    let closed = run(driver, &file, &["-c", "2", "-d", "900ms"]).report(0);
    // Two users, each with two requests every 150 ms or more.
    let count = number(&closed["requests"]["completed"]);
    assert!((6..=26).contains(&count), "{closed}");
    assert!(float(&closed["latency_us"]["response"]["p50"]) < 140_000.0, "{closed}");
    let open = run(driver, &file, &["-c", "20", "-d", "1s", "-R", "200"]).report(0);
    assert_eq!(number(&open["requests"]["scheduled"]), 200, "the rate is kept: {open}");
    assert!(completed(&open, "a") > completed(&open, "b"), "{open}");
    assert!(float(&open["latency_us"]["response"]["p50"]) < 140_000.0, "{open}");
    server.finish();
}

fn redirects_are_requests_of_their_own(driver: &str) {
    let (server, seen) = server(|head| {
        let to = |status: &str, location: &str| {
            format!("HTTP/1.1 {status} X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n").into_bytes()
        };
        match head.split(' ').nth(1) {
            Some("/303") => to("303", "/second"),
            Some("/307") => to("307", "/second"),
            Some("/second") => to("302", "/last?x=1"),
            Some("/away") => to("302", "http://elsewhere.example/"),
            _ => HELLO.to_vec(),
        }
    });
    let files = Directory::new();
    for (path, redirects, flags, expected) in [
        ("303", 2, &["-n", "3"][..], &["POST /303", "GET /second", "GET /last?x=1"][..]),
        ("307", 2, &["-n", "3"], &["POST /307", "POST /second", "GET /last?x=1"]),
        ("303", 1, &["-n", "2"], &["POST /303", "GET /second"]),
        ("303", 0, &["-n", "1"], &["POST /303"]),
        ("away", 5, &["-n", "1"], &["POST /away"]),
    ] {
        let text = format!(
            "url = \"{}\"\n[[step]]\nname = \"go\"\nmethod = \"POST\"\npath = \"/{path}\"\nbody = \"b\"\nredirects = {redirects}\n\
             headers = {{ Content-Type = \"text/plain\" }}\nexpect = \"status=2xx|3xx\"\n",
            server.url()
        );
        let file = files.write("scenario.toml", &text);
        let mut all = vec!["-c", "1"];
        all.extend(flags);
        let report = run(driver, &file, &all).report(0);
        let requests: Vec<String> = seen.try_iter().collect();
        let lines: Vec<_> =
            requests.iter().map(|request| request.split(" HTTP/").next().expect("a line")).collect();
        assert_eq!(lines, expected);
        for request in requests.iter().filter(|request| request.starts_with("GET")) {
            assert!(
                !request.to_ascii_lowercase().contains("content-") && request.ends_with("\r\n\r\n"),
                "{request}"
            );
        }
        assert_eq!(completed(&report, "go"), 1, "{report}");
        if expected.len() > 1 {
            assert_eq!(completed(&report, "go redirect"), expected.len() as u64 - 1, "{report}");
        }
    }
    server.finish();
}

fn headers_of_the_flags_go_with_each_step(driver: &str) {
    let (server, seen) = server(|_| HELLO.to_vec());
    let files = Directory::new();
    let text = "[[step]]\nname = \"a\"\npath = \"/\"\n[[step]]\nname = \"b\"\npath = \"/\"\nheaders = { x-one = \"own\" }\n";
    let file = files.write("scenario.toml", text);
    run(driver, &file, &[&server.url(), "-n", "2", "-c", "1", "-H", "X-One: flag"]).report(0);
    let fields: Vec<Vec<String>> = seen
        .try_iter()
        .map(|head| {
            head.lines().filter(|line| line.to_lowercase().starts_with("x-one")).map(str::to_owned).collect()
        })
        .collect();
    assert_eq!(fields, [["X-One: flag"], ["x-one: own"]]);
    server.finish();
}

fn a_step_that_is_cut_off_counts_under_its_name(driver: &str) {
    let server = Server::start(|peer| {
        while let Some(request) = peer.request() {
            if request.head.starts_with("GET /hang") {
                return peer.wait_for_end();
            }
            peer.send(HELLO);
        }
    });
    let files = Directory::new();
    let text = format!(
        "url = \"{}\"\n[[step]]\nname = \"fine\"\npath = \"/\"\n[[step]]\nname = \"hangs\"\npath = \"/hang\"\n",
        server.url()
    );
    let file = files.write("scenario.toml", &text);
    let report = run(driver, &file, &["-c", "3", "-d", "300ms"]).report(0);
    assert_eq!(
        (completed(&report, "fine"), number(&report["steps"]["hangs"]["requests"]["censored"])),
        (3, 3),
        "{report}"
    );
    let late = run(driver, &file, &["-c", "3", "-d", "500ms", "--timeout", "100ms"]).report(0);
    assert!(number(&late["steps"]["hangs"]["errors"]["timeout"]) >= 3, "{late}");
    assert!(completed(&late, "fine") > 3, "a user begins anew after a failure: {late}");
    server.finish();
}

fn a_drain_waits_for_a_step_and_takes_no_further_one(driver: &str) {
    let (server, seen) = server(|_| {
        thread::sleep(Duration::from_secs(1));
        HELLO.to_vec()
    });
    let files = Directory::new();
    let text = format!(
        "url = \"{}\"\n[[step]]\nname = \"first\"\npath = \"/1\"\n[[step]]\nname = \"second\"\npath = \"/2\"\n",
        server.url()
    );
    let file = files.write("scenario.toml", &text);
    let report = run(driver, &file, &["-c", "3", "-d", "100ms", "--drain", "20s"]).report(0);
    server.finish();
    assert_eq!(completed(&report, "first"), 3, "{report}");
    assert_eq!(number(&report["drain"]["completed"]), 3, "{report}");
    assert_eq!(number(&report["requests"]["scheduled"]), 3, "{report}");
    assert_eq!(number(&report["steps"]["second"]["requests"]["scheduled"]), 0, "{report}");
    let paths: Vec<_> = seen.iter().map(|head| head.starts_with("GET /1 ")).collect();
    assert_eq!(paths, [true; 3]);
}

fn a_fault_is_named_with_its_line(driver: &str) {
    let files = Directory::new();
    files.write("bad.csv", "id,name\n1,a\n2\n");
    files.write("good.csv", "id\n1\n");
    let step = "[[step]]\nname = \"a\"\npath = \"/\"\n";
    for (text, line, says) in [
        ("", 1, "there is no step"),
        ("[[step]]\nname = \"a\"\n", 1, "missing field `path`"),
        ("[[step]]\nname = \"a\"\npath = \"/\"\nbdy = \"x\"\n", 4, "unknown field `bdy`"),
        ("[[step]\n", 1, ""),
        (
            "[[step]]\nname = \"a\"\npath = \"/${idd}\"\n[variables]\nid = 1\n",
            3,
            "unknown variable `idd`: it is not in [variables], no column of [data] and not captured; known: id",
        ),
        (
            "[[step]]\nname = \"a\"\npath = \"/${NOT_SET_ANYWHERE}\"\n",
            3,
            "`NOT_SET_ANYWHERE` is not set in the environment",
        ),
        ("[[step]]\nname = \"a\"\npath = \"/${id\"\n", 3, "lacks its closing `}`"),
        ("[[step]]\nname = \"a\"\npath = \"a\"\n", 3, "does not begin with `/`"),
        ("[[step]]\nname = \"a\"\npath = \"/\"\nmethod = \"G T\"\n", 4, "`G T` is not an HTTP method"),
        ("[[step]]\nname = \"a\"\npath = \"/\"\nexpect = \"status=1\"\n", 4, "`1`, which is no status"),
        ("[[step]]\nname = \"a\"\npath = \"/\"\nthink = \"2s..1s\"\n", 4, "ends before it begins"),
        ("[[step]]\nname = \"a\"\npath = \"/\"\ncapture = { x = { json = \"id\" } }\n", 4, "no JSON pointer"),
        (
            "[[step]]\nname = \"a\"\npath = \"/\"\ncapture = { x = { regex = \"(\" } }\n",
            4,
            "no regular expression",
        ),
        (
            "[[step]]\nname = \"a\"\npath = \"/${x}\"\ncapture = { x = { json = \"/x\" } }\n",
            3,
            "captured by step `a`, which does not come before `a`",
        ),
        (&format!("{step}{step}"), 5, "another step is named `a`"),
        (&format!("{step}[[user]]\nsteps = [\"a\",\n\"b\"]\n"), 6, "no step is named `b`; there are a"),
        (&format!("{step}[[user]]\nsteps = []\n"), 4, "the user has no steps"),
        (&format!("order = \"wild\"\n{step}"), 1, "`wild` is no order of steps"),
        (&format!("{step}[variables]\nn = {{ random = \"9..1\" }}\n"), 5, "`9..1` is no range"),
        (&format!("{step}[variables]\nn = {{ randm = \"1..9\" }}\n"), 5, "`n` needs a text"),
        (&format!("{step}[variables]\nN = 1\n"), 5, "`N` cannot be a name"),
        (&format!("{step}[data.d]\ncsv = \"none.csv\"\n"), 5, "there is no file"),
        (&format!("{step}[data.d]\ncsv = \"good.csv\"\norder = \"up\"\n"), 6, "`up` is no order of rows"),
        (&format!("{step}[data.d]\norder = \"random\"\n"), 4, "needs either csv"),
    ] {
        let file = files.write("scenario.toml", text);
        let refused = run(driver, &file, &["http://127.0.0.1:1/"]);
        refused_at(&refused, &format!("{file}:{line}: "), says);
    }
    let file = files.write("scenario.toml", &format!("{step}[data.d]\ncsv = \"bad.csv\"\n"));
    let uneven = run(driver, &file, &["http://127.0.0.1:1/"]);
    refused_at(&uneven, "bad.csv:3: ", "it has 1 value, but line 1 names 2 columns: id, name");
    let file = files.write("scenario.toml", step);
    refused_at(&run(driver, &file, &[]), &format!("{file}:1: "), "there is no URL to send to");
    for flags in [&["-m", "POST"][..], &["-b", "x"], &["--expect", "status=200"], &["--urls", "x"]] {
        let mut all = vec!["http://127.0.0.1:1/"];
        all.extend(flags);
        run(driver, &file, &all).refused_with_advice(2, &["--scenario does not go with", flags[0]]);
    }
    let threshold = run(driver, &file, &["http://127.0.0.1:1/", "--threshold", "b:p99<1s"]);
    threshold.refused_with_advice(2, &["no request is named `b`; there are a"]);
}

#[track_caller]
fn refused_at(ended: &Ended, place: &str, says: &str) {
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
    assert!(ended.stderr.contains(place), "it does not say {place}: {ended:?}");
    assert!(ended.stderr.contains(says), "it does not say {says}: {ended:?}");
}
