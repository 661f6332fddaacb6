//! What was run, where, and what the generator cost: the rows that several results have side by side.

use super::decoded::Decoded;
use super::markup::Markup;
use super::table::{Cell, Head, Table, Tone};
use crate::report::text;
use crate::result::{LoopName, PlanSummary, RunResult};
use crate::units::{show_bytes, show_count, show_typed_time_ns, three_digits};

/// A fact, and its name.
type Fact = (&'static str, String);

/// The plans, the machines and the generators of `all`.
pub(super) fn write_facts(out: &mut Markup, all: &[Decoded<'_>]) {
    out.plain("h2", "Plan and environment");
    if all.len() > 1 {
        out.raw("<p>Rows in which the results differ are marked with ≠.</p>\n");
    }
    write_table(out, all, "Plan", plan);
    write_table(out, all, "Environment", environment);
    write_table(out, all, "What the generator cost", generator);
}

fn write_table(out: &mut Markup, all: &[Decoded<'_>], caption: &str, of: fn(&RunResult) -> Vec<Fact>) {
    let facts: Vec<Vec<Fact>> = all.iter().map(|one| of(one.result)).collect();
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in facts.iter().flatten() {
        if !names.contains(name) {
            names.push(name);
        }
    }
    let row = |name: &&str| {
        let values: Vec<Option<&str>> = facts.iter().map(|facts| value_of(facts, name)).collect();
        let differs = values.iter().any(|value| *value != values[0]);
        let mark = if differs { " ≠" } else { "" };
        let cell = |value: Option<&str>| Cell::of(value.unwrap_or("-")).toned(Tone::Different, differs);
        (format!("{name}{mark}"), values.iter().copied().map(cell).collect())
    };
    let rows = names.iter().map(row).collect();
    Table { caption, corner: "", heads: Head::results(all), rows, is_numeric: false }.write(out);
}

fn value_of<'f>(facts: &'f [Fact], name: &str) -> Option<&'f str> {
    facts.iter().find(|(own, _)| *own == name).map(|(_, value)| value.as_str())
}

fn plan(result: &RunResult) -> Vec<Fact> {
    let plan = &result.plan;
    let mut facts = vec![("request", format!("{} {}", plan.method, url(plan)))];
    if plan.body_bytes > 0 {
        facts.push(("body", show_bytes(plan.body_bytes as f64)));
    }
    facts.push(("load", load(plan)));
    let [fewest, most] = [plan.connections, plan.max_connections].map(|count| show_count(count as u64));
    let grows = plan.max_connections > plan.connections;
    let connections = if grows { format!("{fewest} to {most}") } else { fewest };
    facts.push(("connections", connections));
    facts.push(("in flight on each", show_count(plan.parallel as u64)));
    facts.push(("threads", show_count(plan.threads as u64)));
    if !plan.keepalive {
        facts.push(("keep-alive", "no: a connection per request".to_owned()));
    }
    facts.push(("HTTP", plan.http.clone()));
    let limits = [plan.duration_s.map(seconds), plan.requests.map(|count| text::plural(count, "request"))];
    facts.push(("limit", limits.into_iter().flatten().collect::<Vec<_>>().join(" or ")));
    facts.push(("measured", seconds(result.duration_s)));
    for (name, value_s) in [("warm-up", plan.warmup_s), ("drain", plan.drain_s)] {
        if value_s > 0.0 {
            facts.push((name, seconds(value_s)));
        }
    }
    facts.push((
        "timeouts",
        format!("{}, connect {}", seconds(plan.timeout_s), seconds(plan.connect_timeout_s)),
    ));
    facts.extend(plan.max_errors.clone().map(|max| ("max errors", max)));
    facts.extend(plan.proxy.clone().map(|proxy| ("proxy", proxy)));
    if !plan.resolve.is_empty() {
        facts.push(("resolve", plan.resolve.join(", ")));
    }
    if !plan.bind.is_empty() {
        let addresses: Vec<String> = plan.bind.iter().map(ToString::to_string).collect();
        facts.push(("source addresses", addresses.join(", ")));
    }
    if let Some(tls) = &plan.tls {
        facts.push(("certificate", if tls.insecure { "not checked" } else { "checked" }.to_owned()));
        facts.push(("session resumption", if tls.resumption { "on" } else { "off" }.to_owned()));
        let offered = [("TLS groups", &tls.groups), ("ciphers", &tls.ciphers), ("ALPN", &tls.alpn)];
        facts.extend(
            offered
                .into_iter()
                .filter(|(_, list)| !list.is_empty())
                .map(|(name, list)| (name, list.join(", "))),
        );
    }
    facts.extend(plan.h2_window.map(|window| ("HTTP/2 window", show_bytes(f64::from(window)))));
    facts.push(("seed", plan.seed.to_string()));
    facts
}

fn load(plan: &PlanSummary) -> String {
    match plan.mode {
        LoopName::Closed => "closed loop: each response triggers the next request".to_owned(),
        LoopName::Open => text::open_loop(plan).join(", "),
    }
}

fn environment(result: &RunResult) -> Vec<Fact> {
    let machine = &result.environment;
    let mut facts = vec![
        ("processor", machine.cpu.clone()),
        ("cores", machine.cores.to_string()),
        ("kernel", machine.kernel.clone()),
        ("driver", machine.driver.clone()),
    ];
    if !machine.driver_features.is_empty() {
        facts.push(("driver features", machine.driver_features.join(", ")));
    }
    facts.push(("ringtide", result.tool.version.clone()));
    facts.extend(started(result).map(|date| ("started", date)));
    if let Some(tls) = &result.tls {
        if let (Some(version), Some(cipher)) = (&tls.version, &tls.cipher) {
            facts.push(("TLS", format!("{version}, {cipher}")));
        }
        let (full, resumed) = (show_count(tls.handshakes_full), show_count(tls.handshakes_resumed));
        facts.push(("handshakes", format!("{full} full, {resumed} resumed")));
    }
    if let Some(http2) = &result.http2 {
        let codes = |counts: &std::collections::BTreeMap<String, u64>| {
            let codes = counts.iter().map(|(code, count)| format!("{} {code}", show_count(*count)));
            codes.collect::<Vec<_>>().join(", ")
        };
        for (name, counts) in [("streams reset", &http2.resets), ("GOAWAY", &http2.goaways)] {
            if !counts.is_empty() {
                facts.push((name, codes(counts)));
            }
        }
        if http2.replayed > 0 {
            facts.push(("sent again", show_count(http2.replayed)));
        }
    }
    facts
}

fn generator(result: &RunResult) -> Vec<Fact> {
    let generator = &result.generator;
    let us = |us: f64| format!("{} µs", three_digits(us));
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let mut facts = Vec::new();
    if let (Some(cpu), Some(user)) = (generator.cpu_us_per_request, generator.user_us_per_request) {
        facts.push(("CPU per request", format!("{}, {} of it in user space", us(cpu), us(user))));
    }
    facts.push(("CPU time used", percent(generator.cpu_utilisation)));
    facts.push(("of it spinning", percent(generator.spin_share)));
    facts.extend(generator.wakeup_us.map(|wakeup| ("one wake-up", us(wakeup))));
    facts.extend(
        generator.syscalls_per_request.map(|calls| ("system calls per request", three_digits(calls))),
    );
    let heap = [
        ("heap per request in flight", generator.heap_bytes_per_request),
        ("heap per connection", generator.heap_bytes_per_connection),
        ("peak memory", Some(generator.rss_peak_bytes)),
    ];
    facts.extend(heap.into_iter().filter_map(|(name, bytes)| Some((name, show_bytes(bytes? as f64)))));
    let connections = [result.connections_opened, result.connections_opened_before_start].map(show_count);
    facts.push((
        "connections opened",
        format!("{} while measuring, {} before", connections[0], connections[1]),
    ));
    let transfer = [result.bytes_received, result.bytes_sent].map(|bytes| show_bytes(bytes as f64));
    facts.push(("transfer", format!("{} received, {} sent", transfer[0], transfer[1])));
    facts
}

/// When the measured part began; `None` if the result does not tell.
pub(super) fn started(result: &RunResult) -> Option<String> {
    const DAY_S: u64 = 86_400;
    let unix_s = result.started_unix_s;
    // Until the year 9999.
    if !(1.0..253_402_300_800.0).contains(&unix_s) {
        return None;
    }
    let unix_s = unix_s as u64;
    let (year, month, day) = date_of(unix_s / DAY_S);
    let (hour, minute, second) = (unix_s % DAY_S / 3_600, unix_s % 3_600 / 60, unix_s % 60);
    Some(format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC"))
}

/// Year, month and day, so many days after 1970-01-01.
fn date_of(days: u64) -> (u64, u64, u64) {
    let (mut year, mut left) = (1970, days);
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if left < length {
            break;
        }
        left -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

/// The URL. A user and a password in it are refused before a run; should a result have them all the same, they do not
/// reach the page.
pub(super) fn url(plan: &PlanSummary) -> String {
    let url = &plan.url;
    let Some((scheme, rest)) = url.split_once("://") else { return url.clone() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.clone(),
    }
}

fn seconds(seconds: f64) -> String {
    show_typed_time_ns((seconds.max(0.0) * 1e3).round() as u64 * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (59, (1970, 3, 1)),
            (789, (1972, 2, 29)),
            (11_016, (2000, 2, 29)),
            (19_675, (2023, 11, 14)),
            (20_819, (2027, 1, 1)),
        ] {
            assert_eq!(date_of(days), date, "{days}");
        }
        let mut result = crate::result::tests::example();
        assert_eq!(started(&result).as_deref(), Some("2023-11-14 22:13:20 UTC"));
        result.started_unix_s = 0.0;
        assert_eq!(started(&result), None);
    }

    #[test]
    fn user_and_password_do_not_reach_the_page() {
        let mut plan = crate::result::tests::example().plan;
        for (typed, shown) in [
            ("http://u:p@h:1/a@b", "http://h:1/a@b"),
            ("http://u@p:x@h?@", "http://h?@"),
            ("http://h/@", "http://h/@"),
            ("h", "h"),
        ] {
            plan.url = typed.to_owned();
            assert_eq!(url(&plan), shown);
        }
    }
}
