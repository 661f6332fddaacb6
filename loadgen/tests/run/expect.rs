//! `--expect`: which responses count as errors, and what the report says of them.

use serde_json::Value;

use crate::command::{number, report, run};
use crate::server::Server;
use crate::site::Site;

on_both_drivers!(
    a_response_that_is_as_expected_is_no_error,
    a_response_that_is_not_is_an_error_with_an_example,
    pipelined_responses_are_checked_one_by_one,
    an_error_enters_no_latency,
    checks_that_make_no_sense_are_refused,
);

/// The forms in which requests are sent.
const FORMS: [&[&str]; 4] = [&[], &["-p", "8"], &["--http2", "-p", "8"], &["-R", "5k"]];

fn counts(report: &Value) -> (u64, u64) {
    (number(&report["requests"]["completed"]), number(&report["errors"]["expect"]))
}

fn a_response_that_is_as_expected_is_no_error(driver: &str) {
    let site = Site::start();
    for (path, checks) in [
        ("", "status=200,body=hello world\n,size=12"),
        ("status/404", "status=404|410,header:content-type~^text/plain"),
        ("stream/3", "status=2xx,body~(?s)^(hello world\n){3}$,size<37"),
        ("bytes/300000", "size=300000,body~^0123456789abc"),
        ("headers", "body*=ringtide/"),
    ] {
        let url = format!("{}{path}", site.url());
        for form in FORMS {
            let mut flags = vec!["-n", "40", "-c", "2", "--expect", checks];
            flags.extend(form);
            assert_eq!(counts(&report(driver, &url, &flags)), (40, 0), "{path} {checks} {form:?}");
        }
    }
}

fn a_response_that_is_not_is_an_error_with_an_example(driver: &str) {
    let site = Site::start();
    for (path, checks, example) in [
        ("", "status=3xx", "expected status=3xx: the status was 200"),
        ("status/503", "body~503,status=200", "expected status=200: the status was 503"),
        ("", "header:set-cookie", "expected header:set-cookie: there was no field `set-cookie`"),
        (
            "",
            "header:content-type=text/html",
            "expected header:content-type=text/html: no field `content-type` was so",
        ),
        ("", "body~^world", "expected body~^world: the body of 12 bytes was not so"),
        ("", "status=200,size>=1KiB", "expected size>=1KiB: the body had 12 bytes"),
        ("status/204", "body~.", "expected body~.: the body of 0 bytes was not so"),
    ] {
        let url = format!("{}{path}", site.url());
        for form in FORMS {
            let mut flags = vec!["-n", "40", "-c", "2", "--expect", checks];
            flags.extend(form);
            let report = report(driver, &url, &flags);
            assert_eq!(counts(&report), (0, 40), "{path} {checks} {form:?}");
            assert_eq!(report["error_examples"]["expect"], example, "{form:?}");
        }
    }
    let url = site.url();
    let flags = ["-n", "5", "--expect", "status=404", "--max-errors", "1"];
    assert_eq!(run(driver, &url, &flags).code, Some(3));
    let text = run(driver, &url, &["-n", "5", "--expect", "status=404"]);
    assert!(text.stdout.contains("expect     5   response is not as expected"), "{text:?}");
    assert!(text.stdout.contains("first: expected status=404: the status was 200"), "{text:?}");
}

fn pipelined_responses_are_checked_one_by_one(driver: &str) {
    let server = Server::start(|peer| {
        let mut count = 0;
        while peer.request().is_some() {
            count += 1;
            let body = if count % 4 == 0 { "bad!" } else { "good" };
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{body}").as_bytes());
        }
    });
    let flags = ["-n", "80", "-c", "1", "-p", "8", "--expect", "body=good"];
    let report = report(driver, &server.url(), &flags);
    assert_eq!(counts(&report), (60, 20), "{report}");
    server.finish();
}

fn an_error_enters_no_latency(driver: &str) {
    let server = Server::start(|peer| {
        let mut count = 0;
        while peer.request().is_some() {
            count += 1;
            peer.send(format!("HTTP/1.1 {} X\r\nContent-Length: 0\r\n\r\n", 200 + count % 2).as_bytes());
        }
    });
    let report = report(driver, &server.url(), &["-n", "50", "-c", "1", "--expect", "status=200"]);
    assert_eq!(counts(&report), (25, 25), "{report}");
    let latency = &report["latency_us"]["response"];
    assert_eq!((number(&latency["count"]), number(&latency["censored"])), (25, 0), "{report}");
    // They were sent all the same, on the one connection.
    assert_eq!(number(&report["requests"]["sent"]), 50, "{report}");
    assert_eq!(number(&report["connections_opened"]), 0, "{report}");
    server.finish();
}

fn checks_that_make_no_sense_are_refused(driver: &str) {
    for (checks, says) in [
        ("status=20", "`20`, which is no status"),
        ("stauts=200", "is not a check; there are status=200"),
        ("body~(", "unclosed group"),
    ] {
        let refused = run(driver, "http://127.0.0.1:1/", &["--expect", checks]);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains("--expect") && refused.stderr.contains(says), "{refused:?}");
    }
}
