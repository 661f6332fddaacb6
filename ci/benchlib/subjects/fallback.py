"""The fallback driver against wrk, which also uses epoll."""

from .. import servers, tools
from ..session import Bar, Case, Results, Subject, measure as measure_cases

INTENT = "The closed loop of `throughput` on the fallback driver (epoll). wrk uses epoll as well."
CONNECTIONS = 64


def measure(settings):
    with servers.floor(settings.server_core) as server:
        cases = [
            Case(tool.name, tool, server)
            for tool in (
                tools.ringtide(settings.duration, CONNECTIONS, "--driver", "fallback", name="ringtide, fallback"),
                tools.wrk(settings.tools, settings.duration, CONNECTIONS),
            )
        ]
        results = Results(measure_cases(settings, "fallback", cases))
    ratio = results.ratio("ringtide, fallback", "wrk", "requests_per_second")
    bars = [Bar("requests/s relative to wrk", ratio, "≥", 0.95)]
    metrics = ["requests_per_second", "cpu_us_per_request", "user_us_per_request", "system_us_per_request",
               "rss_peak_bytes"]
    return Subject(results.records, bars, metrics), results
