"""One connection per request, against a server that waits for the client's end before it accepts again."""

from .. import servers, tools
from ..session import Bar, Case, Results, Subject, measure as measure_cases

INTENT = """
A new connection for every request, 8 at a time, against a server with one thread. The server accepts the next connection
only when the client has closed the last one, so the rate shows how soon a client closes.
"""
CONNECTIONS = 8


def measure(settings):
    with servers.lingering(settings.server_core) as server:
        cases = [
            Case(tool.name, tool, server)
            for tool in (
                tools.ringtide(settings.duration, CONNECTIONS, "--no-keepalive", "--driver", "io_uring"),
                tools.ringtide(settings.duration, CONNECTIONS, "--no-keepalive", "--driver", "fallback",
                               name="ringtide, fallback"),
                tools.wrk(settings.tools, settings.duration, CONNECTIONS, "-H", "Connection: close"),
            )
        ]
        results = Results(measure_cases(settings, "early-close", cases))
    bars = [
        Bar(f"requests/s relative to wrk, {driver}", results.ratio(case, "wrk", "requests_per_second"), "≥", 0.85)
        for driver, case in (("io_uring", "ringtide"), ("fallback", "ringtide, fallback"))
    ]
    return Subject(results.records, bars, ["requests_per_second", "cpu_us_per_request"]), results
