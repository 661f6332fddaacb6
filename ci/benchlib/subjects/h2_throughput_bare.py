"""Requests per second over HTTP/2, many streams, against a server that is not the limit."""

from .. import servers, tools
from ..session import HTTP2_BUSY_RATIO, Case, Results, Subject, measure as measure_cases, rate_or_cpu_bars

INTENT = """
A closed loop over 10 connections with 100 streams each to the bare HTTP/2 server: it shows what a generator costs. The floor
is a bare io_uring loop that sends prepared frames and counts the ends of streams.
"""
CONNECTIONS, STREAMS = 10, 100
RATE_RATIO_MIN = 2.0


def measure(settings):
    with servers.floor_http2(settings.server_core) as server:
        cases = [Case(tool.name, tool, server) for tool in tools.closed_loops_http2(settings, CONNECTIONS, STREAMS)]
        results = Results(measure_cases(settings, "h2-throughput-bare", cases))
    bars = rate_or_cpu_bars(results, "ringtide", "h2load", RATE_RATIO_MIN, "server", busy_ratio=HTTP2_BUSY_RATIO)
    metrics = ["requests_per_second", "cpu_us_per_request", "user_us_per_request", "system_us_per_request",
               "generator_core_share", "server_core_share", "rss_peak_bytes"]
    return Subject(results.records, bars, metrics), results
