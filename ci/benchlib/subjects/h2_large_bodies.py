"""Bytes per second with responses of 1 MiB over HTTP/2, against HTTP/1.1."""

from .. import servers, tools
from ..session import Bar, Case, Results, Subject, measure as measure_cases

INTENT = """
Responses of 1 MiB from `ringtide serve` to `ringtide run`, without TLS: over 4 streams on one connection, and over 4
connections with HTTP/1.1.
"""
IN_FLIGHT = 4
PATH = f"/bytes/{servers.BODY_SIZE}"
RATE_RATIO_MIN = 0.85


def measure(settings):
    with servers.ringtide(settings.server_core) as server:
        cases = [
            Case("HTTP/2", tools.ringtide_http2(settings.duration, 1, IN_FLIGHT), server, PATH),
            Case("HTTP/1.1", tools.ringtide(settings.duration, IN_FLIGHT), server, PATH),
        ]
        results = Results(measure_cases(settings, "h2-large-bodies", cases))
    ratio = results.ratio("HTTP/2", "HTTP/1.1", "bytes_per_second")
    bars = [Bar("bytes/s relative to HTTP/1.1", ratio, "≥", RATE_RATIO_MIN)]
    metrics = ["bytes_per_second", "cpu_us_per_request", "server_cpu_us_per_request", "generator_core_share",
               "server_core_share", "rss_peak_bytes"]
    return Subject(results.records, bars, metrics), results
