"""Requests per second and CPU per request on io_uring, against other generators and against the floor."""

from .. import servers, tools
from ..session import Bar, Case, Results, Subject, measure as measure_cases

INTENT = """
A closed loop over 64 connections to the bare server, which is never the bottleneck: it shows what a generator costs.
The floor is a bare io_uring loop that parses nothing.
"""
CONNECTIONS = 64


def measure(settings):
    with servers.floor(settings.server_core) as server:
        duration = settings.duration
        cases = [
            Case(tool.name, tool, server)
            for tool in (
                tools.ringtide(duration, CONNECTIONS, "--driver", "io_uring"),
                tools.wrk(settings.tools, duration, CONNECTIONS),
                tools.h2load(settings.tools, duration, CONNECTIONS),
                tools.oha(settings.tools, duration, CONNECTIONS),
                tools.floor(duration, CONNECTIONS),
            )
        ]
        results = Results(measure_cases(settings, "throughput", cases))
    bars = [
        Bar("requests/s relative to wrk", results.ratio("ringtide", "wrk", "requests_per_second"), "≥", 1.40),
        Bar("CPU per request relative to wrk", results.ratio("ringtide", "wrk", "cpu_us_per_request"), "≤", 0.80),
        Bar("CPU per request relative to the floor", results.ratio("ringtide", "floor", "cpu_us_per_request"), "≤", 1.10),
        Bar("user time per request", results.median("ringtide", "user_us_per_request"), "≤", 0.4, " µs"),
    ]
    metrics = ["requests_per_second", "cpu_us_per_request", "user_us_per_request", "system_us_per_request",
               "rss_peak_bytes"]
    return Subject(results.records, bars, metrics), results
