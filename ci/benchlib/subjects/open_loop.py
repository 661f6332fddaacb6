"""How much an open loop adds to the latency that it reports."""

from .. import servers, tools
from ..session import Bar, Case, Results, Subject, measure as measure_cases

INTENT = """
Constant rates over 64 connections to the bare server. It answers within microseconds, so nearly all of the latency that a
tool reports is the tool's own lateness. oha runs with `--latency-correction`, to count from the scheduled send as ringtide
always does.
"""
CONNECTIONS = 64
RATES = (1_000, 20_000)


def measure(settings):
    with servers.floor(settings.server_core) as server:
        cases = []
        for rate in RATES:
            for tool in (
                tools.ringtide(settings.duration, CONNECTIONS, "-R", str(rate)),
                tools.oha(settings.tools, settings.duration, CONNECTIONS, "-q", str(rate), "--latency-correction"),
            ):
                cases.append(Case(f"{tool.name}, {rate}/s", tool, server))
        results = Results(measure_cases(settings, "open-loop", cases))
    bars = []
    for rate in RATES:
        case = f"ringtide, {rate}/s"
        ratio = results.ratio(case, f"oha, {rate}/s", "response_p50_us")
        bars += [
            Bar(f"response p50 at {rate}/s relative to oha", ratio, "≤", 1.0),
            Bar(f"schedule lag p50 at {rate}/s", results.median(case, "schedule_lag_p50_us"), "≤", 20, " µs"),
            Bar(f"schedule lag p99 at {rate}/s", results.median(case, "schedule_lag_p99_us"), "≤", 200, " µs"),
        ]
    metrics = ["requests_per_second", "response_p50_us", "response_p99_us", "schedule_lag_p50_us", "schedule_lag_p99_us",
               "cpu_us_per_request"]
    return Subject(results.records, bars, metrics), results
