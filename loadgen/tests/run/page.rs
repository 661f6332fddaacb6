//! `run --html` and `ringtide report`: pages of runs that were really made.

use std::process::Command;

use crate::command::{Ended, begin_command, report, run};
use crate::files::Directory;
use crate::server::{HELLO, Server};

on_both_drivers!(
    a_run_writes_its_page,
    saved_results_make_a_page,
    merged_results_make_a_page_and_those_without_series_say_so,
    what_is_no_result_is_named,
);

fn path(folder: &Directory, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

fn read(folder: &Directory, name: &str) -> String {
    std::fs::read_to_string(folder.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn ringtide(words: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringtide"));
    command.args(words);
    begin_command(command).wait()
}

/// Saves the result of a run under `name`; returns its path.
fn save(driver: &str, folder: &Directory, name: &str, flags: &[&str]) -> String {
    let server = Server::answering(HELLO);
    let file = path(folder, name);
    let all = report(driver, &server.url(), flags);
    std::fs::write(&file, all.to_string()).expect("writable");
    server.finish();
    file
}

fn a_run_writes_its_page(driver: &str) {
    let folder = Directory::new();
    // Every tenth answer is a failure.
    let server = Server::start(|peer| {
        for index in 1.. {
            if peer.request().is_none() {
                return;
            }
            if index % 10 == 0 {
                return peer.send(b"no HTTP\r\n\r\n");
            }
            peer.send(HELLO);
        }
    });
    let file = path(&folder, "page.html");
    std::fs::write(&file, "an older page\n".repeat(100_000)).expect("writable");
    let url =
        format!("{}<script>alert(1)</script>?a='b'&c", server.url()).replace('<', "%3C").replace('>', "%3E");
    let flags = ["-R", "200", "-d", "1200ms", "-c", "2", "--html", &file, "--threshold", "p99<1ns"];
    let ended = run(driver, &url, &flags);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stdout.starts_with("GET "), "the report is where it was: {ended:?}");
    let page = read(&folder, "page.html");
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"), "{page}");
    for piece in [
        "Latency over time",
        "Throughput over time",
        "asked for",
        "✗ 1 of 1 threshold missed",
        "<th scope=\"row\">protocol</th>",
        "a=&#39;b&#39;&amp;c",
        "class=\"h",
    ] {
        assert!(page.contains(piece), "`{piece}` in {page}");
    }
    assert!(!page.contains("<script") && !page.contains("does not hold"), "{page}");
    server.finish();
}

fn saved_results_make_a_page(driver: &str) {
    let folder = Directory::new();
    let flags = ["-d", "300ms", "-c", "2"];
    let (a, b) = (save(driver, &folder, "a.json", &flags), save(driver, &folder, "b.json", &flags));
    let page = path(&folder, "page.html");
    let ended = ringtide(&["report", &a, "-o", &page]);
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(0), "", ""), "{ended:?}");
    let one = read(&folder, "page.html");
    assert!(one.contains("<h1>GET http://127.0.0.1:") && one.contains("Response p99"), "{one}");
    let ended = ringtide(&["report", &a, &b, &a, "-o", &page]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let three = read(&folder, "page.html");
    assert!(three.contains("<h1>3 load tests compared</h1>"), "{three}");
    // Two have the same name, so all have their paths.
    assert!(three.contains(&a) && three.contains(&b), "{three}");
    assert_eq!(three.matches("Heat map of the response times").count(), 3);
    // The same run has the same figures.
    assert!(three.contains("<small>+0.0 %</small>"), "{three}");
}

fn merged_results_make_a_page_and_those_without_series_say_so(driver: &str) {
    let folder = Directory::new();
    let flags = ["-d", "300ms", "-c", "2", "--seed", "1"];
    let a = save(driver, &folder, "a.json", &flags);
    let text = read(&folder, "a.json");
    let merged = path(&folder, "all.json");
    let ended = ringtide(&["merge", &a, &a, "--format", "json", "-o", &merged]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let page = path(&folder, "page.html");
    let ended = ringtide(&["report", &merged, "-o", &page]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    assert!(read(&folder, "page.html").contains("Heat map"));
    let mut without: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    without["series"] = serde_json::Value::Null;
    std::fs::write(&a, without.to_string()).expect("writable");
    let ended = ringtide(&["report", &a, "-o", &page]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains(&format!("{a} holds no `series`")), "{ended:?}");
    let page = read(&folder, "page.html");
    assert!(
        page.contains("does not hold the course of its run") && page.contains("Percentiles of"),
        "{page}"
    );
}

fn what_is_no_result_is_named(driver: &str) {
    let folder = Directory::new();
    let good = save(driver, &folder, "good.json", &["-n", "10", "-c", "1"]);
    let text = read(&folder, "good.json");
    let page = path(&folder, "page.html");
    std::fs::write(&page, "an older page").expect("writable");
    let mut broken: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    broken["series"]["points"][0]["histogram"] = "AAAA".into();
    for (content, says) in [
        ("no JSON".to_owned(), "is not JSON"),
        ("{}".to_owned(), "is no result; `ringtide run --format json -o FILE` writes one"),
        (r#"{"verdict":"slower","pairs":9,"metrics":{}}"#.to_owned(), "is a comparison by `ringtide ab`"),
        (r#"{"rate":5,"slo":"p99<1s","probes":[]}"#.to_owned(), "is a search by `ringtide find`"),
        (
            text.replacen("\"schema\":1", "\"schema\":7", 1),
            "is a result of format 7; this version reads format 1",
        ),
        (text.replacen("\"latency_us\"", "\"latency\"", 1), "is no whole result: missing field `latency_us`"),
        (broken.to_string(), "series.points[0].histogram: it is not a histogram"),
    ] {
        let file = path(&folder, "bad.json");
        std::fs::write(&file, content).expect("writable");
        ringtide(&["report", &good, &file, "-o", &page]).refused(2, &[&file, says]);
    }
    ringtide(&["report", "/nonexistent.json", "-o", &page])
        .refused(2, &["/nonexistent.json: cannot be read"]);
    for (words, says) in
        [(&["report", &good][..], "--output <FILE>"), (&["report", "-o", &page], "RESULT.json")]
    {
        let ended = ringtide(words);
        assert!(ended.code == Some(2) && ended.stderr.contains(says), "{ended:?}");
    }
    ringtide(&["report", &good, "-o", &good]).refused_with_advice(2, &["does not go with the result", &good]);
    ringtide(&["report", &good, "-o", "/nonexistent/page"]).refused(1, &["cannot write /nonexistent/page"]);
    let nine = [vec!["report"], vec![good.as_str(); 9], vec!["-o", &page]].concat();
    ringtide(&nine).refused_with_advice(2, &["there are 9 results, and a page shows up to 8"]);
    assert_eq!(read(&folder, "page.html"), "an older page");
}
