"""Writes one subject's folder: README.md, environment.json, raw.jsonl."""

import json
import statistics

TITLES = {
    "requests_per_second": ("requests/s", 1, "{:,.0f}"),
    "bytes_per_second": ("MiB/s", 1 / 1024 / 1024, "{:,.1f}"),
    "cpu_us_per_request": ("CPU µs/request", 1, "{:.2f}"),
    "user_us_per_request": ("user µs", 1, "{:.2f}"),
    "system_us_per_request": ("system µs", 1, "{:.2f}"),
    "server_cpu_us_per_request": ("server CPU µs/request", 1, "{:.2f}"),
    "generator_core_share": ("generator's core, % used", 100, "{:.0f}"),
    "server_core_share": ("server's core, % used", 100, "{:.0f}"),
    "cpu_ms_per_gib": ("CPU ms/GiB", 1, "{:.0f}"),
    "server_cpu_ms_per_gib": ("server CPU ms/GiB", 1, "{:.0f}"),
    "handshakes_full": ("full handshakes", 1, "{:,.0f}"),
    "handshakes_resumed": ("resumed handshakes", 1, "{:,.0f}"),
    "rss_bytes": ("memory while all wait, MiB", 1 / 1024 / 1024, "{:.1f}"),
    "rss_peak_bytes": ("peak memory, MiB", 1 / 1024 / 1024, "{:.1f}"),
    "response_p50_us": ("response p50, µs", 1, "{:.1f}"),
    "response_p99_us": ("response p99, µs", 1, "{:.1f}"),
    "schedule_lag_p50_us": ("schedule lag p50, µs", 1, "{:.1f}"),
    "schedule_lag_p99_us": ("schedule lag p99, µs", 1, "{:.1f}"),
    "heap_bytes_per_request": ("heap bytes/request in flight", 1, "{:.0f}"),
    "heap_bytes_per_connection": ("heap bytes/connection", 1, "{:.0f}"),
    "arrival_p50_us": ("arrival off the grid p50, µs", 1, "{:.1f}"),
    "arrival_p90_us": ("p90", 1, "{:.1f}"),
    "arrival_p99_us": ("p99", 1, "{:.1f}"),
    "arrival_max_us": ("max", 1, "{:.1f}"),
    **{f"off_{name}_us": (f"{name.replace('_', '.')} off, µs", 1, "{:+,.1f}")
       for name in ("mean", "p50", "p75", "p90", "p95", "p99", "p99_9", "max")},
    "rss_first_bytes": ("memory after minute 1, MiB", 1 / 1024 / 1024, "{:.2f}"),
    "rss_last_bytes": ("memory at the end, MiB", 1 / 1024 / 1024, "{:.2f}"),
    "terminal_bytes": ("KiB to the terminal", 1 / 1024, "{:.0f}"),
    "tries": ("tries", 1, "{:.0f}"),
    "difference": ("difference, %", 100, "{:+.2f}"),
    "detectable": ("would be found, %", 100, "{:.2f}"),
    "busy_share": ("busiest worker, % of its core", 100, "{:.0f}"),
    "run_queue_share": ("waiting for its core, %", 100, "{:.1f}"),
    "steal_share": ("stolen, %", 100, "{:.2f}"),
    "pairs": ("valid pairs", 1, "{:.0f}"),
    "excluded": ("pairs not valid", 1, "{:.0f}"),
}


def write(folder, name, intent, settings, environment, subject, results):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "environment.json").write_text(json.dumps(environment, indent=2, ensure_ascii=False) + "\n")
    with open(folder / "raw.jsonl", "w") as raw:
        for record in subject.records:
            raw.write(json.dumps(record, ensure_ascii=False) + "\n")
    (folder / "README.md").write_text(summary(name, intent, settings, environment, subject, results))


def summary(name, intent, settings, environment, subject, results):
    lines = [f"# {name}", "", intent.strip(), ""]
    if settings.smoke:
        lines += ["**A smoke run: it shows that every piece works. Its figures mean nothing.**", ""]
    lines += [
        f"{environment['cpu']}, {environment['cores']} cores, Linux {environment['kernel']}; "
        f"commit {environment['commit'][:12]}{' with uncommitted changes' if environment['uncommitted_changes'] else ''}. "
        f"Generator on core {environment['generator_core']}, server on core {environment['server_core']}; "
        f"{subject.how or f'interleaved rounds of {settings.duration:g} s, {settings.rounds} counted'}; "
        "medians, with minimum and maximum in brackets.",
        "",
        "| | " + " | ".join(TITLES[metric][0] for metric in subject.metrics) + " |",
        "|---|" + "---|" * len(subject.metrics),
    ]
    for case in results.cases():
        lines.append(f"| {case} | " + " | ".join(cell(results, case, metric) for metric in subject.metrics) + " |")
    lines += ["", "| bar | measured | limit | met |", "|---|---|---|---|"]
    for bar in subject.bars:
        met = "not judged" if settings.smoke else "yes" if bar.met else "**no**"
        lines.append(f"| {bar.what} | {figure(bar.measured)}{bar.unit} | {bar.relation} {bar.limit:g}{bar.unit} | {met} |")
    disturbed = sorted({record["round"] for record in results.counted if record["disturbed"]})
    if disturbed and subject.how is None:
        lines += ["", f"Rounds {disturbed} lost more than 1 % of their time to other guests of the host. They count, "
                      "because no repeat was left."]
    lines += ["", "A ratio is the median of the ratios within each round. raw.jsonl has every run with its command, also "
                  "of discarded and repeated rounds.", ""]
    return "\n".join(lines)


def cell(results, case, metric):
    values = [r[metric] for r in results.counted if r["case"] == case and r.get(metric) is not None]
    if not values:
        return "–"
    _, scale, form = TITLES[metric]
    median, least, greatest = (form.format(value * scale) for value in (statistics.median(values), min(values), max(values)))
    return f"{median} [{least}, {greatest}]"


def figure(value):
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"
