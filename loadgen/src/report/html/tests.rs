//! Tests of whole pages.

use super::*;
use crate::hdr::Encoder;
use crate::result::tests::example;
use crate::result::{EndedBy, LoopName, RunResult, StageSummary, Step, Steps};
use crate::series::{Point, Series, compact_histogram};

fn page(results: &[(&str, &RunResult)]) -> String {
    let named: Vec<Named<'_>> = results.iter().map(|(name, result)| Named { name, result }).collect();
    render(&named).expect("readable")
}

/// The page as a parser of XML sees it; ours is written so that it is XML but for the elements that HTML leaves open.
fn parsed<T>(page: &str, look: impl FnOnce(&roxmltree::Document<'_>) -> T) -> T {
    let mut xml = page.replace("<!DOCTYPE html>", "").replace(" – ", " - ");
    let mut from = 0;
    while let Some(at) = xml[from..].find("<meta") {
        let end = from + at + xml[from + at..].find('>').expect("closed");
        xml.insert(end, '/');
        from = end + 1;
    }
    let document = roxmltree::Document::parse(&xml).unwrap_or_else(|error| panic!("{error}\n{xml}"));
    look(&document)
}

fn with_series(mut result: RunResult, seconds: usize) -> RunResult {
    let mut encoder = Encoder::new();
    let points = (0..seconds).map(|second| {
        let (mut times, mut censored) = (compact_histogram(), compact_histogram());
        for index in 1..=1_000_u64 {
            times.saturating_record(index * 1_000 + second as u64 % 7 * 50_000);
        }
        censored.saturating_record_n(30_000_000_000, u64::from(second % 3 == 0));
        Point {
            at_s: second as f64,
            duration_s: 1.0,
            completed: 1_000,
            failed: u64::from(second % 3 == 0),
            requests_per_second: 1_000.0,
            connections: 50,
            in_flight: 12,
            waiting: second as u64,
            histogram: encoder.text(&times).expect("not empty"),
            histogram_censored: encoder.text(&censored).unwrap_or_default(),
            ..Point::default()
        }
    });
    result.series = Some(Series { interval_s: 1.0, points: points.collect() });
    result.plan.stages =
        vec![StageSummary { duration_s: Some(seconds as f64), rate: 500.0, rate_end: 1_500.0 }];
    result
}

#[test]
fn every_section_is_there_under_a_heading() {
    let page = page(&[("a.json", &with_series(example(), 10))]);
    let headings = parsed(&page, |document| {
        let headings =
            document.descendants().filter(|node| ["h1", "h2", "h3"].contains(&node.tag_name().name()));
        headings.map(|node| node.text().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    });
    assert_eq!(
        headings,
        [
            "GET http://127.0.0.1:8081/",
            "Notes",
            "Latency",
            "Latency over time",
            "Throughput over time",
            "Connections and requests in flight",
            "Status codes and errors",
            "Phases",
            "Plan and environment",
        ]
    );
    for piece in [
        "asked for",
        "p99&lt;10ms",
        "✗ missed",
        "first: the connection failed: No route to host",
        "503",
        "≥ 30.0 s",
    ] {
        assert!(page.contains(piece), "`{piece}`");
    }
}

#[test]
fn plots_have_labels_and_tables_captions_and_headings() {
    let result = with_series(example(), 130);
    let page = page(&[("a.json", &result), ("b.json", &result)]);
    parsed(&page, |document| {
        let elements = |tag: &'static str| document.descendants().filter(move |node| node.has_tag_name(tag));
        let mut plots = 0;
        for plot in elements("svg").filter(|node| node.attribute("aria-hidden").is_none()) {
            assert_eq!(plot.attribute("role"), Some("img"));
            assert!(plot.attribute("aria-label").is_some_and(|label| label.len() > 10));
            plots += 1;
        }
        assert_eq!(plots, 3 + 2 * 4);
        for table in elements("table") {
            assert!(table.children().any(|child| child.has_tag_name("caption")));
            let columns =
                |row: roxmltree::Node<'_, '_>| row.children().filter(roxmltree::Node::is_element).count();
            let mut rows = table.descendants().filter(|node| node.has_tag_name("tr")).map(columns);
            let first = rows.next().expect("there are rows");
            assert!(rows.all(|row| row == first), "even rows");
        }
    });
}

#[test]
fn the_page_loads_and_runs_nothing() {
    let page = page(&[("a.json", &with_series(example(), 10))]);
    parsed(&page, |document| {
        for node in document.descendants().filter(roxmltree::Node::is_element) {
            let name = node.tag_name().name();
            assert!(
                !["script", "link", "img", "iframe", "object", "a", "form", "image", "use"].contains(&name),
                "{name}"
            );
            for attribute in node.attributes() {
                let name = attribute.name();
                assert!(!name.starts_with("on") && !["style", "href", "src"].contains(&name), "{name}");
            }
        }
        let policies = document.descendants().filter_map(|node| node.attribute("content"));
        assert!(
            policies.into_iter().any(|policy| policy.starts_with("default-src 'none'; style-src 'sha256-"))
        );
    });
}

#[test]
fn what_comes_from_outside_stays_text() {
    const EVIL: &str = "<script>alert(1)</script>\" onload='x'&amp;</style>";
    let mut result = with_series(example(), 3);
    result.plan.url = format!("http://user:s3cret@h/{EVIL}");
    result.plan.method = EVIL.to_owned();
    result.plan.http = EVIL.to_owned();
    result.plan.proxy = Some(format!("http://p/{EVIL}"));
    result.plan.resolve = vec![EVIL.to_owned()];
    result.environment.cpu = EVIL.to_owned();
    result.environment.kernel = EVIL.to_owned();
    result.environment.driver = EVIL.to_owned();
    result.tool.version = EVIL.to_owned();
    result.notes = vec![EVIL.to_owned()];
    result.verdict.reasons = vec![EVIL.to_owned()];
    result.thresholds[0].expression = EVIL.to_owned();
    result.status.insert(EVIL.to_owned(), 3);
    result.error_examples.insert("reset".to_owned(), EVIL.to_owned());
    let step = Step {
        requests: result.requests,
        latency_us: result.latency_us.clone(),
        errors: result.errors,
        succeeded: 1,
        histograms: result.histograms.clone(),
    };
    result.steps = Some(Steps(vec![(EVIL.to_owned(), step)]));
    for page in [page(&[(EVIL, &result)]), page(&[(EVIL, &result), (EVIL, &result)])] {
        assert!(!page.contains("<script") && !page.contains("s3cret"), "{page}");
        assert_eq!(page.matches("</style>").count(), 1);
        let found = parsed(&page, |document| {
            let texts =
                document.descendants().filter(roxmltree::Node::is_text).filter_map(|node| node.text());
            texts.filter(|text| text.contains("<script>alert(1)</script>")).count()
        });
        assert!(found >= 10, "{found}");
    }
}

#[test]
fn what_is_not_valid_comes_first() {
    let (mut good, mut bad) = (example(), example());
    (good.verdict.valid, good.verdict.reasons) = (Some(true), Vec::new());
    (bad.verdict.valid, bad.verdict.reasons) = (Some(false), vec!["it was starved".to_owned()]);
    bad.ended_by = EndedBy::MaxErrors;
    let one = page(&[("bad", &bad)]);
    let verdict = one.find("✗ Not valid").expect("it says so");
    assert!(verdict < one.find("Requests/s").expect("a figure") && one.contains("<li>it was starved</li>"));
    assert!(one.contains("Stopped early"));
    let both = page(&[("good", &good), ("bad", &bad)]);
    assert!(both.find("✗ Not valid") < both.find("✓ Valid"), "{both}");
}

#[test]
fn nothing_measured_is_said_and_not_drawn() {
    let mut result = example();
    for times in [&mut result.latency_us.response, &mut result.latency_us.service] {
        *times = crate::result::SummaryUs { count: 3, censored: 3, ..Default::default() };
    }
    result.requests = crate::result::Requests { scheduled: 0, sent: 0, completed: 0, failed: 0, censored: 0 };
    result.status.clear();
    result.plan.mode = LoopName::Closed;
    result.series =
        Some(Series { interval_s: 1.0, points: vec![Point { duration_s: 1.0, ..Point::default() }] });
    let page = page(&[("a", &result), ("b", &example())]);
    for piece in
        ["Nothing was answered, so there are no times.", "No request was due.", "does not hold the course"]
    {
        assert!(page.contains(piece), "`{piece}`");
    }
    result.histograms = crate::result::Histograms::default();
    let page = render(&[Named { name: "a", result: &result }]).expect("readable");
    assert!(page.contains("There is no curve") && !page.contains("NaN") && !page.contains("inf"), "{page}");
}

#[test]
fn the_size_has_a_bound_whatever_the_length() {
    let day = page(&[("day", &with_series(example(), 2_000))]);
    assert!(day.contains("each column stands for 20s."), "it says so");
    let minutes = page(&[("minutes", &with_series(example(), 120))]);
    assert!(!minutes.contains("each column stands for"));
    assert!(day.len() < 250_000 && minutes.len() < 250_000, "{} {}", day.len(), minutes.len());
}

#[test]
fn a_broken_histogram_is_named() {
    let mut result = example();
    result.histograms.service.censored = Some("?".to_owned());
    let error = render(&[Named { name: "a", result: &example() }, Named { name: "b", result: &result }]);
    let error = error.expect_err("broken");
    assert_eq!((error.index, error.field.as_str()), (1, "histograms.service.censored"));
    assert!(error.to_string().starts_with("histograms.service.censored: it is not base64"), "{error}");
}
