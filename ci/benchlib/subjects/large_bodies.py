"""Bytes per second with responses of 1 MiB."""

from .. import servers, tools
from ..session import Bar, Case, Results, Subject, measure as measure_cases

INTENT = "Responses of 1 MiB from `ringtide serve`, 4 connections."
CONNECTIONS = 4
PATH = "/bytes/1048576"


def measure(settings):
    with servers.ringtide(settings.server_core) as server:
        cases = [
            Case(tool.name, tool, server, PATH)
            for tool in (
                tools.ringtide(settings.duration, CONNECTIONS),
                tools.wrk(settings.tools, settings.duration, CONNECTIONS),
            )
        ]
        results = Results(measure_cases(settings, "large-bodies", cases))
    ratio = results.ratio("ringtide", "wrk", "bytes_per_second")
    bars = [Bar("bytes/s relative to wrk", ratio, "≥", 1.0)]
    return Subject(results.records, bars, ["bytes_per_second", "cpu_us_per_request", "rss_peak_bytes"]), results
