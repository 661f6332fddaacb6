"""One connection per request, against nginx."""

from .. import servers, tools
from ..session import Bar, Case, Results, Subject, measure as measure_cases

INTENT = "A new connection for every request, 64 at a time, against nginx with one worker."
CONNECTIONS = 64


def measure(settings):
    with servers.nginx(settings.tools, settings.server_core) as server:
        cases = [
            Case(tool.name, tool, server)
            for tool in (
                tools.ringtide(settings.duration, CONNECTIONS, "--no-keepalive"),
                tools.wrk(settings.tools, settings.duration, CONNECTIONS, "-H", "Connection: close"),
                tools.oha(settings.tools, settings.duration, CONNECTIONS, "--disable-keepalive"),
            )
        ]
        results = Results(measure_cases(settings, "new-connections", cases))
    ratio = results.ratio("ringtide", "wrk", "requests_per_second")
    bars = [Bar("connections/s relative to wrk", ratio, "≥", 1.5)]
    return Subject(results.records, bars, ["requests_per_second", "cpu_us_per_request", "rss_peak_bytes"]), results
