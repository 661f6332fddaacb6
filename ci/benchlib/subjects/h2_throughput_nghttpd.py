"""Requests per second and CPU per request over HTTP/2, many streams, against nghttpd."""

from .. import servers, tools
from ..session import Bar, Case, Results, Subject, measure as measure_cases

INTENT = """
A closed loop over 10 connections with 100 streams each to nghttpd with one worker, without TLS. Nearly always nghttpd is the
limit. The floor is a bare io_uring loop that sends prepared frames and counts the ends of streams.
"""
CONNECTIONS, STREAMS = 10, 100
CPU_RATIO_MAX = 0.40
RATE_RATIO_MIN = 0.95


def measure(settings):
    with servers.nghttpd(settings.tools, settings.server_core) as server:
        cases = [Case(tool.name, tool, server) for tool in tools.closed_loops_http2(settings, CONNECTIONS, STREAMS)]
        results = Results(measure_cases(settings, "h2-throughput-nghttpd", cases))
    cpu = results.ratio("ringtide", "h2load", "cpu_us_per_request")
    rate = results.ratio("ringtide", "h2load", "requests_per_second")
    bars = [
        Bar("CPU per request relative to h2load", cpu, "≤", CPU_RATIO_MAX),
        Bar("requests/s relative to h2load", rate, "≥", RATE_RATIO_MIN),
    ]
    metrics = ["requests_per_second", "cpu_us_per_request", "user_us_per_request", "system_us_per_request",
               "generator_core_share", "server_core_share", "rss_peak_bytes"]
    return Subject(results.records, bars, metrics), results
