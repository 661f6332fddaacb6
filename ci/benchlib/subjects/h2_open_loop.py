"""How much an open loop over HTTP/2 adds to the latency that it reports."""

from .. import servers, tools
from ..session import Bar, Case, Results, Subject, measure as measure_cases

INTENT = """
A constant rate of 20,000/s over 10 connections with up to 100 streams each to the bare HTTP/2 server. It answers within
microseconds, so nearly all of the latency that a tool reports is the tool's own lateness. oha runs with
`--latency-correction`, to count from the scheduled send as ringtide always does.
"""
CONNECTIONS, STREAMS = 10, 100
RATE = 20_000
P50_RATIO_MAX = 0.5
# Those of HTTP/1.1.
LAG_P50_US_MAX, LAG_P99_US_MAX = 20, 200


def measure(settings):
    with servers.floor_http2(settings.server_core) as server:
        cases = [
            Case(tool.name, tool, server)
            for tool in (
                tools.ringtide_http2(settings.duration, CONNECTIONS, STREAMS, "-R", str(RATE)),
                tools.oha_http2(settings.tools, settings.duration, CONNECTIONS, STREAMS, "-q", str(RATE),
                                "--latency-correction"),
            )
        ]
        results = Results(measure_cases(settings, "h2-open-loop", cases))
    bars = [
        Bar("response p50 relative to oha", results.ratio("ringtide", "oha", "response_p50_us"), "≤", P50_RATIO_MAX),
        Bar("schedule lag p50", results.median("ringtide", "schedule_lag_p50_us"), "≤", LAG_P50_US_MAX, " µs"),
        Bar("schedule lag p99", results.median("ringtide", "schedule_lag_p99_us"), "≤", LAG_P99_US_MAX, " µs"),
    ]
    metrics = ["requests_per_second", "response_p50_us", "response_p99_us", "schedule_lag_p50_us", "schedule_lag_p99_us",
               "cpu_us_per_request", "generator_core_share", "server_core_share"]
    return Subject(results.records, bars, metrics), results
