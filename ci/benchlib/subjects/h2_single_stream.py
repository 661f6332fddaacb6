"""CPU per request over HTTP/2 with one request in flight on each connection."""

from .. import servers, tools
from ..session import Bar, Case, Results, Subject, measure as measure_cases

INTENT = """
A closed loop over 64 connections with one stream each, to the bare HTTP/2 server and to nghttpd with one worker. Each request
is a send and a receive of its own, so that most of the cost is the kernel's. The floor is a bare io_uring loop.
"""
CONNECTIONS, STREAMS = 64, 1
CPU_RATIO_MAX = 0.75


def measure(settings):
    with (
        servers.floor_http2(settings.server_core) as bare,
        servers.nghttpd(settings.tools, settings.server_core) as nghttpd,
    ):
        named = {"bare server": bare, "nghttpd": nghttpd}
        cases = [
            Case(f"{tool.name}, {name}", tool, server)
            for name, server in named.items()
            for tool in tools.closed_loops_http2(settings, CONNECTIONS, STREAMS)
        ]
        results = Results(measure_cases(settings, "h2-single-stream", cases))
    bars = [
        Bar(f"CPU per request relative to h2load, {name}",
            results.ratio(f"ringtide, {name}", f"h2load, {name}", "cpu_us_per_request"), "≤", CPU_RATIO_MAX)
        for name in named
    ]
    metrics = ["requests_per_second", "cpu_us_per_request", "user_us_per_request", "system_us_per_request",
               "generator_core_share", "server_core_share"]
    return Subject(results.records, bars, metrics), results
